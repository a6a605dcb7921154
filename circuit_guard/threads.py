"""Work that may never end, such as reading a file of a disk that hangs: on a thread of its own, for which nobody waits.

A pool would not do: what hangs takes a place in it for good, and the end of the process waits for all of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def apart(work: Callable[[], T]) -> T:
    """Return what `work` returns, or raise what it raises, while the event loop goes on.

    Cancelling ends the wait. The work goes on, and with the process it ends.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if outcome.done():  # nobody waits for it any more
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]  # without an error it is what `work` returns

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  # whoever waits gets it
            failure = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name=f"apart {getattr(work, '__name__', '')}".strip(), daemon=True).start()
    return await outcome


class Reads:
    """Reads of one place, one at a time: where the disk hangs, no second one begins to wait beside the first."""

    def __init__(self) -> None:
        self._reading: asyncio.Task[object] | None = None

    async def within(self, work: Callable[[], T], seconds: float) -> T:
        """Return what `work` returns. Raise TimeoutError where it takes longer, or an earlier one still does."""
        if self._reading is None or self._reading.done():
            reading = asyncio.create_task(apart(work))
            self._reading = reading
            await asyncio.wait([reading], timeout=seconds)
            if reading.done():
                return reading.result()
        raise TimeoutError
