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
