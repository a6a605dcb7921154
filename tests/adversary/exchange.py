"""An exchange that is wrong or honest, a guard under the shipped policy beside it, and short ways to drive both.

Times are seconds since the start, prices and sizes are floats: what is searched is not exact. The guard itself gets
decimals, and time in the order in which it passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from circuit_guard.config.policy import parse_policy
from circuit_guard.core import guard
from circuit_guard.core import inputs as i
from circuit_guard.core.facts import BreakerChanged, DecisionMade, Fact, ObservationJudged
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import SECOND_NS, BreakerState, Explanation, Severity, Verdict

START_NS = 1_768_820_400 * SECOND_NS
SHIPPED = (Path(__file__).parents[2] / "config" / "policy.toml").read_text()
CLASSES = ("major", "tradfi", "pegged", "default")
PERIOD_S = 28_800
HONEST = (1.0, 0.9999, 1.0001)
"""Three venues, a basis point apart."""


def shipped(markets: Mapping[str, str], lines: str = "") -> Policy:
    """Return the shipped policy with these markets by their class; `lines` of TOML for each of them."""
    classes = SHIPPED[: SHIPPED.index("\n[markets.")]
    tables = (f'[markets.{name}]\nclass = "{market_class}"\n{lines}\n' for name, market_class in markets.items())
    latching = f"latched_markets_min = {min(3, len(markets))} "
    return parse_policy(classes.replace("latched_markets_min = 3 ", latching) + "\n".join(tables), "policy.toml")


def decimal(value: float) -> Decimal:
    return Decimal(f"{value:.12f}")


def ns(seconds: float) -> int:
    return START_NS + round(seconds * 1e6) * 1000


class Held(NamedTuple):
    """One position of an account, long or short, with its maintenance margin fraction."""

    market: str
    size: float
    entry: float
    settled: float
    """The funding index that it was settled with."""
    margin: float = 0.005


class Answer(NamedTuple):
    allowed: bool
    reasons: tuple[str, ...]
    """Why it was denied."""
    explained: Explanation | None


@dataclass
class Books:
    """An account: what it owns, and what it is worth where the truth is known."""

    collateral: float
    held: tuple[Held, ...]

    def surplus(self, mark: Mapping[str, float], funding: Mapping[str, float]) -> float:
        """Return the margin surplus of docs/design.md, section 3, at true values."""
        return self.collateral + sum(
            it.size * (mark[it.market] - it.entry)
            - abs(it.size) * mark[it.market] * it.margin
            - it.size * (funding[it.market] - it.settled)
            for it in self.held
        )


class Exchange:
    """The guard, and what happened to it: trips, and for which reasons observations were rejected."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.now = policy, 0.0
        self.state = guard.new_state(policy, START_NS)
        self.sequences: Counter[str] = Counter()
        self.epoch, self.asked = 1, 0
        self.rejected: Counter[str] = Counter()
        self.trips: list[tuple[str, str]] = []
        """Scope and first reason of each trip."""

    def take(self, given: i.Input) -> list[Fact]:
        return self._noted(guard.step(self.state, given, self.policy))

    def venues(self, market: str, price: float, shares: Sequence[float] = HONEST) -> None:
        """Let one venue per share publish that share of a price."""
        at_ns = ns(self.now)
        for number, share in enumerate(shares):
            self.take(i.Reference(at_ns, market, f"venue-{number}", at_ns, decimal(price * share)))

    def publish(
        self,
        market: str,
        mark: float,
        funding: float,
        *,
        index: float | None = None,
        premium: float | None = None,
        rate: float | None = None,
        event: float | None = None,
        period_s: int | None = None,
    ) -> bool:
        """Publish the state of a market and return whether it is trusted. The index price is the mark, unless given."""
        self.sequences[market] += 1
        told = self.take(
            i.Observation(
                ns(self.now),
                market,
                "exchange",
                self.epoch,
                self.sequences[market],
                ns(self.now if event is None else event),
                decimal(mark),
                decimal(mark if index is None else index),
                decimal(funding),
                None if rate is None else decimal(rate),
                None if premium is None else decimal(premium),
                None if period_s is None else Decimal(period_s),
            )
        )
        return next(fact.accepted for fact in told if isinstance(fact, ObservationJudged))

    def restart(self) -> None:
        """Restart the publisher: a new epoch, and its feed sequences begin again."""
        self.epoch += 1
        self.sequences.clear()

    def ask(
        self,
        market: str,
        size: float,
        mark: float,
        funding: float,
        books: Books | None = None,
        *,
        account_id: str = "",
        price: float | None = None,
    ) -> Answer:
        """Ask for a forced closure, computed with this mark price and funding index."""
        self.asked += 1
        account = None
        if books is not None:
            held = tuple(
                i.Position(it.market, decimal(it.size), decimal(it.entry), decimal(it.settled), decimal(it.margin))
                for it in books.held
            )
            account = i.Account(decimal(books.collateral), held)
        check = i.Check(
            ns(self.now),
            f"check-{self.asked}",
            account_id or f"account-{self.asked}",
            market,
            decimal(size),
            execution_price=decimal(mark if price is None else price),
            basis=i.Basis(decimal(mark), decimal(funding)),
            account=account,
        )
        told = self._noted(guard.decide(self.state, check, self.policy))
        [made] = [fact.decision for fact in told if isinstance(fact, DecisionMade)]
        reasons = tuple(sorted({finding.reason for finding in made.findings if finding.severity >= Severity.DENY}))
        return Answer(
            made.verdict is Verdict.ALLOW, reasons, None if made.explained is None else made.explained.verdict
        )

    def warm(
        self, market: str, price: float, funding: float, seconds: int = 60, *, premium: float | None = None
    ) -> None:
        """Let a market be honest and calm for a minute, once a second."""
        until = self.now + seconds
        while self.now < until:
            self.honest(market, price, funding, premium=premium)
            self.now += 1

    def honest(self, market: str, price: float, funding: float, *, premium: float | None = None) -> None:
        """Publish a state that is true, the venues first."""
        self.venues(market, price)
        self.publish(market, price, funding, premium=premium, rate=None if premium is None else premium / price)

    def latched(self, market: str) -> bool:
        return self.state.markets[market].breaker.latched

    def opened(self, market: str) -> bool:
        """Return whether the breaker denies."""
        return self.state.markets[market].breaker.state is BreakerState.OPEN

    def _noted(self, told: list[Fact]) -> list[Fact]:
        for fact in told:
            if isinstance(fact, BreakerChanged) and fact.after is BreakerState.OPEN:
                self.trips.append((fact.scope, fact.findings[0].reason))
            elif isinstance(fact, ObservationJudged) and not fact.accepted:
                self.rejected.update({one.reason for one in fact.findings if one.severity >= Severity.DENY})
        return told
