"""The guard's own clock: what all publishers are off by, alike, is its own error and none of theirs.

Two witnesses are heard: the stamps of the publishers, and the wall clock of the guard's machine, which may be set after
the guard started. Publishers alone make the guard deny. Only where both say the same is its clock corrected.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from circuit_guard.core.facts import ClockChanged, Fact
from circuit_guard.core.formatting import instant
from circuit_guard.core.rules.staleness import DATA_STALE, FUTURE_STAMP
from circuit_guard.core.types import SECOND_NS, Finding, Severity, show_seconds

GUARD_CLOCK_OFF = "guard_clock_off"

FRESH_NS = 15 * SECOND_NS
"""A source that has published nothing for this long says nothing of the clock."""
LASTS_NS = 3 * SECOND_NS
"""What all sources are off by has to last this long: a queue that is worked off looks like a wrong clock for less."""
ALIKE_NS = 4 * SECOND_NS
"""Two errors of one clock differ by no more than this, nor by more than half of the larger: clocks differ a little, and
data take their time."""
SOURCES_MIN = 2
"""One source that is off may be wrong itself, unless the machine's wall clock says the same."""
SOURCES_MAX = 256
MENTIONED_NS = 3_600 * SECOND_NS
MOVED_NS = 2 * SECOND_NS


class Stamp(NamedTuple):
    """The last stamp of a source: when it came, how far it was ahead of the guard's clock, and whether that denied."""

    at_ns: int
    ahead_ns: int
    mistimed: bool


@dataclass(slots=True)
class OwnClock:
    """What is known of the guard's own clock. `ahead`: by how much others are ahead of it; behind is negative."""

    wall_ahead_ns: int = 0
    """The machine's wall clock, which may have been set since the start."""
    stamps: dict[str, Stamp] = field(default_factory=dict)
    shift_ns: int | None = None
    """How far all sources are ahead, alike; None where they are not."""
    shift_since_ns: int = 0
    off_ns: int | None = None
    """How far the truth is taken to be ahead of the guard's clock; None where that is right."""
    catching_up: bool = False
    """Whether the guard's clock was ahead, and stands still until the wall clock has come to it."""
    corrected_ns: int | None = None
    corrected_by_ns: int = 0
    """When the guard's clock was last corrected, and by how much."""


def note(clock: OwnClock, source: str, stamp: Stamp) -> list[Fact]:
    """Take the stamp of a source, and say whether it is the guard's clock that is off."""
    if clock.catching_up:
        return []
    clock.stamps[source] = stamp
    if not stamp.mistimed and clock.shift_ns is None and clock.off_ns is None:
        return []
    return _judge(clock, stamp.at_ns)


def wall_moved(clock: OwnClock, wall_ahead_ns: int, now_ns: int) -> list[Fact]:
    """Take how far the machine's wall clock is ahead of the guard's."""
    clock.wall_ahead_ns = wall_ahead_ns
    return [] if clock.catching_up else _judge(clock, now_ns)


def corrected(clock: OwnClock, by_ns: int, now_ns: int, *, catching_up: bool) -> list[Fact]:
    """Note that the guard's clock was corrected, or stands still until the wall clock has come to it."""
    if by_ns:
        clock.corrected_ns, clock.corrected_by_ns = now_ns, by_ns
    clock.catching_up, clock.stamps, clock.shift_ns = catching_up, {}, None
    clock.wall_ahead_ns = 0
    if catching_up:
        return [ClockChanged(now_ns, clock.off_ns or 0, by_ns)]
    clock.off_ns = None
    return [ClockChanged(now_ns, 0, by_ns or clock.corrected_by_ns)]


def agreed(clock: OwnClock) -> bool:
    """Return whether the machine's wall clock and all publishers say the same of the guard's clock: then correct it."""
    return clock.off_ns is not None and not clock.catching_up and _alike(clock.off_ns, clock.wall_ahead_ns)


def finding(clock: OwnClock) -> Finding | None:
    """Return why everything is denied; None where the guard's clock is right as far as it knows."""
    if clock.off_ns is None:
        return None
    return Finding(GUARD_CLOCK_OFF, Severity.DENY, "the guard's clock", _off(clock.off_ns), _remedy(clock))


def named(clock: OwnClock, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings that call a stamp old or early as what they are while the guard's clock is off."""
    off = finding(clock)
    if off is None:
        return tuple(findings)
    return tuple(replace(off, severity=f.severity, shadow=f.shadow) if is_mistimed(f) else f for f in findings)


def is_mistimed(found: Finding) -> bool:
    """Return whether a finding says that a stamp is too old or too early."""
    return found.reason == FUTURE_STAMP or (found.reason == DATA_STALE and found.subject == "event_time")


def sentence(found: Finding) -> str:
    """Return a finding about the guard's clock for a person."""
    return f"the guard's own clock is {found.observed} by the stamps of all publishers. {found.limit}"


def said(clock: OwnClock, now_ns: int) -> str:
    """Return what is to be known of the guard's clock, in one sentence; empty where it is as it should be."""
    off = finding(clock)
    if off is not None:
        return sentence(off)
    if clock.corrected_ns is not None and now_ns - clock.corrected_ns <= MENTIONED_NS:
        by = f"{clock.corrected_by_ns / SECOND_NS:+.1f} s"
        return f"corrected by {by} at {instant(clock.corrected_ns)}: the machine's clock and all publishers agreed"
    if abs(clock.wall_ahead_ns) > MOVED_NS:
        moved = f"the machine's clock was set by {clock.wall_ahead_ns / SECOND_NS:+.1f} s since the guard started"
        return f"{moved}. The guard follows it once stamps of publishers say the same"
    return ""


def changed_sentence(fact: ClockChanged) -> str:
    """Return what happened to the guard's clock."""
    if fact.off_ns and fact.corrected_ns:
        return f"the guard's clock is {_off(fact.off_ns)} and stands still until the machine's clock has come to it"
    if fact.off_ns:
        what = f"the guard's own clock is {_off(fact.off_ns)} by the stamps of all publishers: closures are denied"
        return f"{what} until the clock of the guard's machine is right"
    if fact.corrected_ns:
        return f"the guard's clock was corrected by {fact.corrected_ns / SECOND_NS:+.1f} s: evidence starts afresh"
    return "the guard's clock is right again by the stamps of the publishers"


def _judge(clock: OwnClock, now_ns: int) -> list[Fact]:
    clock.stamps = {source: one for source, one in clock.stamps.items() if now_ns - one.at_ns <= FRESH_NS}
    if not clock.stamps:
        return []
    shift_ns = _common(clock.stamps.values())
    if shift_ns is None:
        clock.shift_ns = None
        if clock.off_ns is None:
            return []
        clock.off_ns = None
        return [ClockChanged(now_ns, 0)]
    if clock.shift_ns is None or not _alike(shift_ns, clock.shift_ns):
        clock.shift_since_ns = now_ns
    clock.shift_ns = shift_ns
    lasts = now_ns - clock.shift_since_ns >= LASTS_NS and len(clock.stamps) >= SOURCES_MIN
    if clock.off_ns is None and not lasts and not _alike(shift_ns, clock.wall_ahead_ns):
        return []
    before, clock.off_ns = clock.off_ns, shift_ns
    return [] if before is not None else [ClockChanged(now_ns, shift_ns)]


def _common(stamps: Iterable[Stamp]) -> int | None:
    """Return by how much all sources are ahead; None where one of them is on time, or they differ."""
    stamps = list(stamps)
    aheads = sorted(one.ahead_ns for one in stamps)
    if not all(one.mistimed for one in stamps) or not _alike(aheads[0], aheads[-1]):
        return None
    return aheads[len(aheads) // 2]


def _alike(one_ns: int, other_ns: int) -> bool:
    return abs(one_ns - other_ns) <= min(ALIKE_NS, max(abs(one_ns), abs(other_ns)) // 2)


def _off(off_ns: int) -> str:
    return f"{show_seconds(abs(off_ns))} {'behind' if off_ns > 0 else 'ahead'}"


def _remedy(clock: OwnClock) -> str:
    if clock.catching_up:
        return "It stands still until the machine's clock has come to it; nobody has to act"
    return "Set the clock of the guard's machine right (chronyc tracking); the guard then follows it by itself"
