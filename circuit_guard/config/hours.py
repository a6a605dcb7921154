"""Trading hours as people write them, turned into the numbers that the core computes with."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from circuit_guard.core.hours import DAY_S, DAYS, Calendar, Span
from circuit_guard.core.types import SECOND_NS

FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2046, 1, 1, tzinfo=UTC)
"""The changes of a zone's clocks are known within these; before and after them the nearest offset holds."""
_EPOCH = date(1970, 1, 1)
_DAY_NAMES = DAYS.split("|")


def calendar_of(zone: str, sessions: tuple[str, ...], holidays: tuple[str, ...]) -> Calendar | None:
    """Return when a market trades; None without sessions. Raise ValueError for a zone or a day that does not exist."""
    if not sessions:
        return None
    days: dict[int, list[Span]] = {}
    for text in holidays:
        day, _, hours = text.partition(" ")
        days.setdefault((date.fromisoformat(day) - _EPOCH).days, []).extend([_hours(hours)] if hours else [])
    weekly = sorted(span for text in sessions for span in _weekly(text))
    return Calendar(
        tuple(weekly), tuple((day, tuple(sorted(spans))) for day, spans in sorted(days.items())), offsets(zone)
    )


def _weekly(text: str) -> list[Span]:
    days, _, hours = text.partition(" ")
    first, _, last = days.partition("-")
    start, end = _hours(hours)
    begin = _DAY_NAMES.index(first)
    count = (_DAY_NAMES.index(last or first) - begin) % 7 + 1
    if end <= start:
        end += DAY_S
    numbers = [(begin + one) % 7 * DAY_S for one in range(count)]
    return [(number + start, number + end) for number in numbers]


def _hours(text: str) -> Span:
    start, _, end = text.partition("-")
    return _seconds(start), _seconds(end)


def _seconds(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 3600 + int(minutes) * 60


def known_zone(zone: str) -> ZoneInfo:
    """Return a time zone by its name. Raise ValueError if neither this host nor tzdata has it."""
    try:
        return ZoneInfo(zone)
    except (OSError, ValueError, KeyError) as problem:
        raise ValueError(f"no time zone {zone}") from problem


@lru_cache(maxsize=1000)
def offsets(zone: str) -> tuple[tuple[int, int], ...]:
    """Return from when on a zone's clocks are ahead of UTC by how many seconds. Raise ValueError for no zone."""
    known = known_zone(zone)
    found, at = [(_ns(FIRST), _offset_s(known, FIRST))], FIRST
    while at < LAST:
        after = at + timedelta(days=1)
        if _offset_s(known, after) != found[-1][1]:
            found.append((_ns(_changed(known, at, after)), _offset_s(known, after)))
        at = after
    return tuple(found)


def _changed(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return the second at which the offset becomes that of `after`."""
    wanted = _offset_s(zone, after)
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=int((after - before).total_seconds()) // 2)
        before, after = (before, middle) if _offset_s(zone, middle) == wanted else (middle, after)
    return after


def _offset_s(zone: ZoneInfo, at: datetime) -> int:
    ahead = at.astimezone(zone).utcoffset()
    return 0 if ahead is None else int(ahead.total_seconds())


def _ns(at: datetime) -> int:
    return int(at.timestamp()) * SECOND_NS
