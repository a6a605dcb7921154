"""Making compressed blocks of older rows, in a process of its own: only the writer puts them into the file.

A process of its own, because in the guard's the event loop would have to take the interpreter back from it after every
wait: that made checks ten times slower while a block was made.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from queue import SimpleQueue

import structlog

from circuit_guard.journal.errors import JournalFailed, RecordBroken
from circuit_guard.journal.packing import Block
from circuit_guard.journal.record import Chain

_PROGRAM = "from circuit_guard.journal.packing import main; main()"
AGAIN_AFTER_S = 10.0
"""The wait before a process that ended, or could not be started, is started again. Nothing is lost meanwhile; the
journal only grows."""
_ENDS_WITHIN_S = 10.0
_BUILDS_WITHIN_S = 60.0
"""A block takes a second, and a few on a busy machine."""

_log = structlog.stdlib.get_logger(__name__)


class _NoProcessError(Exception):
    """The process cannot be started, has ended before it answered, or lacks memory, descriptors or the disk."""


class Compactor:
    """Has blocks made as asked, and hands each to `deliver`; `fail` is told of an error. A thread waits for them."""

    def __init__(
        self,
        path: Path,
        count: int,
        deliver: Callable[[Block], None],
        fail: Callable[[Exception], None],
        again_after_s: float = AGAIN_AFTER_S,
    ) -> None:
        self._path = path
        self._count = count
        self._deliver = deliver
        self._fail = fail
        self._again_after_s = again_after_s
        self._asked: SimpleQueue[Chain | None] = SimpleQueue()
        self._closing = threading.Event()
        self._process = _Process()
        self.thread = threading.Thread(target=self._run, name="journal-compactor", daemon=True)
        """What waits for the process."""
        self.thread.start()

    def ask(self, chain: Chain) -> None:
        """Ask for a block of the oldest rows of a chain."""
        self._asked.put(chain)

    def end(self) -> None:
        """Have it end, and with it the thread. A block in hand is lost: the next guard has it made again."""
        self._closing.set()
        self._asked.put(None)
        self._process.kill()

    def close(self) -> None:
        """End, and return once the thread has ended."""
        self.end()
        self.thread.join()

    def _run(self) -> None:
        try:
            while (chain := self._asked.get()) is not None and not self._closing.is_set():
                if (block := self._build(chain)) is not None:
                    self._deliver(block)
        except Exception as error:  # noqa: BLE001  # whatever it is, the journal says so and keeps nothing more
            self._fail(error)
        finally:
            self._process.end()

    def _build(self, chain: Chain) -> Block | None:
        """Return a block, or None where the journal is closed before the process is there again."""
        while True:
            try:
                return self._process.build(self._path, chain, self._count)
            except _NoProcessError as error:
                if self._closing.is_set():
                    return None
                exit_code = self._process.end()
                _log.warning(
                    "journal_compactor_ended", error=str(error), exit_code=exit_code, again_in_s=self._again_after_s
                )
            if self._closing.wait(self._again_after_s):
                return None


class _Process:
    """The process, while it is needed."""

    def __init__(self) -> None:
        self._running: tuple[subprocess.Popen[bytes], Connection] | None = None
        self._killed = False

    def build(self, path: Path, chain: Chain, count: int) -> Block:
        """Return the block, or raise what prevents it: _NoProcessError, or the error that the process met."""
        try:
            self._running = self._running or _started()
            process, connection = self._running
            if self._killed:
                raise _NoProcessError("it is to end")
            connection.send((path, chain, count))
            if not connection.poll(_BUILDS_WITHIN_S):
                process.kill()
                raise _NoProcessError(f"it made no block in {_BUILDS_WITHIN_S:g} s: it is stopped, or its disk hangs")
            answer: Block | Exception = connection.recv()
        except (EOFError, OSError) as error:
            raise _NoProcessError(str(error) or "it has ended") from error
        if isinstance(answer, RecordBroken | JournalFailed):  # about the records: the guard must know
            raise answer
        if isinstance(answer, Exception):
            raise _NoProcessError(f"{type(answer).__name__}: {answer}") from answer
        return answer

    def kill(self) -> None:
        """Have the process end whatever it does, from another thread than the one that waits for it."""
        self._killed = True
        running = self._running
        if running is not None:
            running[0].kill()

    def end(self) -> int | None:
        """End the process and return its exit code; None where there is none."""
        if self._running is None:
            return None
        process, connection = self._running
        self._running = None
        connection.close()
        try:
            return process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _started() -> tuple[subprocess.Popen[bytes], Connection]:
    ours, theirs = Pipe()
    with theirs:
        # -P and the path: it has to be this program, whatever lies in the directory that the guard was started from.
        process = subprocess.Popen(  # noqa: S603  # nothing in it is from outside
            [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    return process, ours
