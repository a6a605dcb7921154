"""The references of a market: the median, its hull, and when they count."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from statistics import median as plain_median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuit_guard.core import guard
from circuit_guard.core.envelope import Interval
from circuit_guard.core.inputs import Reference
from circuit_guard.core.references import (
    HullParameters,
    ReferenceBook,
    ReferenceParameters,
    ReferenceView,
    median,
)
from circuit_guard.core.types import SECOND_NS
from tests.core import world
from tests.core.world import BTC, VENUES

START_NS = world.at("10:00:00")


class Venues:
    """The references of one market, fed through the guard."""

    def __init__(self, **changes: str) -> None:
        given = {name.replace("__", "."): text for name, text in changes.items()}
        self.market_policy = world.changed(world.market_policy(), given)
        self.policy = replace(world.policy(), markets={BTC: self.market_policy})
        self.state = guard.new_state(self.policy, START_NS)

    @property
    def book(self) -> ReferenceBook:
        return self.state.markets[BTC].references

    def quote(self, at_ns: int, source: str, price: Decimal | int, event_ns: int | None = None) -> None:
        event_ns = at_ns if event_ns is None else event_ns
        guard.step(self.state, Reference(at_ns, BTC, source, event_ns, Decimal(price)), self.policy)

    def agree(self, at_ns: int, price: int, count: int = 3) -> None:
        for source in VENUES[:count]:
            self.quote(at_ns, source, price)

    def view(self, at_ns: int) -> ReferenceView:
        return self.book.view(at_ns, self.market_policy)


def hull(view: ReferenceView) -> tuple[Decimal | int, Decimal | int]:
    assert view.hull is not None
    return view.hull.low, view.hull.high


@settings(max_examples=200, derandomize=True, database=None)
@given(st.lists(st.decimals("-1e6", "1e6", places=3), min_size=1, max_size=9))
def test_median_when_held_against_the_standard_library_then_it_is_the_same(prices: list[Decimal]) -> None:
    assert median(list(prices)) == plain_median(prices)


@pytest.mark.parametrize("seed", range(10))
def test_hull_when_held_against_the_whole_history_then_it_is_the_medians_of_the_window(seed: int) -> None:
    chance, venues = random.Random(seed), Venues(divergence__lasted="0s")  # noqa: S311
    window_ns = venues.market_policy.of(HullParameters).window_ns
    age_ns = venues.market_policy.of(ReferenceParameters).age_max_ns
    now_ns, latest, medians = START_NS, dict[str, tuple[int, Decimal]](), list[tuple[int, Decimal]]()
    for _ in range(300):
        now_ns += chance.choice((0, 100, 700, 1500, 12_000, 40_000 if chance.random() < 0.1 else 300)) * 1_000_000
        source, price = chance.choice(VENUES), Decimal(chance.randint(90_000, 95_000))
        venues.quote(now_ns, source, price)
        latest[source] = (now_ns, price)
        fresh = [price for seen_ns, price in latest.values() if now_ns - seen_ns <= age_ns]
        view = venues.view(now_ns)
        assert (view.count, view.price, view.quorum) == (len(fresh), plain_median(fresh), len(fresh) >= 3)
        if not view.quorum:
            continue
        medians.append((now_ns, plain_median(fresh)))
        start_ns = now_ns - window_ns
        inside = [price for at_ns, price in medians if at_ns > start_ns]
        before = [price for at_ns, price in medians if start_ns - window_ns <= at_ns <= start_ns][-1:]
        low, high = hull(view)
        # What was in force when the window began may count as well, and nothing older.
        assert min(inside + before) <= low <= min(inside)
        assert max(inside) <= high <= max(inside + before)


def test_hull_when_the_price_has_not_changed_for_minutes_then_it_is_that_price() -> None:
    venues = Venues()
    for second in range(120):
        venues.agree(START_NS + second * SECOND_NS, 92_600)
    assert hull(venues.view(START_NS + 120 * SECOND_NS)) == (92_600, 92_600)
    assert len(venues.book.points) == 1


def test_hull_when_the_price_moves_every_second_then_its_memory_is_the_window_and_no_more() -> None:
    venues = Venues(divergence__lasted="0s")
    for second in range(300):
        venues.agree(START_NS + second * SECOND_NS, 92_600 + second)
    assert len(venues.book.points) < 3 * 33
    low, high = hull(venues.view(START_NS + 299 * SECOND_NS))
    assert (low, high) == (92_600 + 269, 92_600 + 299)


def test_hull_when_one_of_three_sources_falls_alone_then_it_does_not_move() -> None:
    venues = Venues()
    venues.agree(START_NS, 92_600)
    venues.quote(START_NS + 1, "binance", 60_000)
    assert hull(venues.view(START_NS + 1)) == (92_600, 92_600)


def test_hull_when_the_quorum_was_away_for_longer_than_the_window_then_the_old_price_is_forgotten() -> None:
    venues = Venues()
    later_ns = START_NS + 600 * SECOND_NS
    venues.agree(START_NS, 92_600)
    venues.agree(later_ns, 80_000)
    assert hull(venues.view(later_ns)) == (80_000, 80_000)


def test_hull_when_there_has_been_no_quorum_for_an_hour_then_no_old_median_widens_it() -> None:
    venues = Venues()
    venues.agree(START_NS, 92_600)
    for second in range(0, 3600, 5):
        venues.quote(START_NS + second * SECOND_NS, "binance", 92_600 - 5 * second)
    view = venues.view(START_NS + 3595 * SECOND_NS)
    assert (view.hull, view.width) == (None, Decimal(150))  # what the one source has moved within 30 s
    assert view.anchors is None


def test_width_when_one_of_two_sources_wicks_then_the_one_that_stands_still_allows_no_more() -> None:
    venues = Venues()
    for second in range(10):
        venues.quote(START_NS + second * SECOND_NS, "binance", 92_600 - 1_000 * second)
        venues.quote(START_NS + second * SECOND_NS, "okx", 92_600)
    assert venues.view(START_NS + 9 * SECOND_NS).width == 0


def test_limits_when_two_sources_are_no_quorum_then_a_price_has_to_be_between_them() -> None:
    venues = Venues()
    venues.quote(START_NS, "binance", 92_600)
    venues.quote(START_NS, "okx", 90_600)
    limits = venues.view(START_NS).limits(Decimal("0.01"), Decimal(2))
    assert limits is not None
    assert [Decimal(price) in limits for price in (89_600, 89_700, 91_600, 93_500, 93_600)] == [
        *(False, True, True, True, False)
    ]


def test_limits_when_two_sources_are_too_far_apart_then_they_say_nothing() -> None:
    venues = Venues()
    venues.quote(START_NS, "binance", 92_600)
    venues.quote(START_NS, "okx", 81_500)
    assert venues.view(START_NS).limits(Decimal("0.01"), Decimal(2)) is None


def test_limits_when_the_price_falls_then_they_widen_downwards_alone() -> None:
    venues = Venues()
    for second in range(31):
        venues.agree(START_NS + second * SECOND_NS, 92_600 - 100 * second)
    view = venues.view(START_NS + 30 * SECOND_NS)
    assert (view.rise, view.fall) == (Decimal(0), Decimal(2_700))  # without the 2 s at either end, of 3,000
    limits = view.limits(Decimal(0), Decimal(2))
    assert limits is not None
    assert limits == Interval(Decimal(89_600 - 5_400), Decimal(92_500))


def test_limits_when_two_of_three_sources_wick_for_a_moment_then_no_room_stays_behind() -> None:
    venues = Venues()
    for second in range(20):
        wick = 1.1 if second == 10 else 1
        for source, share in zip(VENUES[:3], (wick, wick, 1), strict=True):
            venues.quote(START_NS + second * SECOND_NS, source, round(92_600 * share))
    view = venues.view(START_NS + 19 * SECOND_NS)
    assert hull(view) == (92_600, 92_600)
    assert view.width == 0


def test_limits_when_venues_really_split_then_they_widen_by_the_lasting_spread_and_not_by_one_wick() -> None:
    venues = Venues()
    for second in range(30):
        for source, price in zip(VENUES[:3], (92_600, 92_500, 92_650), strict=True):
            venues.quote(START_NS + second * SECOND_NS, source, price)
    venues.quote(START_NS + 29 * SECOND_NS, "okx", 80_000)
    assert venues.view(START_NS + 29 * SECOND_NS).room == (50 * Decimal("2.5"), 50 * Decimal("2.5"))


@pytest.mark.parametrize(
    ("lasted_s", "price", "above"),
    [(280, 93_600, 0), (310, 93_600, 1_000), (310, 99_000, 1_852), (310, 92_600, 0)],
    ids=["a wick", "a venue apart", "further than is believed", "with the others"],
)
def test_limits_when_one_venue_is_apart_for_five_of_ten_minutes_then_there_is_room_on_its_side(
    lasted_s: int, price: int, above: int
) -> None:
    venues = Venues()
    for second in range(300 + lasted_s):
        for source, quoted in zip(VENUES[:3], (92_600, 92_600, 92_600 if second < 300 else price), strict=True):
            venues.quote(START_NS + second * SECOND_NS, source, quoted)
    below, found = venues.view(START_NS + (299 + lasted_s) * SECOND_NS).room
    assert (round(below), round(found)) == (0, above)


def test_limits_when_a_venue_that_was_apart_falls_silent_then_its_room_ends() -> None:
    venues = Venues()
    for second in range(1200):
        for source, price in zip(VENUES[:4], (92_600, 92_600, 92_600, 93_600), strict=True):
            if source != VENUES[3] or second < 600:
                venues.quote(START_NS + second * SECOND_NS, source, price)
        if second == 600:
            assert venues.view(START_NS + second * SECOND_NS).room[1] > 900
    assert set(venues.view(START_NS + 1199 * SECOND_NS).room) == {Decimal(0)}


def test_reference_price_when_the_mark_price_is_an_average_then_it_is_averaged_alike() -> None:
    venues = Venues(divergence__smoothing="10s")
    for second in range(60):
        venues.agree(START_NS + second * SECOND_NS, 92_600 if second < 30 else 83_340)
    averaged = venues.view(START_NS + 39 * SECOND_NS).price
    after_a_constant = 83_340 + (92_600 - 83_340) * Decimal("0.3679")  # e to the -1
    assert venues.view(START_NS + 59 * SECOND_NS).price == pytest.approx(Decimal(83_801), abs=60)
    assert averaged is not None
    assert after_a_constant > 83_340


@pytest.mark.parametrize(
    ("age_s", "event_age_s", "fresh"),
    [("0", "0", True), ("5", "10", True), ("5", "10.1", False), ("10.1", "10.1", False), ("10.1", "8.5", False)],
)
def test_reference_when_it_grows_old_then_its_age_counts_from_the_older_of_event_and_receipt(
    age_s: str, event_age_s: str, fresh: bool
) -> None:
    now_ns, venues = START_NS + 60 * SECOND_NS, Venues()
    received_ns, event_ns = (now_ns - int(Decimal(age) * SECOND_NS) for age in (age_s, event_age_s))
    venues.quote(received_ns, "binance", 92_600, event_ns)
    assert venues.book.quotes
    assert venues.view(now_ns).count == fresh


@pytest.mark.parametrize(("count", "quorum", "has_quorum"), [(0, 3, False), (2, 3, False), (3, 3, True), (2, 2, True)])
def test_quorum_when_sources_are_fresh_then_it_takes_as_many_as_the_policy_says(
    count: int, quorum: int, has_quorum: bool
) -> None:
    venues = Venues(references__quorum=str(quorum))
    venues.agree(START_NS, 92_600, count)
    view = venues.view(START_NS)
    assert (view.quorum, view.last_quorum_ns) == (has_quorum, START_NS if has_quorum else None)
    assert (view.price is None) == (count == 0)


def test_view_when_asked_then_it_changes_nothing() -> None:
    venues = Venues()
    venues.agree(START_NS, 92_600)
    before = repr(venues.book)
    for later_s in (0, 11, 31, 3600):
        venues.view(START_NS + later_s * SECOND_NS)
    assert repr(venues.book) == before


@pytest.mark.parametrize(("sources", "facts"), [("bybit,okx", ""), ("bybit,okx", "bybit/origin=kraken")])
def test_source_when_the_policy_takes_it_out_then_its_last_quote_counts_no_more(sources: str, facts: str) -> None:
    venues = Venues(references__sources="binance,bybit,okx", references__quorum="2")
    for second in range(400):
        for source, price in zip(VENUES[:3], (99_000, 92_600, 92_610), strict=True):
            venues.quote(START_NS + second * SECOND_NS, source, price)
    now_ns = START_NS + 399 * SECOND_NS
    changes = {"references.sources": sources} | ({"references.facts": facts} if facts else {})
    without = world.changed(venues.market_policy, changes)

    before, after = venues.view(now_ns), venues.book.view(now_ns, without)

    assert (before.count, before.price) == (3, Decimal(92_610))
    assert (after.count, after.price) == (2, Decimal(92_605))
    assert after.range == Interval(Decimal(92_600), Decimal(92_610))
    venues.market_policy, venues.policy = without, replace(venues.policy, markets={BTC: without})
    for second in range(400, 415):
        for source, price in zip(VENUES[1:3], (92_600, 92_610), strict=True):
            venues.quote(START_NS + second * SECOND_NS, source, price)
    assert before.room[1] > 1_000 > venues.view(START_NS + 414 * SECOND_NS).room[1], "it was apart, and widens no more"
