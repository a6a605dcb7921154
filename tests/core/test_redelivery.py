"""Observations delivered again long after they were forgotten change nothing, and no second writer hides among them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from circuit_guard.core import guard
from circuit_guard.core.facts import ObservationJudged
from circuit_guard.core.inputs import Observation
from circuit_guard.core.market import REDELIVERIES_REMEMBERED
from circuit_guard.core.types import SECOND_NS, BreakerState
from tests.core import world

BTC, START_NS = "BTC-USD-PERP", 1_768_780_800 * SECOND_NS


class Line:
    """One publisher's line of observations, and the guard that takes it."""

    def __init__(self, count: int, step_s: float) -> None:
        self.policy = world.policy()
        self.state = guard.new_state(self.policy, START_NS)
        self.sent: list[Observation] = []
        for number in range(count):
            at_ns = START_NS + int(number * step_s * SECOND_NS)
            price = Decimal(92_600) + number
            observation = Observation(at_ns, BTC, "exchange", 1, number + 1, at_ns, price, price, Decimal(20_512))
            self.take(observation)
            self.sent.append(observation)

    def take(self, observation: Observation) -> ObservationJudged:
        facts = guard.step(self.state, observation, self.policy)
        return next(fact for fact in facts if isinstance(fact, ObservationJudged))

    @property
    def latched(self) -> bool:
        breaker = self.state.markets[BTC].breaker
        return breaker.state is BreakerState.OPEN and breaker.latched


@pytest.mark.parametrize(
    ("count", "step_s", "redelivered"),
    [
        (100, 1, 100),
        (300, 0.1, 250),
        (REDELIVERIES_REMEMBERED + 1, 5, REDELIVERIES_REMEMBERED + 1),
        (900, 0.5, 899),
    ],
)
def test_redelivery_when_it_is_older_than_what_is_remembered_then_it_is_accepted_and_changes_nothing(
    count: int, step_s: float, redelivered: int
) -> None:
    line = Line(count, step_s)
    trusted, now_ns = line.state.markets[BTC].trusted, line.sent[-1].at_ns + SECOND_NS
    before = (trusted.mark_price, trusted.funding_index, dict(line.state.markets[BTC].feed.recent))
    for observation in line.sent[-redelivered:]:
        assert line.take(replace(observation, at_ns=now_ns)).accepted
    assert not line.latched
    assert (trusted.mark_price, trusted.funding_index, dict(line.state.markets[BTC].feed.recent)) == before


@pytest.mark.parametrize(("count", "step_s", "place"), [(100, 1, 3), (300, 0.1, 20), (1_000, 0.5, 1)])
def test_old_number_when_its_event_time_is_of_now_then_a_second_writer_is_found(
    count: int, step_s: float, place: int
) -> None:
    line = Line(count, step_s)
    now_ns = line.sent[-1].at_ns + SECOND_NS
    line.take(replace(line.sent[place], at_ns=now_ns, event_time_ns=now_ns))
    assert line.latched


@pytest.mark.parametrize("by", [1, 40, REDELIVERIES_REMEMBERED - 1])
def test_remembered_number_when_its_content_is_another_then_that_latches_however_old(by: int) -> None:
    line = Line(200, 1)
    old = line.sent[-by]
    line.take(replace(old, at_ns=line.sent[-1].at_ns + SECOND_NS, funding_index=Decimal(20_513)))
    assert line.latched


@pytest.mark.parametrize(("old", "new"), [(100, 10), (400, 200), (70, 1)])
def test_redelivery_when_it_is_of_the_publisher_before_then_it_changes_nothing(old: int, new: int) -> None:
    line = Line(old, 1)
    for number in range(new):
        last = line.sent[-1]
        at_ns = last.at_ns + SECOND_NS
        following = replace(last, at_ns=at_ns, event_time_ns=at_ns, epoch=2, feed_sequence=number + 1)
        line.take(following)
        line.sent.append(following)
    for observation in line.sent:
        assert line.take(replace(observation, at_ns=line.sent[-1].at_ns + SECOND_NS)).accepted
    assert not line.latched
