"""Trading hours: when a market trades, as values, and what holds while it does not.

The policy has a time zone, weekly sessions and single days. `config.hours` turns them into a `Calendar`, whose offsets
are numbers: the core knows no time zones, and a replay has the ones that were recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import ClassVar, NamedTuple

from circuit_guard.core.parameters import Parameters, choice, name, seconds, share, texts
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.types import SECOND_NS

DAY_S = 86_400
WEEK_S = 7 * DAY_S
_DAYS_TO_MONDAY = 3
"""1 January 1970 was a Thursday."""
_LOOK_DAYS = 9
"""How far a change is looked for: longer than any closure round a weekend."""

Span = tuple[int, int]
"""From and until, in seconds."""

DAYS = "mon|tue|wed|thu|fri|sat|sun"
_CLOCK = "(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)"


class Session(NamedTuple):
    """Whether a market trades, since when and until when."""

    open: bool
    since_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """When a market trades, in its local time."""

    weekly: tuple[Span, ...]
    """Sessions in seconds since Monday 00:00; one may end in the next week."""
    days: tuple[tuple[int, tuple[Span, ...]], ...]
    """Single days, counted from 1 January 1970, and all their sessions, in seconds since 00:00: none on a holiday."""
    offsets: tuple[tuple[int, int], ...]
    """Local time is UTC plus so many seconds, from an instant in ns on; in order of time."""

    def offset_s(self, at_ns: int) -> int:
        """Return what local time is ahead of UTC by."""
        return next((offset_s for from_ns, offset_s in reversed(self.offsets) if from_ns <= at_ns), self.offsets[0][1])

    def trades(self, at_ns: int) -> bool:
        """Return whether the market trades at an instant."""
        day, second = divmod(at_ns // SECOND_NS + self.offset_s(at_ns), DAY_S)
        for one, spans in self.days:
            if one == day:
                return any(start <= second < end for start, end in spans)
        of_week = (day + _DAYS_TO_MONDAY) % 7 * DAY_S + second
        return any(start <= of_week < end or start <= of_week + WEEK_S < end for start, end in self.weekly)

    def session(self, at_ns: int) -> Session:
        """Return the session or the pause that an instant lies in. One longer than 9 days is cut to that."""
        day = at_ns // SECOND_NS // DAY_S
        first_ns, last_ns = ((day + days) * DAY_S * SECOND_NS for days in (-_LOOK_DAYS, _LOOK_DAYS))
        changes = _changes(self, day)
        since_ns = max((one for one in changes if one <= at_ns), default=first_ns)
        until_ns = min((one for one in changes if one > at_ns), default=last_ns)
        return Session(self.trades(at_ns), since_ns, until_ns)


@lru_cache(maxsize=4096)
def _changes(calendar: Calendar, day: int) -> tuple[int, ...]:
    """Return the instants at which a market opens or closes, some days round a day."""
    first, last = day - _LOOK_DAYS, day + _LOOK_DAYS
    single = dict(calendar.days)
    found = set()
    for one in range(first, last + 1):
        monday = one - (one + _DAYS_TO_MONDAY) % 7
        spans = [*single.get(one, ()), (0, DAY_S)]
        edges = [one * DAY_S + edge for span in spans for edge in span]
        edges += [monday * DAY_S + edge for span in calendar.weekly for edge in span]
        for edge in edges:
            near = {calendar.offset_s((edge + days * DAY_S) * SECOND_NS) for days in (-1, 1)}
            found |= {(edge - offset_s) * SECOND_NS for offset_s in near}
    found |= {from_ns for from_ns, _ in calendar.offsets if first <= from_ns // SECOND_NS // DAY_S <= last}
    return tuple(at_ns for at_ns in sorted(found) if calendar.trades(at_ns) != calendar.trades(at_ns - 1))


class Closed(StrEnum):
    """What happens to closures outside trading hours."""

    DENIED = "denied"
    OWN_PRICE = "own_price"


@dataclass(frozen=True, slots=True)
class HoursParameters(Parameters):
    """When the market trades. Without sessions it always does."""

    TABLE: ClassVar[str] = "hours"

    zone: str = name("UTC", "The time zone of the hours, as in the IANA database: America/New_York.")
    sessions: tuple[str, ...] = texts(
        'When it trades each week, for example ["mon-fri 09:30-16:00"]. A session that ends no later than it begins '
        'ends on the next day: ["sun-thu 18:00-17:00"]. Empty: always.',
        expected="a session such as mon-fri 09:30-16:00",
        pattern=f"(?:{DAYS})(?:-(?:{DAYS}))? {_CLOCK}-{_CLOCK}",
        most=50,
    )
    holidays: tuple[str, ...] = texts(
        'Local days that differ: closed, as in ["2026-12-25"], or with a session of their own: '
        '["2026-11-27 09:30-13:00"].',
        expected="a day such as 2026-12-25, or one with a session such as 2026-11-27 09:30-13:00",
        pattern=f"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(?: {_CLOCK}-{_CLOCK})?",
        most=1000,
    )
    closed: Closed = choice(
        Closed.DENIED,
        "Closures outside these hours. denied: none passes, and nothing trips on prices. own_price: where references "
        "have no quorum the market is judged by its own average price, as references.without has it.",
    )
    gap_share: Decimal = share(
        "0.20",
        "While it is closed, a position in it counts in its account at up to this fraction above or below the last "
        "confirmed price: the gap at which it may open.",
    )
    settle_ns: int = seconds(
        60,
        "So long after the opening nothing trips on prices: venues do not open in the same second. It denies as ever.",
        least=0,
    )
    calendar: Calendar | None = None
    """The hours as values; None: it always trades."""


def session_of(policy: MarketPolicy, now_ns: int) -> Session | None:
    """Return where a market stands in its trading hours; None where it always trades."""
    calendar = policy.of(HoursParameters).calendar
    return None if calendar is None else calendar.session(now_ns)


def is_shut(policy: MarketPolicy, now_ns: int) -> bool:
    """Return whether closures are denied because the market does not trade."""
    return policy.of(HoursParameters).closed is Closed.DENIED and is_closed(policy, now_ns)


def is_closed(policy: MarketPolicy, now_ns: int) -> bool:
    """Return whether a market is outside its trading hours."""
    session = session_of(policy, now_ns)
    return session is not None and not session.open
