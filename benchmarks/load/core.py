"""The core alone, inside this process: no wire, no journal, no metrics, no log."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

from benchmarks.load import market
from benchmarks.load.process import GENERATOR_CORE, SERVER_CORE
from circuit_guard.config.policy import parse_policy
from circuit_guard.core import guard
from circuit_guard.core.inputs import Account, Basis, Check, Observation, Position, Reference
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import SECOND_NS, Verdict

START_NS = 1_768_800_000 * SECOND_NS
FED_S, FED_EVERY_S = 36, 2
"""A market leaves RECOVERING when its data have agreed for 30 s."""
BETWEEN_NS = 50_000
"""The time between two checks: it is what a busy guard sees, and time alone changes what the data say."""
ROUNDS = 5
BASIS = Basis(Decimal(str(market.PRICE)), market.INDEX)


@dataclass(frozen=True)
class CoreCosts:
    """Microseconds a check, the best of the rounds."""

    again: float
    """Of a market that was asked about since its data last changed."""
    after_data: float
    """The first one after a new observation."""
    many_markets: float
    """As `again`, with the most markets."""
    shadowed: float
    """As `again`, every rule in shadow: judged, and nothing enforced."""
    accounts: dict[int, float]
    """As `again`, with an account that has so many positions."""


class Core:
    """A guard that has seen honest data in every market until each is OPEN."""

    def __init__(self, policy: Policy) -> None:
        """Feed it."""
        self._policy = policy
        self._names = list(policy.markets)
        self._state = guard.new_state(policy, START_NS)
        self._now_ns = START_NS
        self._asked = 0
        for second in range(0, FED_S, FED_EVERY_S):
            for name in self._names:
                self._publish(name, START_NS + second * SECOND_NS)

    def ask(self, account: Account | None = None, *, in_turn: bool = False) -> Check:
        """Return a check about an account that nobody asked about before; `in_turn`: of another market each time."""
        self._now_ns += BETWEEN_NS
        self._asked += 1
        number = str(self._asked)
        name = self._names[self._asked % len(self._names) if in_turn else 0]
        return Check(self._now_ns, number, number, name, Decimal("-0.5"), basis=BASIS, account=account)

    def publish(self) -> None:
        """Take a new observation of the market that is asked about."""
        self._now_ns += BETWEEN_NS
        self._publish(self._names[0], self._now_ns)

    def decide(self, check: Check) -> None:
        """Decide a check, and see that it is allowed."""
        facts = guard.decide(self._state, check, self._policy)
        assert facts[-1].decision.verdict is Verdict.ALLOW, facts[-1]  # type: ignore[union-attr]  # noqa: S101

    def account(self, positions: int) -> Account:
        """Return an account under water, with a position in so many markets."""
        held = [Position(name, Decimal("0.5"), Decimal(101_871), market.INDEX, Decimal("0.01")) for name in self._names]
        return Account(Decimal("1000.50"), tuple(held[:positions]))

    def _publish(self, name: str, at_ns: int) -> None:
        self._now_ns = max(self._now_ns, at_ns)
        price = market.price_at(at_ns)
        for venue in market.VENUES:
            guard.step(self._state, Reference(self._now_ns, name, venue, at_ns, price), self._policy)
        observed = Observation(
            self._now_ns,
            name,
            "exchange",
            1,
            at_ns // 1000,
            at_ns,
            mark_price=price,
            index_price=price,
            funding_index=market.INDEX,
            funding_rate=market.RATE,
            funding_premium=market.RATE * price,
        )
        guard.step(self._state, observed, self._policy)


def measure(few: int, many: int, checks: int) -> CoreCosts:
    """Return what a check costs, at so many checks a round, on the core that the servers have."""
    os.sched_setaffinity(0, {SERVER_CORE})
    try:
        text = market.policy_text(few)
        policy = parse_policy(text, "the policy of the load")
        core, shadow = Core(policy), Core(replace(policy, shadow=True))
        crowded = Core(parse_policy(market.policy_text(many), "the policy of the load"))
        return CoreCosts(
            again=_best(core, checks, core.ask),
            after_data=_best(core, checks // 5, core.ask, core.publish),
            many_markets=_best(crowded, checks, partial(crowded.ask, in_turn=True)),
            shadowed=_best(shadow, checks, shadow.ask),
            accounts={
                positions: _best(core, checks // 5, partial(core.ask, core.account(positions))) for positions in (1, 5)
            },
        )
    finally:
        os.sched_setaffinity(0, {GENERATOR_CORE})


def _best(core: Core, checks: int, ask: Callable[[], Check], before: Callable[[], None] | None = None) -> float:
    """Return the microseconds of CPU time of one check, the best round: whatever else runs here only adds to it."""
    rounds = []
    for _ in range(ROUNDS):
        took_ns = (
            sum(_stretches(core, checks, ask, before)) if before else _stretch(core, [ask() for _ in range(checks)])
        )
        rounds.append(took_ns / checks / 1000)
    return min(rounds)


def _stretches(core: Core, checks: int, ask: Callable[[], Check], before: Callable[[], None]) -> Iterator[int]:
    for _ in range(checks):
        before()
        yield _stretch(core, [ask()])


def _stretch(core: Core, checks: list[Check]) -> int:
    started_ns = time.thread_time_ns()
    for check in checks:
        core.decide(check)
    return time.thread_time_ns() - started_ns
