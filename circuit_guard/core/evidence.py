"""Evidence: unbroken runs of good observations. Re-opening rests on them, never on time alone or on traffic."""

from __future__ import annotations

from typing import NamedTuple


class Run(NamedTuple):
    """An unbroken run of observations. What nothing was observed for is no evidence: it ends with the last one."""

    since_ns: int
    last_ns: int

    @property
    def length_ns(self) -> int:
        """How long it has lasted."""
        return self.last_ns - self.since_ns


def extended(run: Run | None, now_ns: int) -> Run:
    """Return the run with an observation of now."""
    return Run(now_ns if run is None else run.since_ns, now_ns)
