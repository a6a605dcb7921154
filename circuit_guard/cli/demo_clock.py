"""The demo's time: it begins with the recording, runs faster than the machine's, and never ahead of the story."""

from __future__ import annotations

from circuit_guard.core.types import SECOND_NS
from circuit_guard.engine.clock import Clock


class StoryClock:
    """A clock for the engine that runs `speed` times faster than the machine's.

    It stands still until `begin`, and at each instant that `allow` names until the next one is named: whatever was
    recorded for an instant is received at that instant, however slow the machine is.
    """

    def __init__(self, machine: Clock, start_ns: int, speed: float) -> None:
        self._machine = machine
        self._start_ns = start_ns
        self._speed = speed
        self._begun_ns: int | None = None
        self._allowed_ns = start_ns

    def wall_ns(self) -> int:
        """Return nanoseconds since the Unix epoch, in the story."""
        return min(self._start_ns + self._run_ns(), self._allowed_ns)

    def monotonic_ns(self) -> int:
        """Return nanoseconds since the story began."""
        return self.wall_ns() - self._start_ns

    def begin(self) -> None:
        """Start the clock."""
        self._begun_ns = self._machine.monotonic_ns()

    def allow(self, until_ns: int) -> None:
        """Let the clock run until this instant, and no further."""
        self._allowed_ns = max(until_ns, self._allowed_ns)

    def machine_s_until(self, at_ns: int) -> float:
        """Return how many seconds of the machine's time are left until an instant of the story; 0 once it is there."""
        return max(at_ns - self._start_ns - self._run_ns(), 0) / self._speed / SECOND_NS

    def _run_ns(self) -> int:
        if self._begun_ns is None:
            return 0
        return int((self._machine.monotonic_ns() - self._begun_ns) * self._speed)
