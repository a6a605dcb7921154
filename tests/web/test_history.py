"""What the page remembers: the last minutes, the last trip, the last decisions; never more than that."""

from __future__ import annotations

import gc
import sys
from decimal import Decimal
from enum import Enum
from math import isnan
from types import FunctionType, ModuleType

import pytest

from circuit_guard.core.inputs import Basis
from circuit_guard.core.types import GLOBAL_SCOPE, SECOND_NS, AllowedCheck, CheckKind, Phase, Verdict
from circuit_guard.web import history as histories
from circuit_guard.web.history import (
    ALLOWED_MAX,
    DENIED_MAX,
    EVENTS_MAX,
    LATEST_MAX,
    SAMPLES_MAX,
    WIDTH,
    History,
    Ring,
    Sample,
)
from tests.driver import BTC, ETH, INDEX, PRICE, START_NS, Driver, policy_of

BYTES_PER_MARKET_MAX = 80_000
"""docs/status_page.md: at most 80 MB with 1,000 markets that have all tripped."""


class Remembering:
    """A driven engine, and what is remembered of it."""

    def __init__(self, *markets: str) -> None:
        policy = policy_of(*(markets or (BTC,)))
        self.history = History(policy.markets)
        self.driver = Driver(policy, [self.history])

    def tick(self) -> None:
        engine = self.driver.engine
        engine.tick()
        for market in engine.policy.markets:
            self.history.sample(engine.market_status(market), engine.state.markets[market], engine.now_ns())

    def run(self, seconds: int, *markets: str) -> None:
        for _ in range(seconds):
            self.driver.run(1, *markets)
            self.tick()

    def samples(self, market: str = BTC) -> list[Sample]:
        return self.history.of(market).ring.samples()

    def decide(self, count: int, mark: Decimal = PRICE) -> None:
        for _ in range(count):
            self.driver.clock.advance(0.001)
            self.driver.decide(basis=Basis(mark, INDEX))


# Samples


def test_ring_when_it_is_full_then_the_oldest_goes_first() -> None:
    ring = Ring()
    for number in range(SAMPLES_MAX + 7):
        ring.append(Sample(float(number), *[0.0] * (WIDTH - 1)))

    assert [sample.at_s for sample in ring.samples()] == [float(n) for n in range(7, SAMPLES_MAX + 7)]


def test_sample_when_taken_then_it_has_what_was_published_and_what_was_allowed() -> None:
    guard = Remembering()
    guard.run(40)

    last = guard.samples()[-1]
    assert (last.mark, last.funding_index, last.rejected) == (92_600.0, 20_511.0, 0.0)
    assert last.hull_low == last.hull_high == 92_600.0
    assert last.limit_low == pytest.approx(92_600 * 0.99)
    assert last.envelope_low < 20_511 < last.envelope_high
    assert isnan(last.band_low), "no band in OPEN"


def test_sample_when_the_phase_has_a_band_then_it_has_that() -> None:
    guard = Remembering()
    guard.run(3)

    assert (guard.samples()[-1].band_low, guard.samples()[-1].band_high) == pytest.approx((92_553.7, 92_646.3))


def test_samples_when_ticks_are_dense_then_they_are_not() -> None:
    guard = Remembering()
    for _ in range(100):
        guard.driver.clock.advance(0.1)
        guard.tick()

    assert 6 <= len(guard.samples()) <= 7


def test_sample_when_nothing_new_was_published_then_it_has_no_value() -> None:
    guard = Remembering()
    guard.run(5)
    guard.driver.clock.advance(2)
    guard.tick()

    assert isnan(guard.samples()[-1].mark)
    assert guard.samples()[-1].envelope_high > 20_511


def test_sample_when_a_wrong_value_was_already_followed_by_a_right_one_then_both_are_kept() -> None:
    guard = Remembering()
    guard.run(40)
    guard.driver.clock.advance(1)
    guard.driver.observe(mark_price=PRICE * 2)
    guard.driver.clock.advance(1)
    guard.driver.refer()
    guard.driver.observe()
    guard.tick()

    wrong, right = guard.samples()[-2:]
    assert (wrong.mark, wrong.rejected) == (185_200.0, 1.0)
    assert (right.mark, right.rejected) == (92_600.0, 0.0)
    assert right.at_s == wrong.at_s + 1


def test_sample_when_the_clock_stands_still_then_what_came_after_the_last_one_is_not_missed() -> None:
    guard = Remembering()
    guard.run(41)
    guard.driver.observe(funding_index=Decimal(0))
    guard.driver.clock.advance(1)
    guard.driver.observe(funding_index=Decimal(1))
    guard.tick()

    assert [sample.funding_index for sample in guard.samples()[-3:]] == [20_511.0, 0.0, 1.0]


# Trips


def test_trip_when_a_breaker_opens_then_the_next_tick_samples_it() -> None:
    guard = Remembering()
    guard.run(40)
    taken = len(guard.samples())
    guard.driver.clock.advance(0.1)
    guard.driver.observe(funding_index=Decimal(0))
    guard.tick()

    assert len(guard.samples()) == taken + 1
    assert (guard.samples()[-1].funding_index, guard.samples()[-1].rejected) == (0.0, 1.0)
    trip = guard.history.of(BTC).trip
    assert trip is not None
    assert [found.reason for found in trip.changed.findings] == ["funding_jump"]


def test_trip_when_the_ring_has_gone_past_it_then_what_was_round_it_is_still_there() -> None:
    guard = Remembering()
    guard.run(60)
    guard.driver.clock.advance(1)
    guard.driver.observe(funding_index=Decimal(0))
    at_s = guard.driver.engine.now_ns() / SECOND_NS
    guard.run(700)

    trip = guard.history.of(BTC).trip
    assert trip is not None
    assert guard.samples()[0].at_s > at_s
    assert trip.ring is not None
    kept = trip.ring.samples()
    assert kept[0].at_s < at_s - 50
    assert at_s + histories.AFTER_TRIP_S - 3 <= kept[-1].at_s <= at_s + histories.AFTER_TRIP_S
    assert any(sample.rejected for sample in kept)


# Decisions and events


def test_decisions_when_many_are_denied_then_those_allowed_before_stay_and_all_is_bounded() -> None:
    guard = Remembering()
    guard.run(40)
    guard.decide(ALLOWED_MAX + 3)
    guard.decide(LATEST_MAX + 50, mark=PRICE * 2)

    kept = guard.history.of(BTC)
    assert [len(kept.allowed), len(kept.denied)] == [ALLOWED_MAX, DENIED_MAX]
    assert len(guard.history.latest()) == LATEST_MAX
    shown = kept.decisions()
    assert [one.at_ns for one in shown] == sorted((one.at_ns for one in shown), reverse=True)
    assert shown[-1].verdict is Verdict.ALLOW


def test_decisions_when_a_request_is_repeated_then_it_is_kept_once() -> None:
    guard = Remembering()
    guard.run(40)
    guard.driver.decide(request_id="again")
    guard.driver.clock.advance(1)
    guard.driver.decide(request_id="again")

    assert len(guard.history.latest()) == 1


def test_decisions_when_a_market_is_unknown_then_only_the_latest_have_it() -> None:
    guard = Remembering()
    guard.driver.decide(market="NOPE-USD-PERP")

    assert [one.market for one in guard.history.latest()] == ["NOPE-USD-PERP"]
    assert not guard.history.knows("NOPE-USD-PERP")


def test_events_when_markets_trip_together_then_global_has_its_own() -> None:
    guard = Remembering(BTC, ETH)
    guard.run(40, BTC, ETH)
    for market in (BTC, ETH):
        guard.driver.observe(market, funding_index=Decimal(0))

    assert [event.scope for event in guard.history.of(GLOBAL_SCOPE).events if hasattr(event, "scope")] == [GLOBAL_SCOPE]
    assert guard.history.of(GLOBAL_SCOPE).trip is not None
    assert not guard.history.knows(GLOBAL_SCOPE)


def test_events_when_a_phase_flaps_then_they_are_bounded() -> None:
    guard = Remembering()
    for _ in range(EVENTS_MAX + 5):
        guard.run(4)
        guard.driver.clock.advance(40)
        guard.tick()

    assert len(guard.history.of(BTC).events) <= EVENTS_MAX


def test_policy_when_markets_come_and_go_then_so_does_what_is_remembered() -> None:
    guard = Remembering(BTC)
    guard.driver.engine.reload(policy_of(ETH))

    assert guard.history.knows(ETH)
    assert not guard.history.knows(BTC)


def test_memory_when_everything_is_full_then_a_market_takes_no_more_than_is_documented() -> None:
    guard = Remembering()
    guard.run(40)
    guard.decide(ALLOWED_MAX)
    guard.run(SAMPLES_MAX * 2)
    guard.driver.observe(funding_index=Decimal(0))
    guard.decide(DENIED_MAX, mark=PRICE * 2)
    guard.run(histories.AFTER_TRIP_S + 3)

    kept = guard.history.of(BTC)
    assert len(guard.samples()) == SAMPLES_MAX
    assert [len(kept.allowed), len(kept.denied)] == [ALLOWED_MAX, DENIED_MAX]
    assert kept.trip is not None
    assert kept.trip.ring is not None
    assert size_of(kept) < BYTES_PER_MARKET_MAX


def size_of(root: object) -> int:
    """Return the bytes of an object and of all that only data leads to from there."""
    seen: dict[int, object] = {}
    left = [root]
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, type | Enum | FunctionType | ModuleType):
            continue
        seen[id(one)] = one
        left += gc.get_referents(one)
    return sum(map(sys.getsizeof, seen.values()))


def test_decisions_when_permits_made_them_then_the_page_has_the_latest_of_them() -> None:
    guard = Remembering()
    checks = [
        AllowedCheck(START_NS + n, n, f"r{n}", f"a{n}", BTC, CheckKind.LIQUIDATION, "-1", "", "1", "2", Phase.OPEN, "r")
        for n in range(LATEST_MAX + 50)
    ]

    guard.history.on_allowed(checks)

    assert [one.request_id for one in guard.history.latest()[:2]] == ["r149", "r148"]
    assert len(guard.history.latest()) == LATEST_MAX
    assert guard.history.of(BTC).allowed[-1].request_id == "r149"
