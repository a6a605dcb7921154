"""Discarded funding indices: what was wrong once stays tainted until somebody says otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, localcontext

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from circuit_guard.core import taint
from circuit_guard.core.breaker import Breaker
from circuit_guard.core.envelope import Interval
from circuit_guard.core.market import BasisDoubt, MarketState
from circuit_guard.core.types import ARITHMETIC
from tests.core.world import BTC

FAR = Decimal(1_000_000)
"""Where the index really is: away from everything that is discarded here."""


def market(trusted: Decimal = FAR) -> MarketState:
    made = MarketState(BTC, Breaker(BTC))
    made.trusted.funding_index, made.trusted.mark_price = trusted, Decimal(100)
    return made


def discard_all(state: MarketState, values: Iterable[Decimal]) -> None:
    with localcontext(ARITHMETIC):
        for value in values:
            taint.discard(state, value)


def test_discard_when_there_are_more_intervals_than_are_kept_then_the_two_nearest_become_one() -> None:
    state = market()
    squares = [Decimal(number * number) for number in range(taint.INTERVALS_MAX)]
    discard_all(state, squares)
    assert taint.of(state, Decimal("0.5")) is None

    discard_all(state, [Decimal(-1_000)])

    assert len(state.discarded) == taint.INTERVALS_MAX
    assert taint.of(state, Decimal("0.5")) == Interval(Decimal(0), Decimal(1)), (
        "between 0 and 1, which were the nearest"
    )
    assert taint.of(state, Decimal("2.5")) is None, "between 1 and 4, which were not"
    assert all(taint.of(state, value) for value in (*squares, Decimal(-1_000)))


def test_discard_when_the_index_was_true_in_the_gap_that_is_closed_then_it_still_is() -> None:
    state = market(Decimal("0.5"))
    discard_all(state, [Decimal(number * number) for number in range(taint.INTERVALS_MAX + 1)])
    assert taint.of(state, Decimal("0.5")) is None
    assert taint.of(state, Decimal("0.6")) == Interval(Decimal(0), Decimal(1))


spread_out = st.decimals(min_value=-50_000, max_value=50_000, places=3)


@settings(max_examples=5)
@given(values=st.lists(spread_out, min_size=taint.INTERVALS_MAX + 1, max_size=2 * taint.INTERVALS_MAX, unique=True))
def test_discard_when_however_many_values_were_discarded_then_each_is_still_tainted(values: list[Decimal]) -> None:
    state = market()
    discard_all(state, values)
    assert len(state.discarded) <= taint.INTERVALS_MAX
    assert [value for value in values if taint.of(state, value) is None] == []


class Discarding(RuleBasedStateMachine):
    """Keeps beside the guard's intervals a plain list of every value that nobody has taken back."""

    @initialize(start=st.integers(-10, 10))
    def begin(self, start: int) -> None:
        # As many as fit, far from each other and from what follows: whatever is new makes one too many.
        self.state = market()
        self.wrong = [Decimal(10_000 + 1_000 * number) for number in range(taint.INTERVALS_MAX)]
        discard_all(self.state, self.wrong)
        self.state.trusted.funding_index = Decimal(start)

    @rule(values=st.lists(spread_out, max_size=5))
    def discard(self, values: list[Decimal]) -> None:
        discard_all(self.state, values)
        self.wrong += values

    @rule(value=spread_out)
    def claim(self, value: Decimal) -> None:
        """Callers of three accounts that have computed with a value for long are believed."""
        known = self.state.funding_range
        self.state.basis_doubt = BasisDoubt()
        with localcontext(ARITHMETIC):
            for second, account in enumerate("abc"):
                taint.claim(self.state, value, account, second, lasting_ns=2)
        if known is None or value not in known:
            self.wrong.append(value)

    @rule(to=spread_out)
    def roll_back(self, to: Decimal) -> None:
        last = self.state.trusted.funding_index
        assert last is not None
        with localcontext(ARITHMETIC):
            taint.roll_back(self.state, to)
        self.state.trusted.funding_index = to
        self.wrong += [] if last == to else [last, (last + to) / 2, to]

    @rule(value=spread_out)
    def vouch(self, value: Decimal) -> None:
        """An operator's word takes back what is one interval with the value."""
        taken_back = [interval for interval in self.state.discarded if value in interval]
        taint.vouch(self.state, value)
        self.wrong = [one for one in self.wrong if not any(one in interval for interval in taken_back)]

    @rule(value=spread_out)
    def regain(self, value: Decimal) -> None:
        taint.regain(self.state, value)

    @rule()
    def forget(self) -> None:
        taint.forget(self.state)
        self.wrong.clear()

    @invariant()
    def every_wrong_value_is_tainted(self) -> None:
        true = self.state.regained
        kept = [value for value in self.wrong if true is None or value not in true]
        assert [value for value in kept if taint.of(self.state, value) is None] == []
        assert len(self.state.discarded) <= taint.INTERVALS_MAX


TestDiscarding = Discarding.TestCase
TestDiscarding.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
