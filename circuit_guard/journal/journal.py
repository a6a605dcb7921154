"""The journal in use: opened once by the process that holds the state directory, appended to by the event loop."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from circuit_guard.core.facts import Fact
from circuit_guard.core.inputs import Check, Input, OrdersCheck
from circuit_guard.core.policy import Policy
from circuit_guard.core.state import GuardState
from circuit_guard.journal.checkpoint import Checkpoint, copied, pack
from circuit_guard.journal.errors import CheckpointGone, JournalUnusable, StateDirectoryHeld
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader, Walk, read_bounds
from circuit_guard.journal.record import CheckpointContent, Entry, Kind, Start, entries_of
from circuit_guard.journal.retention import prune_all
from circuit_guard.journal.store import Store, connect, sqlite_errors
from circuit_guard.journal.writer import Appended, EntryQueue, Writer

LOCK_NAME = "lock"
_HOLDER_BYTES_MAX = 1000


@contextmanager
def locked(directory: Path, started_ns: int) -> Iterator[None]:
    """Hold the lock on a state directory while the context lasts; the end of the process releases it as well.

    Its file says who holds it: pid, host, start time. Without the lock that content is left over and means nothing.
    Raises StateDirectoryHeld with the holder; JournalUnusable where the directory cannot be used.
    """
    path = directory / LOCK_NAME
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        problem = f"cannot be locked ({error.strerror})"
        raise JournalUnusable(path, problem, "name a directory that the guard may write to") from None
    try:
        _lock(
            descriptor, path, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started_ns": started_ns})
        )
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path, holder: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
    except BlockingIOError:
        other = os.pread(descriptor, _HOLDER_BYTES_MAX, 0).decode(errors="replace") or "a process that is just starting"
        problem = f"another guard uses this state directory: {other}"
        remedy = "stop that process, or give each guard its own directory"
        raise StateDirectoryHeld(path.parent, problem, remedy) from None
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise JournalUnusable(path, problem, "free disk space, or name another directory") from None


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """How the journal is doing, for metrics and readiness."""

    last_sequence: int
    durable_sequence: int
    queued: int
    dropped: int
    """Decisions that were not recorded because the queue was full, since the start."""
    over_budget_bytes: int
    """By how much what must be kept exceeds `bytes_max`; 0 while it fits."""
    failure: str | None


class Journal:
    """The journal of a state directory, from construction until `close`.

    Opening an absent journal creates it. Raises StateDirectoryHeld where another process has the directory, and
    JournalUnusable where the file is damaged, of another program, of a newer schema, or cannot be written.
    `append` and `durable` are for the event loop: neither ever waits for the disk while it runs.
    """

    def __init__(self, directory: Path, started_ns: int, options: JournalOptions) -> None:
        self._directory = directory
        self._line = asyncio.Lock()
        self._in_line = 0
        path = directory / JOURNAL_NAME
        with ExitStack() as held:
            held.enter_context(locked(directory, started_ns))
            with sqlite_errors(path):
                store = _open(path)
                self._queue = EntryQueue(options, store.last_sequence)
                self._packer = ThreadPoolExecutor(1, thread_name_prefix="journal-packer")
                self._writer = Writer(path, store, self._queue, options)
            self._held = held.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def failure(self) -> str | None:
        """Why nothing more can be kept; None while all is well. It stays: only a restart helps."""
        return self._queue.failure

    def status(self) -> JournalStatus:
        """Return how the journal is doing."""
        queue = self._queue
        return JournalStatus(
            last_sequence=queue.last_sequence,
            durable_sequence=queue.durable_sequence,
            queued=len(queue),
            dropped=queue.dropped,
            over_budget_bytes=self._writer.over_budget_bytes,
            failure=queue.failure,
        )

    def append(self, entries: Iterable[Entry]) -> Appended:
        """Take entries to be written in this order, right after all before. Raise JournalFailed after a failure.

        Under overflow `drop` decisions are dropped while the queue is full; nothing else ever is.
        """
        return self._queue.append(entries)

    def start(self, start: Start) -> None:
        """Record that a process begins to write."""
        self.append((Entry(Kind.START, start.at_ns, "", start),))

    def policy(self, policy: Policy, at_ns: int) -> None:
        """Record a policy before the command that puts it into force."""
        self.append((Entry(Kind.POLICY, at_ns, "", policy),))

    def record(self, input_: Input | Check | OrdersCheck, facts: Sequence[Fact]) -> None:
        """Record an input, what it changed, and the decision it led to."""
        self.append(entries_of(input_, facts))

    async def durable(self, sequence: int | None = None) -> None:
        """Return once the record, or all there is, is on the disk. Raise JournalFailed where it may never get there."""
        await asyncio.wrap_future(self._queue.durable(self._queue.last_sequence if sequence is None else sequence))

    async def room(self) -> None:
        """Return once the queue is not full, to one after the other in the order of asking. Raise JournalFailed.

        Await it before an input is accepted, and append that before awaiting anything else. Under `drop` nobody waits.
        """
        if self._queue.has_room and not self._in_line:
            return
        self._in_line += 1
        try:
            async with self._line:
                while not self._queue.has_room:
                    await asyncio.wrap_future(self._queue.room())
        finally:
            self._in_line -= 1

    def begin_checkpoint(self, state: GuardState, policy: Policy, name: str = "") -> Future[Checkpoint]:
        """Take the state as it is now, and let another thread append a checkpoint of it, which the future then has.

        Whatever was stepped must be appended already. Where it cannot be made, the journal fails. A named checkpoint is
        kept as long as the audit chain, others are thinned out.
        """
        covers, at_ns = self._queue.last_sequence, state.now_ns
        return self._packer.submit(self._pack, CheckpointContent(copied(state), policy), covers, at_ns, name)

    async def checkpoint(self, state: GuardState, policy: Policy, name: str = "") -> Checkpoint:
        """Return a checkpoint of the state as it is now, once it is on the disk. Raise JournalFailed."""
        checkpoint = await asyncio.wrap_future(self.begin_checkpoint(state, policy, name))
        await self.durable(checkpoint.sequence)
        return checkpoint

    def recorded_checkpoint(self, sequence: int) -> Checkpoint | None:
        """Return the checkpoint of that sequence with its state, None where there is none. Waits for the disk.

        Raise CheckpointGone where retention has dropped the state, JournalUnusable where the file cannot be read.
        """
        with self.reader() as reader:
            checkpoint = reader.checkpoint(sequence)
        if checkpoint is not None and checkpoint.text is None:
            problem = "its state was dropped by retention, which keeps the last ten, then one per hour, and named ones"
            raise CheckpointGone(sequence, problem, "name another one, of about that time")
        return checkpoint

    def reader(self) -> JournalReader:
        """Return a reader of what is on the disk."""
        return JournalReader(self._directory)

    def close(self) -> None:
        """Write what is queued, close the file, and let another process have the directory. Waits for the disk."""
        self._packer.shutdown()
        self._writer.close()
        self._held.close()

    def _pack(self, taken: CheckpointContent, covers: int, at_ns: int, name: str) -> Checkpoint:
        try:
            packed = pack(taken, covers)
            appended = self._queue.append([Entry(Kind.CHECKPOINT, at_ns, name, packed)])
        except Exception as error:
            self._queue.fail(f"a checkpoint cannot be written: {error}")
            raise
        return Checkpoint(appended.last_sequence, at_ns, name, covers, packed.note.digest, None)


def prune(directory: Path, started_ns: int, now_ns: int, options: JournalOptions) -> int:
    """Drop what need not be kept at `now_ns`, give the space back, and return how many blocks went.

    The journal must not be in use: a guard prunes its own. Raise StateDirectoryHeld or JournalUnusable.
    """
    path = directory / JOURNAL_NAME
    with locked(directory, started_ns), sqlite_errors(path), closing(_open(path)) as store:
        return prune_all(store, options, now_ns)


def _open(path: Path) -> Store:
    """Return the store of a journal, once the latest records are proved."""
    connection = connect(path)
    try:
        for chain, bounds in read_bounds(connection, path).items():
            walk = Walk(connection, chain, path, bounds)
            for _ in walk.records(walk.block_end().sequence + 1):
                """Reading is proving."""
        return Store(connection)
    except BaseException:
        connection.close()
        raise
