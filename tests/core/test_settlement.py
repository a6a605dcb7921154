"""An index that steps at settlements: what is honest is never rejected, and nothing else moves it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from circuit_guard.core import guard
from circuit_guard.core import inputs as i
from circuit_guard.core.envelope import FundingAccrual, FundingParameters
from circuit_guard.core.facts import ObservationJudged
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import SECOND_NS, Severity
from tests.core import world

HOUR_S = 3600


@dataclass(frozen=True)
class Calendar:
    """When an exchange settles funding, and how late it publishes that; negative is early."""

    period_s: int
    offset_s: int
    tolerance_s: int
    late_s: int
    every_s: int
    rate: Decimal


@st.composite
def calendars(draw: st.DrawFn) -> Calendar:
    period_s = draw(st.sampled_from([HOUR_S, 2 * HOUR_S, 4 * HOUR_S, 8 * HOUR_S]))
    tolerance_s = draw(st.integers(1, 120))
    rate = draw(st.decimals("-0.02", "0.02", places=6))
    return Calendar(
        period_s,
        draw(st.integers(0, period_s - 1)),
        tolerance_s,
        draw(st.integers(1 - tolerance_s, tolerance_s - 1)),
        draw(st.integers(1, 25)),
        rate,
    )


def policy_of(calendar: Calendar) -> Policy:
    policy = world.policy()
    market = policy.markets[world.BTC]
    funding = FundingParameters(
        rate_max=Decimal("0.02"),
        accrual=FundingAccrual.STEPWISE,
        period_ns=calendar.period_s * SECOND_NS,
        settle_offset_ns=calendar.offset_s * SECOND_NS,
        settle_tolerance_ns=calendar.tolerance_s * SECOND_NS,
    )
    changed = replace(market, groups={**market.groups, FundingParameters: funding})
    return replace(policy, markets={world.BTC: changed})


class Exchange:
    """Publishes one market by a calendar, with a guard that listens from four minutes before a settlement on."""

    def __init__(self, calendar: Calendar) -> None:
        self.policy, self.every_ns = policy_of(calendar), calendar.every_s * SECOND_NS
        self.feed = world.feed_of(world.BTC)
        self.feed.rate = calendar.rate
        self.feed.move_to(self.feed.mark)
        self.feed.settle_every, self.feed.settle_offset = Decimal(calendar.period_s), Decimal(calendar.offset_s)
        self.feed.settle_late = Decimal(calendar.late_s)
        self.settles_ns = world.MIDNIGHT_NS + (calendar.offset_s + 2 * calendar.period_s) * SECOND_NS
        self.now_ns = self.settles_ns - 240 * SECOND_NS
        self.state = guard.new_state(self.policy, self.now_ns)

    def publish(self, until_ns: int, added: Decimal = Decimal(0)) -> list[ObservationJudged]:
        """Publish until a time; `added` to the true index."""
        judged: list[ObservationJudged] = []
        while self.now_ns < until_ns:
            for reference in self.feed.quotes(self.now_ns):
                guard.step(self.state, reference, self.policy)
            honest = self.feed.observation(self.now_ns)
            observation = replace(honest, funding_index=self.feed.funding + added)
            facts = guard.step(self.state, observation, self.policy)
            judged += [fact for fact in facts if isinstance(fact, ObservationJudged)]
            self.now_ns += self.every_ns
        return judged

    def allows(self, index: Decimal) -> bool:
        """Return whether a caller may have computed with an index."""
        basis = i.Basis(self.feed.mark, index)
        check = i.Check(self.now_ns, f"r{self.now_ns}-{index}", "a1", world.BTC, Decimal(-1), basis=basis)
        [*_, made] = guard.decide(self.state, check, self.policy)
        reasons = {finding.reason for finding in made.decision.findings}  # type: ignore[union-attr]
        return "basis_funding" not in reasons


def worst(judged: list[ObservationJudged]) -> Severity | None:
    return max((finding.severity for one in judged for finding in one.findings), default=None)


@settings(deadline=None, max_examples=8)
@given(calendars())
def test_index_when_it_steps_within_the_tolerance_then_nothing_is_rejected(calendar: Calendar) -> None:
    exchange = Exchange(calendar)
    judged = exchange.publish(exchange.settles_ns + 300 * SECOND_NS)
    assert all(one.accepted for one in judged)
    exchange.now_ns += calendar.period_s * SECOND_NS - 600 * SECOND_NS
    assert all(one.accepted for one in exchange.publish(exchange.settles_ns + (calendar.period_s + 200) * SECOND_NS))


@settings(deadline=None, max_examples=8)
@given(calendars(), st.integers(130, 170), st.sampled_from([1, -1]))
def test_index_when_it_moves_between_settlements_then_it_latches(calendar: Calendar, after_s: int, sign: int) -> None:
    exchange = Exchange(calendar)
    exchange.publish(exchange.settles_ns + after_s * SECOND_NS)
    moved = exchange.publish(exchange.now_ns + 1, added=exchange.feed.mark * Decimal("0.0001") * sign)
    assert worst(moved) is Severity.LATCH


@settings(deadline=None, max_examples=8)
@given(calendars(), st.integers(-119, 150))
def test_index_when_it_is_reset_then_it_latches_whenever_that_is(calendar: Calendar, after_s: int) -> None:
    exchange = Exchange(calendar)
    exchange.publish(exchange.settles_ns + after_s * SECOND_NS)
    truth = exchange.feed.funding
    reset = exchange.publish(exchange.now_ns + 1, added=-truth)
    assert worst(reset) is Severity.LATCH


@settings(deadline=None, max_examples=8)
@given(calendars().filter(lambda one: abs(one.rate) > Decimal("0.00008")))
def test_index_when_a_settlement_is_applied_twice_at_once_then_it_latches(calendar: Calendar) -> None:
    exchange = Exchange(calendar)
    exchange.publish(exchange.settles_ns + calendar.late_s * SECOND_NS - exchange.every_ns)
    while exchange.now_ns < exchange.settles_ns + calendar.late_s * SECOND_NS:
        exchange.publish(exchange.now_ns + 1)
    assert worst(exchange.publish(exchange.now_ns + 1, added=exchange.feed.premium)) is Severity.LATCH


@settings(deadline=None, max_examples=8)
@given(calendars().filter(lambda one: abs(one.rate) > Decimal("0.0001")))
def test_caller_when_funding_was_just_settled_then_both_sides_of_the_step_are_believed(calendar: Calendar) -> None:
    exchange = Exchange(calendar)
    exchange.publish(exchange.settles_ns - (calendar.tolerance_s + 1) * SECOND_NS)
    before = exchange.feed.funding
    while exchange.now_ns < exchange.settles_ns + calendar.late_s * SECOND_NS:
        assert exchange.allows(before)
        exchange.publish(exchange.now_ns + 1)
    exchange.publish(exchange.now_ns + 1)
    after = exchange.feed.funding
    assert after != before
    assert exchange.allows(before)
    assert exchange.allows(after)
    assert not exchange.allows(after + 3 * exchange.feed.premium)
    exchange.publish(exchange.settles_ns + 200 * SECOND_NS)
    assert exchange.allows(after)
    assert not exchange.allows(before)
