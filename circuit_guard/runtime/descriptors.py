"""Descriptors that have run out: noticed, counted, and said once in a while instead of at each attempt."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import time
from collections.abc import Callable
from typing import Any

import structlog

LOG_EVERY_S = 10.0
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE})

_log = structlog.stdlib.get_logger(__name__)


class DescriptorWatch:
    """Knows how often this process had no descriptor left for a connection or a file."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        """`now_s` is a clock that never goes back."""
        self.exhausted = 0
        """Times that there was none, since the start."""
        self._now_s = now_s
        self._logged = 0
        self._logged_s = float("-inf")

    def look(self) -> None:
        """Try whether there is one. gRPC accepts connections where nobody else sees that it cannot."""
        try:
            os.close(os.dup(0))
        except OSError as error:
            self._note(error)

    def on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle what the event loop cannot raise: asyncio says a hundred times a second that it cannot accept."""
        if not self._note(context.get("exception")):
            loop.default_exception_handler(context)

    def _note(self, error: object) -> bool:
        if not isinstance(error, OSError) or error.errno not in _EXHAUSTED:
            return False
        self.exhausted += 1
        now_s = self._now_s()
        if now_s - self._logged_s >= LOG_EVERY_S:
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            _log.error(
                "descriptors_exhausted",
                times=self.exhausted - self._logged,
                limit=limit,
                means="no connection is accepted and no file opened; connections that are open go on",
                remedy="find who opens so many connections, or raise the limit (LimitNOFILE in systemd)",
            )
            self._logged, self._logged_s = self.exhausted, now_s
        return True
