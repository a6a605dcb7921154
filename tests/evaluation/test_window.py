from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from circuit_guard.core.inputs import Check, Observation, PhaseCommand
from circuit_guard.core.types import SECOND_NS, Phase
from circuit_guard.errors import RecordingError
from circuit_guard.evaluation.feed import MARKETS_MAX, WINDOW_NS, Feed, Steps, window
from circuit_guard.recording.format import Entry, Fault, LabelledCheck
from tests.evaluation.honest_feed import MARKETS, START_NS, honest_entries

BTC = MARKETS[0]
HOUR_S = 3_600


@pytest.fixture(name="recording", scope="module")
def _recording() -> list[Entry]:
    """An hour of ten markets."""
    entries = honest_entries(seconds=HOUR_S)
    more = [
        replace(entry, market=f"{entry.market}-{copy}")
        for entry in entries
        for copy in "ab"
        if not isinstance(entry, PhaseCommand) and entry.market == BTC
    ]
    return sorted((*entries, *more), key=lambda entry: entry.at_ns)


def test_window_when_cut_from_a_long_recording_then_it_lasts_sixteen_minutes_and_has_eight_markets(
    recording: list[Entry],
) -> None:
    for seed in range(6):
        feed = window(recording, seed)
        assert WINDOW_NS - 10 * SECOND_NS <= feed.end_ns - feed.start_ns <= WINDOW_NS
        assert len(feed.markets) == MARKETS_MAX
        assert {entry.market for entry in feed.entries if not isinstance(entry, PhaseCommand)} == set(feed.markets)


def test_window_when_the_seed_is_the_same_then_so_is_the_window(recording: list[Entry]) -> None:
    assert window(recording, 3) == window(recording, 3)
    windows = [window(recording, seed) for seed in range(5)]
    assert len({feed.start_ns for feed in windows}) == 5
    assert len({feed.markets for feed in windows}) > 1


def test_window_when_half_of_them_are_aimed_then_the_fall_is_often_where_a_fault_may_lie(
    recording: list[Entry],
) -> None:
    fall_ns = START_NS + HOUR_S * SECOND_NS // 2
    zones = [window(recording, seed).fault_zone_ns for seed in range(20)]
    assert sum(earliest - 360 * SECOND_NS <= fall_ns <= latest + 360 * SECOND_NS for earliest, latest in zones) >= 10


def test_window_when_the_recording_is_shorter_then_it_is_all_of_it() -> None:
    entries = honest_entries(markets=2, seconds=600)
    assert window(entries, 1).entries == entries


def test_window_when_the_recording_is_too_short_for_any_fault_then_it_is_refused() -> None:
    with pytest.raises(RecordingError, match=r"lasts 496 s, expected at least 540 s"):
        window(honest_entries(markets=1, seconds=500), 1)
    with pytest.raises(RecordingError, match=r"lasts 0 s"):
        window([], 1)


def test_window_when_the_recording_has_a_fault_of_its_own_then_it_is_refused() -> None:
    fault = Fault(START_NS, "funding_reset", (BTC,), START_NS + SECOND_NS)
    with pytest.raises(RecordingError, match="holds a fault of its own"):
        window([fault, *honest_entries()], 1)


def test_window_when_the_recording_has_checks_then_they_are_left_out() -> None:
    check = LabelledCheck(Check(START_NS, "one", "somebody", BTC, Decimal(1)))
    entries = honest_entries(markets=1)
    assert window([check, *entries], 1).entries == entries


def test_window_when_a_phase_began_before_it_then_it_begins_in_that_phase(recording: list[Entry]) -> None:
    phases = [
        PhaseCommand(recording[0].at_ns, Phase.POST_ONLY, (BTC, "another")),
        PhaseCommand(recording[0].at_ns, Phase.CANCEL_ONLY, ("another",)),
    ]
    feed = next(feed for seed in range(20) if BTC in (feed := window([*phases, *recording], seed)).markets)
    assert feed.entries[0] == PhaseCommand(feed.start_ns, Phase.POST_ONLY, (BTC,))
    assert not any(isinstance(entry, PhaseCommand) for entry in feed.entries[1:])


def test_feed_when_a_market_never_gives_a_funding_index_then_it_is_left_out() -> None:
    entries = [
        replace(entry, funding_index=None) if isinstance(entry, Observation) and entry.market == BTC else entry
        for entry in honest_entries(markets=2, seconds=20)
    ]
    feed = Feed.of(entries)
    assert feed.markets == (MARKETS[1],)
    assert list(feed.observations) == [MARKETS[1]]


def test_steps_when_asked_between_two_values_then_the_earlier_holds() -> None:
    steps = Steps([10, 20], [Decimal(1), Decimal(2)])
    assert [steps.at(at_ns) for at_ns in (5, 10, 19, 20, 99)] == [1, 1, 1, 2, 2]
    assert [list(steps.since(at_ns)) for at_ns in (5, 19, 20)] == [[1, 2], [1, 2], [2]]
