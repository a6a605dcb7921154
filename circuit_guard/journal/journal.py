"""The journal in use: opened once by the process that holds the state directory, appended to by the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from sqlite3 import Connection
from time import monotonic
from typing import Self
from uuid import uuid4

from circuit_guard.core.facts import Fact
from circuit_guard.core.inputs import Check, Input, Observation, OrdersCheck, Reference
from circuit_guard.core.policy import Policy
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import AllowedCheck
from circuit_guard.journal.anchor import ADOPT, ANCHOR_NAME, Anchor, read_anchor
from circuit_guard.journal.checkpoint import Checkpoint, Snapshot, pack
from circuit_guard.journal.codec import encode
from circuit_guard.journal.errors import CheckpointGone, JournalStalled, JournalUnusable
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.permissions import refuse_writable
from circuit_guard.journal.place import STATE_NAMES, Place, held, known_journal
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader, Walk, read_bounds, without_anchor
from circuit_guard.journal.record import (
    Chain,
    CheckpointContent,
    Entry,
    JournalAdopted,
    Kind,
    Record,
    Start,
    allowed_entry,
    entries_of,
    fact_entries,
    taken_entries,
)
from circuit_guard.journal.retention import prune_all
from circuit_guard.journal.store import Store, connect, sqlite_errors
from circuit_guard.journal.writer import Appended, EntryQueue, Writer

COPIED_AT_ONCE = 10
"""Markets that a checkpoint copies before others get their turn: 1 ms."""


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
    unwritten_ns: int
    """How long the oldest record that is not on the disk has waited; 0 where none waits."""
    taken_bytes: int
    """About how much memory the records since the start have taken while they waited."""
    taken_items: int
    """How many records were taken since the start, each of the market data in one record counted by itself."""


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
        self._snapshot: Snapshot | None = None
        """What the checkpoint in the making copies."""
        path = directory / JOURNAL_NAME
        with ExitStack() as entered:
            place = entered.enter_context(held(directory, started_ns))
            with sqlite_errors(path):
                store = _open(directory, place)
                self._queue = EntryQueue(options, store.last_sequence)
                self._packer = ThreadPoolExecutor(1, thread_name_prefix="journal-packer")
                self._writer = Writer(path, store, place, self._queue, options)
            self._held = entered.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def failure(self) -> str | None:
        """Why nothing more can be kept; None while all is well. It stays: only a restart helps."""
        return self._queue.failure

    @property
    def copying(self) -> bool:
        """Whether a checkpoint is copying the state, a few markets at a time."""
        return self._snapshot is not None

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
            unwritten_ns=queue.unwritten_ns,
            taken_bytes=queue.taken_bytes,
            taken_items=queue.taken_items,
        )

    def stalled(self) -> str | None:
        """Return what is wrong while records wait for the disk for too long; it may pass by itself."""
        return self._queue.stalled()

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

    def taken(self, items: Sequence[Observation] | Sequence[Reference], facts: Sequence[Fact]) -> None:
        """Record market data that came together, and what it changed."""
        self.append((*taken_entries(items), *fact_entries(facts)))

    def allowed(self, checks: Sequence[AllowedCheck]) -> None:
        """Record checks that permits allowed one right after the other."""
        self.append((allowed_entry(checks),))

    @property
    def has_room(self) -> bool:
        """Whether another input may be taken at once; what stalls or has failed has none."""
        return self._queue.has_room and self._queue.stalled() is None

    async def durable(self, sequence: int | None = None) -> None:
        """Return once the record, or all there is, is on the disk. Raise JournalFailed where it may never get there."""
        await asyncio.wrap_future(self._queue.durable(self._queue.last_sequence if sequence is None else sequence))

    async def room(self) -> None:
        """Return once the queue is not full, to one after the other in the order of asking.

        Raise JournalFailed, and JournalStalled while records have waited for the disk for too long.

        Await it before an input is accepted, and append that before awaiting anything else. Under `drop` nobody waits.
        """
        if (stalled := self._queue.stalled()) is not None:
            raise JournalStalled(stalled)
        if self._queue.has_room and not self._in_line:
            return
        self._in_line += 1
        try:
            async with self._line:
                while not self._queue.has_room:
                    await asyncio.wrap_future(self._queue.room())
        finally:
            self._in_line -= 1

    async def checkpoint(self, state: GuardState, policy: Policy, name: str = "") -> Checkpoint:
        """Return a checkpoint of the state as it is now, once it is on the disk. Raise JournalFailed.

        Whatever was stepped must be appended already. Inputs go on meanwhile; another thread makes the text of it. If
        it cannot be made, the journal fails. A named checkpoint is kept as long as the audit chain, others are thinned
        out.
        """
        if self._snapshot is not None:
            self._snapshot.whole()
            self._snapshot.close()  # or it would miss what is taken out for this one
        covers, at_ns = self._queue.last_sequence, state.now_ns
        snapshot = self._snapshot = Snapshot(state)
        try:
            while snapshot.copy_some(COPIED_AT_ONCE):  # noqa: ASYNC110  # it waits for nothing
                await asyncio.sleep(0)
            taken = snapshot.whole()
        finally:
            snapshot.close()
            if self._snapshot is snapshot:
                self._snapshot = None
        packing = self._packer.submit(self._pack, CheckpointContent(taken, policy), covers, at_ns, name)
        checkpoint = await asyncio.wrap_future(packing)
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

    def close(self, within_s: float | None = None) -> bool:
        """Write what is queued, close the file, and let another process have the directory. Waits for the disk.

        Return whether that is done. Where it is not within a time, the directory stays this process's until it ends.
        """
        deadline_s = None if within_s is None else monotonic() + within_s
        self._packer.shutdown(wait=within_s is None)
        if not self._writer.close(deadline_s):
            return False
        self._held.close()
        return True

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
    with held(directory, started_ns) as place, sqlite_errors(path), closing(_open(directory, place)) as store:
        return prune_all(store, options, now_ns)


def adopt(
    directory: Path, started_ns: int, adopted: JournalAdopted, *, seconded: Callable[[Policy | None], str]
) -> None:
    """Take the journal of a directory for what it is, though its end or all of it is missing, and record who did.

    `seconded` gets the policy that was in force, None where nothing is known, and raises where it wants a second actor.
    What is not as it was written is not adopted. Raise StateDirectoryHeld or JournalUnusable.
    """
    path = directory / JOURNAL_NAME
    with held(directory, started_ns) as place, sqlite_errors(path), ExitStack() as opened:
        place.lock_journal()
        refuse_writable(directory, *STATE_NAMES)
        connection = opened.enter_context(closing(connect(path)))
        place.lock_journal()
        _prove(connection, path)
        with JournalReader(directory) as reader:
            last = reader.last_checkpoint()
        adopted = replace(adopted, seconded_by=seconded(None if last is None else last.content().policy))
        store = Store(connection)
        record = Record(store.last_sequence + 1, Kind.FACT, adopted.at_ns, "", encode(adopted))
        store.insert([(record, None)])
        if not store.identity():
            store.become(uuid4().hex)
        (directory / ANCHOR_NAME).unlink(missing_ok=True)
        place.hold(store.identity(), store.ends)


def missing(directory: Path) -> str:
    """Return what a directory's anchor and lock file say that its journal lacks; empty where it is whole.

    Raise JournalUnusable where it cannot be read, and where what there is is not as it was written.
    """
    try:
        with JournalReader(directory) as reader:
            known = known_journal(directory)
            other = f"the journal that this directory held, {known}" if known not in ("", reader.identity()) else ""
            return reader.missing() or other
    except JournalUnusable:
        if (directory / JOURNAL_NAME).exists():
            raise
        return "the journal itself"


def _prove(connection: Connection, path: Path) -> dict[Chain, int]:
    """Raise RecordBroken where one of the latest records, those not in a block, is not as it was written.

    Return how long their payloads are, by chain.
    """
    proved = dict.fromkeys(Chain, 0)
    for chain, bounds in read_bounds(connection, path).items():
        walk = Walk(connection, chain, path, bounds)
        for record in walk.records(walk.block_end().sequence + 1):  # reading is proving
            proved[chain] += len(record.payload)
    return proved


def _open(directory: Path, place: Place) -> Store:
    """Return the store of a journal, once the latest records and the anchor are proved; an absent one is created."""
    path, anchor = directory / JOURNAL_NAME, read_anchor(directory)
    if not path.exists() and (anchor is not None or place.known_journal):
        known = f" of {max(end.sequence for end in anchor.ends.values())} records" if anchor is not None else ""
        raise JournalUnusable(path, f"the journal{known} that this directory held is gone", ADOPT)
    place.lock_journal()
    refuse_writable(directory, *STATE_NAMES)
    connection = connect(path)
    try:
        place.lock_journal()
        store = Store(connection, _prove(connection, path))
        _require_whole(store, anchor, place, path)
        _require_end(connection, anchor, path)
        if not store.identity():
            store.become(uuid4().hex)
        place.hold(store.identity(), store.ends)
    except BaseException:
        connection.close()
        raise
    return store


def _require_end(connection: Connection, anchor: Anchor | None, path: Path) -> None:
    if problem := without_anchor(connection, path, anchor):
        raise JournalUnusable(path, problem, ADOPT)


def _require_whole(store: Store, anchor: Anchor | None, place: Place, path: Path) -> None:
    """Refuse a journal that is not the one whose anchor or lock file lies beside it."""
    identity = store.identity()
    if identity and anchor is None:
        problem = f"the file {ANCHOR_NAME} beside it is gone, so nothing says whether its end is there"
        raise JournalUnusable(path, problem, ADOPT)
    known = place.known_journal if anchor is None else anchor.journal
    if known and known != identity:
        raise JournalUnusable(path, f"it is not the journal that this directory held, {known}", ADOPT)
