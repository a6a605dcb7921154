"""The only place that reads the clocks of the machine."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: the wall clock, which may be stepped, and one that only ever advances."""

    def wall_ns(self) -> int:
        """Return nanoseconds since the Unix epoch."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds since an arbitrary start; never less than before."""


class SystemClock:
    """The clocks of the machine. The monotonic one counts the time a machine was suspended, where it can."""

    def __init__(self) -> None:
        self._monotonic_id = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def wall_ns(self) -> int:
        """Return nanoseconds since the Unix epoch."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return nanoseconds since the machine started."""
        return time.clock_gettime_ns(self._monotonic_id)


class EngineClock:
    """Wall time read once, then advanced by the monotonic clock: a step of the wall clock changes no age.

    A wall clock that was wrong at the start stays wrong here until `follow_wall`; `offset_ns` shows by how much.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._anchor_ns = clock.wall_ns() - clock.monotonic_ns()
        self._reached_ns = 0

    def now_ns(self) -> int:
        """Return nanoseconds since the Unix epoch; never less than before."""
        now_ns = self._anchor_ns + self._clock.monotonic_ns()
        return now_ns if now_ns > self._reached_ns else self._reached_ns

    def elapsed_ns(self, since_ns: int) -> int:
        """Return the time since an earlier `now_ns`; 0 while it stands still."""
        return self.now_ns() - since_ns

    def offset_ns(self) -> int:
        """Return how far the wall clock is ahead of this one."""
        return self._clock.wall_ns() - self.now_ns()

    def follow_wall(self) -> int:
        """Go on from the wall clock, and return how far that is ahead. Where it is behind, stand still until then."""
        self._reached_ns, ahead_ns = self.now_ns(), self.offset_ns()
        self._anchor_ns = self._clock.wall_ns() - self._clock.monotonic_ns()
        return ahead_ns

    def stands_still(self) -> bool:
        """Return whether the wall clock has not come to this one yet."""
        return self._anchor_ns + self._clock.monotonic_ns() < self._reached_ns
