"""Batches of checks take turns, so that under too many of them some are answered in time and not all too late.

One batch is decided at a time, in order of arrival; market data, operators and single checks get through between its
checks. A batch that would miss its deadline is refused at once, while asking elsewhere, or for less, still helps.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from circuit_guard.server.errors import RefusalError

WAIT_MAX_S = 1.0
"""A batch that would wait longer is refused, whatever its deadline: by then the question has changed."""
RECENT = 0.2
"""The weight of the last batch in what a check costs."""
RETRY_MIN_S = 0.05

STINT_S = 0.001
"""How long a batch is decided at a stretch. gRPC takes new RPCs one by one, so everybody's wait is made of these."""
LAPS = 3
"""Rounds of the event loop that others get then: as many as gRPC needs to take one RPC."""


class Pace:
    """How fast one batch goes: after each stint others get their rounds."""

    def __init__(self) -> None:
        self._since_s = time.perf_counter()

    def due(self) -> bool:
        """Return whether it is time to let others in."""
        return time.perf_counter() - self._since_s > STINT_S

    async def let_others_in(self) -> None:
        """Run what else is waiting in the event loop."""
        for _ in range(LAPS):
            await asyncio.sleep(0)
        self._since_s = time.perf_counter()


class BatchQueue:
    """Puts batches in order, and estimates what one check of a batch costs from recent ones."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        """`now_s` is a clock that never goes back."""
        self._now_s = now_s
        self._lock = asyncio.Lock()
        self._ahead = 0
        self._cost_s = 0.0

    @asynccontextmanager
    async def turn(self, checks: int, remaining_s: float | None) -> AsyncIterator[None]:
        """Wait for the turn of a batch, and keep it for as long as the context lasts.

        `remaining_s` is what is left of the caller's deadline. Raise RefusalError if that is not enough. A batch
        with none ahead is always tried, so that the estimate recovers after a slow period.
        """
        ahead, wait_s = self._ahead, self._ahead * self._cost_s
        allowed_s = WAIT_MAX_S if remaining_s is None else min(WAIT_MAX_S, remaining_s)
        if ahead and wait_s + checks * self._cost_s > allowed_s:
            raise _overloaded(f"{ahead} checks are ahead, about {wait_s:.2f} s", ahead, wait_s, allowed_s)
        self._ahead += checks
        came_s = self._now_s()
        try:
            async with self._lock:
                started_s = self._now_s()
                left_s = allowed_s - (started_s - came_s)
                needed_s = checks * self._cost_s
                if ahead and needed_s > left_s:
                    raise _overloaded(f"its turn has come, but it needs about {needed_s:.2f} s", 0, 0.0, left_s)
                finished = False
                try:
                    yield
                    finished = True
                finally:
                    self._learn((self._now_s() - started_s) / checks, finished=finished)
        finally:
            self._ahead -= checks

    def _learn(self, cost_s: float, *, finished: bool) -> None:
        """Update the estimate; an unfinished batch can only raise it."""
        if finished:
            self._cost_s += (cost_s - self._cost_s) * RECENT
        else:
            self._cost_s = max(self._cost_s, cost_s)


def _overloaded(problem: str, ahead: int, wait_s: float, left_s: float) -> RefusalError:
    message = (
        f"{problem}, and {max(left_s, 0):.2f} s are left: nothing was decided, treat this as a deny, and ask again "
        "with fewer checks or a later deadline"
    )
    retry_s = max(RETRY_MIN_S, wait_s)
    return RefusalError("OVERLOADED", message, {"waiting": str(ahead)}, retry_s)
