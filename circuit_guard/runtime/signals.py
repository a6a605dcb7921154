"""Signals, on a thread of their own: they are seen whatever the event loop waits for."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import NoReturn, Self

ENDING = (signal.SIGTERM, signal.SIGINT)
EXIT_CUT_SHORT = 3
"""The exit code where the process was told to end and did not in time: what was queued may not be on the disk."""


class Signals:
    """Has `stop` called for the first SIGTERM or SIGINT, and `reload` for a SIGHUP, both on the signal thread.

    A second SIGTERM or SIGINT ends the process at once, and so does the time: `ends_within_s` after the first. Use it
    in `with`, on the main thread, before the event loop runs.
    """

    def __init__(self, ends_within_s: float) -> None:
        self._ends_within_s = ends_within_s
        self._stop: Callable[[], None] | None = None
        self._reload: Callable[[], None] | None = None
        self._stopping = False
        self._guard = threading.Lock()
        self._seen, self._told = socket.socketpair()
        self._told.setblocking(False)
        self._before = {number: signal.getsignal(number) for number in (*ENDING, signal.SIGHUP)}

    def __enter__(self) -> Self:
        for number in self._before:
            signal.signal(number, _noted)
        # The handler in C writes there, whatever the main thread waits for.
        signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="signals", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the handlers back; where the process was told to end, it goes on to see to that."""
        if self._stopping:
            return
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._told.close()

    def lead_to(self, stop: Callable[[], None], reload: Callable[[], None]) -> None:
        """Have these called from now on; `stop` at once where a signal has come already."""
        with self._guard:
            self._stop, self._reload = stop, reload
            stopping = self._stopping
        if stopping:
            stop()

    def _watch(self) -> None:
        deadline_s: float | None = None
        while True:
            self._seen.settimeout(None if deadline_s is None else max(deadline_s - time.monotonic(), 0.001))
            try:
                numbers = self._seen.recv(64)
            except TimeoutError:
                _end(EXIT_CUT_SHORT, f"circuit-guard: was told to end {self._ends_within_s:g} s ago and ends now\n")
            if not numbers:
                self._seen.close()
                return
            for number in numbers:
                if number in ENDING and self._stopping:
                    os._exit(128 + number)
                elif number in ENDING:
                    deadline_s = time.monotonic() + self._ends_within_s
                    self._begin_to_stop()
                elif number == signal.SIGHUP and self._reload is not None:
                    self._reload()

    def _begin_to_stop(self) -> None:
        with self._guard:
            self._stopping = True
            stop = self._stop
        if stop is not None:
            stop()


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the thread has been told."""


def _end(code: int, said: str) -> NoReturn:
    """End the process, and say why where somebody can be told without waiting."""
    with suppress(OSError, ValueError):
        descriptor = sys.stderr.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if poll.poll(0):
            os.write(descriptor, said.encode())
    os._exit(code)
