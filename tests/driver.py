"""Drives a real engine under a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from circuit_guard.config.policy import parse_policy
from circuit_guard.core.facts import DecisionMade, Fact
from circuit_guard.core.inputs import Basis, Check, Observation, Reference
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import SECOND_NS, Decision
from circuit_guard.engine.engine import Engine, Observer

BTC = "BTC-USD-PERP"
ETH = "ETH-USD-PERP"
START_NS = 1_768_780_800 * SECOND_NS
PRICE = Decimal(92_600)
INDEX = Decimal(20_511)
REFERENCE_SOURCES = ("binance", "coinbase", "kraken")


class ManualClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.wall = START_NS
        self.monotonic = 5_000 * SECOND_NS

    def wall_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        return self.monotonic

    def advance(self, seconds: float) -> None:
        self.wall += int(seconds * SECOND_NS)
        self.monotonic += int(seconds * SECOND_NS)


def policy_of(*markets: str, guard: str = "", market_lines: str = "") -> Policy:
    """Return a policy with defaults for the markets; the texts are TOML lines of `[guard]` and of each market."""
    tables = "\n".join(f"[markets.{market}]\n{market_lines}" for market in markets)
    latched_min = min(3, len(markets))
    text = f"[guard]\n{guard}\n[global_breaker]\nlatched_markets_min = {latched_min}\n[classes.default]\n{tables}\n"
    return parse_policy(text, "policy.toml")


class Driver:
    """An engine with its clock, and short ways to feed it honest or wrong data."""

    def __init__(self, policy: Policy, observers: Sequence[Observer] = (), **limits: int) -> None:
        self.clock = ManualClock()
        self.engine = Engine(policy, self.clock, observers, **limits)
        self.sequences: dict[str, int] = {}

    def refer(self, market: str = BTC, price: Decimal = PRICE) -> None:
        for source in REFERENCE_SOURCES:
            now_ns = self.engine.now_ns()
            self.engine.step(Reference(now_ns, market, source, now_ns, price))

    def observe(self, market: str = BTC, **values: Decimal | int | None) -> list[Fact]:
        now_ns = self.engine.now_ns()
        self.sequences[market] = self.sequences.get(market, 0) + 1
        fields: dict[str, object] = {
            "source": "exchange",
            "epoch": 1,
            "feed_sequence": self.sequences[market],
            "event_time_ns": now_ns,
            "mark_price": PRICE,
            "index_price": PRICE,
            "funding_index": INDEX,
        }
        return self.engine.step(Observation(now_ns, market, **(fields | values)))  # type: ignore[arg-type]

    def run(self, seconds: int, *markets: str) -> None:
        """Let honest data arrive once a second."""
        for _ in range(seconds):
            self.clock.advance(1)
            for market in markets or (BTC,):
                self.refer(market)
                self.observe(market)

    def check(self, market: str = BTC, request_id: str = "", **values: object) -> Check:
        now_ns = self.engine.now_ns()
        fields: dict[str, object] = {"size": Decimal("-0.5"), "basis": Basis(PRICE, INDEX), "execution_price": PRICE}
        return Check(now_ns, request_id or f"request-{now_ns}", "account-1", market, **(fields | values))  # type: ignore[arg-type]

    def decide(self, market: str = BTC, request_id: str = "", **values: object) -> Decision:
        facts = self.engine.decide(self.check(market, request_id, **values))
        [made] = [fact for fact in facts if isinstance(fact, DecisionMade)]
        return made.decision
