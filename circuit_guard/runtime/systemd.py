"""What systemd is told: that the guard answers, how it is, that it lives, and that it stops. See sd_notify(3).

Without systemd nothing is sent.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import structlog

REASONS_SHOWN_MAX = 3
"""How many of the reasons why the guard is not ready `systemctl status` shows."""
BEATS_PER_WATCHDOG = 3
"""How many signs of life the event loop gives within the time that systemd allows."""
INTERVAL_S = 1.0
"""Seconds between two looks at the readiness where systemd wants no sign of life."""

_log = structlog.stdlib.get_logger(__name__)


class ServiceManager:
    """systemd, where it has started this process. What cannot be told is logged once; it never ends the guard."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watchdog_s = _watchdog_s(environ, pid)
        self._status = ""
        self._failed = False

    def ready(self) -> None:
        """Say that the guard answers: what has to come after it may start."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """Say that the guard has begun to drain."""
        self._tell("STOPPING=1")

    @asynccontextmanager
    async def watching(
        self, not_ready: Callable[[], Sequence[str]], refused_files: Callable[[], Sequence[str]] = tuple
    ) -> AsyncIterator[None]:
        """Show why the guard is not ready and which files it refused, and say from the event loop that it lives.

        It does so while the context lasts.
        """
        beats = asyncio.create_task(self._beat(not_ready, refused_files)) if self._address else None
        try:
            yield
        finally:
            if beats is not None:
                beats.cancel()

    async def _beat(self, not_ready: Callable[[], Sequence[str]], refused_files: Callable[[], Sequence[str]]) -> None:
        while True:
            if self._watchdog_s is not None:
                self._tell("WATCHDOG=1")
            status = "; ".join([_status(not_ready()), *refused_files()]).replace("\n", " ")
            if status != self._status:
                self._tell(f"STATUS={status}")
                self._status = status
            await asyncio.sleep(INTERVAL_S if self._watchdog_s is None else self._watchdog_s / BEATS_PER_WATCHDOG)

    def _tell(self, assignment: str) -> None:
        if not self._address:
            return
        # A name in the abstract namespace is written with an @.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notifications:
                notifications.sendto(assignment.encode(), address)
        except OSError as error:
            if not self._failed:
                _log.warning("service_manager_not_told", socket=self._address, message=assignment, error=str(error))
            self._failed = True


def _status(not_ready: Sequence[str]) -> str:
    if not not_ready:
        return "serving"
    more = len(not_ready) - REASONS_SHOWN_MAX
    shown = "; ".join(not_ready[:REASONS_SHOWN_MAX]) + (f"; and {more} more" if more > 0 else "")
    return f"not ready: {shown}"


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Return after how many seconds of silence systemd kills the process; None where it does not."""
    within_us, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not within_us.isdecimal() or whose not in ("", str(pid)):
        return None
    return int(within_us) / 1_000_000 or None
