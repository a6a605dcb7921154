"""Log lines: rendered and written by a thread of their own, so that a slow disk or terminal holds up no decision."""

from __future__ import annotations

import logging
import logging.handlers
import queue
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Self, TextIO

import structlog
from structlog.typing import Processor

QUEUE_MAX = 10_000
"""Lines that may wait to be written. More are dropped and counted: the guard never waits for its log."""

CLOSE_S = 0.5
"""How long closing waits for room in the queue, and then for the stream to take what is in it."""

_BEFORE: tuple[Processor, ...] = (
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


class _DroppingHandler(logging.handlers.QueueHandler):
    """Hands records over as they are, and counts those for which there is no room."""

    def __init__(self, records: queue.Queue[logging.LogRecord | None]) -> None:
        super().__init__(records)
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class LogPipeline:
    """The way of every log line of the process, from any library, to one stream. There is one at a time."""

    def __init__(
        self,
        level: str,
        line_format: Literal["json", "console"],
        stream: TextIO | None = None,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        """`level` is a name such as `info`; the stream defaults to stderr."""
        target = stream or sys.stderr
        self._records: queue.Queue[logging.LogRecord | None] = queue.Queue(queue_max)
        self._handler = _DroppingHandler(self._records)
        self._writer = logging.StreamHandler(target)
        self._writer.setFormatter(_formatter(line_format, colors=target.isatty()))
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._level = level
        self._root = logging.getLogger()
        self._handlers_before: list[logging.Handler] = []
        self._level_before = logging.WARNING

    @property
    def dropped(self) -> int:
        """How many lines were dropped because the queue was full."""
        return self._handler.dropped

    @property
    def stuck(self) -> bool:
        """Whether the stream has not taken all that there was to write, once closed."""
        return self._thread.is_alive()

    def __enter__(self) -> Self:
        """Take over the root logger and structlog."""
        self._handlers_before, self._level_before = self._root.handlers[:], self._root.level
        self._root.handlers[:] = [self._handler]
        self._root.setLevel(self._level.upper())
        _configure_structlog()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is queued and give the root logger back."""
        self._root.handlers[:] = self._handlers_before
        self._root.setLevel(self._level_before)
        with suppress(queue.Full):  # nobody reads the log any more: the process ends all the same
            self._records.put(None, timeout=CLOSE_S)
        self._thread.join(CLOSE_S)

    def _write(self) -> None:
        while (record := self._records.get()) is not None:
            self._writer.handle(record)


def write_often(logger: logging.Logger, level: int, event: str, fields: Mapping[str, object]) -> None:
    """Write the line that structlog would, in a fifth of the time: for what happens thousands of times a second."""
    if not logger.isEnabledFor(level):
        return
    name = logging.getLevelName(level).lower()
    written_at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    record = logging.LogRecord(logger.name, level, "", 0, "", None, None)
    record.msg = {**fields, "event": event, "level": name, "timestamp": written_at}
    record.__dict__ |= {"_logger": logger, "_name": name}  # by these structlog's formatter knows a line of its own
    logger.handle(record)


def _configure_structlog() -> None:
    """Send structlog's lines to the root logger. Nothing here depends on the level, so loggers may be kept for ever."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_BEFORE,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def _formatter(line_format: Literal["json", "console"], *, colors: bool) -> structlog.stdlib.ProcessorFormatter:
    rendering: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if line_format == "json":
        rendering += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        rendering.append(structlog.dev.ConsoleRenderer(colors=colors))
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_BEFORE, structlog.stdlib.add_logger_name], processors=rendering
    )
