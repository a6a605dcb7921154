"""Trading hours as people write them, against the clocks of the places where they hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuit_guard.config.hours import calendar_of
from circuit_guard.core.hours import Calendar
from circuit_guard.core.types import SECOND_NS

NEW_YORK = ("America/New_York", ("mon-fri 09:30-16:00",), ("2026-12-25", "2026-11-27 09:30-13:00"))
GLOBEX = ("America/Chicago", ("sun-thu 17:00-16:00",), ("2026-12-25",))
TOKYO = ("Asia/Tokyo", ("mon-fri 09:00-11:30", "mon-fri 12:30-15:30"), ("2026-01-01",))
LONG = ("Europe/London", ("wed-mon 22:00-05:00",), ())


def calendar(zone: str, sessions: tuple[str, ...], holidays: tuple[str, ...]) -> Calendar:
    found = calendar_of(zone, sessions, holidays)
    assert found is not None
    return found


def at_ns(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND_NS


@pytest.mark.parametrize(
    ("hours", "local", "trades"),
    [
        (NEW_YORK, "2026-01-20 09:29:59", False),
        (NEW_YORK, "2026-01-20 09:30:00", True),
        (NEW_YORK, "2026-07-20 15:59:59", True),
        (NEW_YORK, "2026-07-20 16:00:00", False),
        (NEW_YORK, "2026-07-18 12:00:00", False),
        (NEW_YORK, "2026-12-25 12:00:00", False),
        (NEW_YORK, "2026-11-27 12:59:59", True),
        (NEW_YORK, "2026-11-27 13:00:00", False),
        (GLOBEX, "2026-01-18 16:59:59", False),
        (GLOBEX, "2026-01-18 17:00:00", True),
        (GLOBEX, "2026-01-19 16:30:00", False),
        (GLOBEX, "2026-01-23 15:59:00", True),
        (GLOBEX, "2026-01-23 16:00:00", False),
        (TOKYO, "2026-01-20 12:00:00", False),
        (TOKYO, "2026-01-20 12:30:00", True),
        (LONG, "2026-01-20 04:59:00", True),
        (LONG, "2026-01-21 04:59:00", False),
    ],
)
def test_trades_when_local_clocks_say_so(
    hours: tuple[str, tuple[str, ...], tuple[str, ...]], local: str, trades: bool
) -> None:
    assert calendar(*hours).trades(at_ns(local, hours[0])) is trades


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-03-06 20:00", "2026-03-09 13:30"),
        ("2026-10-30 20:30", "2026-11-02 14:30"),
        ("2026-12-24 21:00", "2026-12-28 14:30"),
    ],
    ids=["summer time begins", "summer time ends", "a holiday before a weekend"],
)
def test_session_when_closed_then_it_ends_at_the_next_opening_in_local_time(now: str, opens: str) -> None:
    session = calendar(*NEW_YORK).session(at_ns(now) + 2 * 3600 * SECOND_NS)

    assert not session.open
    assert session.until_ns == at_ns(opens)


@settings(max_examples=150, derandomize=True, database=None)
@given(
    hours=st.sampled_from([NEW_YORK, GLOBEX, TOKYO, LONG]),
    minutes=st.integers(0, 2 * 365 * 24 * 60),
    share=st.floats(0, 1, exclude_max=True),
)
def test_session_when_time_passes_within_it_then_nothing_changes_and_at_its_end_it_does(
    hours: tuple[str, tuple[str, ...], tuple[str, ...]], minutes: int, share: float
) -> None:
    known = calendar(*hours)
    now_ns = int((datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)).timestamp()) * SECOND_NS
    session = known.session(now_ns)
    within_ns = session.since_ns + int(share * (session.until_ns - session.since_ns))

    assert session.since_ns <= now_ns < session.until_ns
    assert known.trades(within_ns) is session.open
    assert known.trades(session.until_ns) is not session.open


def test_calendar_when_there_are_no_sessions_then_it_always_trades() -> None:
    assert calendar_of("UTC", (), ()) is None
