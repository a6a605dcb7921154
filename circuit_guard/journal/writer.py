"""What waits for the disk, and the one thread that writes it.

The queue holds entries in order, and those who wait until one is durable or until there is room. The event loop fills
it, the writer empties it; no lock is ever held while either does anything that takes long. The writer commits what is
queued, puts finished blocks into place, and prunes.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter, deque
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import NamedTuple

from circuit_guard.core.types import SECOND_NS
from circuit_guard.journal.codec import encode
from circuit_guard.journal.compaction import Compactor
from circuit_guard.journal.errors import JournalError, JournalFailed, RecordBroken
from circuit_guard.journal.options import MIB, JournalOptions, Overflow
from circuit_guard.journal.packing import Block
from circuit_guard.journal.place import Place
from circuit_guard.journal.record import (
    Chain,
    ChecksAllowed,
    DecisionsDropped,
    Entry,
    Kind,
    PackedCheckpoint,
    Record,
    chain_of,
    estimated_bytes,
    items_in,
)
from circuit_guard.journal.retention import over_budget_bytes, prune_step
from circuit_guard.journal.store import Store, unusable

BATCH_MAX = 4096
"""The most records committed together: a longer batch would keep its first record waiting."""
BATCH_BYTES_MAX = 4 * MIB
"""And what they may take: all of them are text at the same time."""
FULL_TIMES_MAX = 4
IDLE_S = 1.0
"""How often the writer looks whether the journal is still the file that was opened, where nothing is to be written."""


class Appended(NamedTuple):
    """What became of appended entries: the sequence of the last that was taken, and how many decisions were dropped."""

    last_sequence: int
    dropped: int


class EntryQueue:
    """The queue between the event loop and the writer. Its methods may be called from any thread.

    `last_sequence` is that of the last entry taken, `durable_sequence` that up to which everything is on the disk;
    `dropped` counts the decisions lost because the queue was full; `failure` says why nothing more can be kept.
    """

    def __init__(self, options: JournalOptions, last_sequence: int) -> None:
        self._options = options
        self._changed = threading.Condition()
        self._entries: deque[tuple[int, Entry, int]] = deque()
        self._bytes = self.taken_bytes = self.taken_items = 0
        self._oldest_ns = 0
        self._unwritten_since_ns: int | None = None
        """Since when a record is not on the disk: the oldest one's append, or the commit before it."""
        self.last_sequence = self.durable_sequence = last_sequence
        self._awaited = 0
        self._waiting: list[tuple[int, Future[None]]] = []
        self._room: list[Future[None]] = []
        self.failure: str | None = None
        self._closing = self._woken = False
        self.dropped = self._noted = 0
        self._dropped_ns = 0

    @property
    def has_room(self) -> bool:
        """Whether another input may be taken: under overflow `drop` while the queue is full as well."""
        return self.failure is None and (not self._full or self._options.overflow is Overflow.DROP)

    @property
    def unwritten_ns(self) -> int:
        """How long the oldest record that is not on the disk has waited; 0 where none waits."""
        since_ns = self._unwritten_since_ns
        return 0 if since_ns is None else monotonic_ns() - since_ns

    def stalled(self) -> str | None:
        """Return what is wrong while records have waited for the disk for too long."""
        most_ns = self._options.unwritten_max_ns
        if most_ns is None or (waited_ns := self.unwritten_ns) <= most_ns:
            return None
        waited_s, most_s = waited_ns / SECOND_NS, most_ns / SECOND_NS
        return f"the journal's disk has not written a record for {waited_s:.1f} s, expected at most {most_s:g} s"

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entries: Iterable[Entry]) -> Appended:
        """Take entries, all but the decisions that `overflow` says to drop. Raise JournalFailed after a failure.

        Once there is room again, a note of how many were dropped goes before them.
        """
        dropped = 0
        with self._changed:
            self._raise_failure()
            if self._filled(FULL_TIMES_MAX):
                self._fail(f"the disk does not keep up: {len(self._entries)} records wait for it")
                self._raise_failure()
            was_empty = not self._entries
            drops = self._options.overflow is Overflow.DROP
            for entry in entries:
                if not drops:
                    self._put(entry)
                    continue
                if _droppable(entry) and self._full:
                    dropped += 1
                    self._dropped_ns = entry.at_ns
                    continue
                if not self._full:
                    self._note_dropped()
                self._put(entry)
            self.dropped += dropped
            if self._entries and self._unwritten_since_ns is None:
                self._unwritten_since_ns = monotonic_ns()
            if was_empty and self._entries:
                self._oldest_ns = monotonic_ns()
                self._changed.notify()
            return Appended(self.last_sequence, dropped)

    def durable(self, sequence: int) -> Future[None]:
        """Return a future that completes when the record is on the disk, or raises JournalFailed.

        The writer commits at once for it.
        """
        future: Future[None] = Future()
        with self._changed:
            if sequence <= self.durable_sequence:
                future.set_result(None)
            elif self.failure is not None:
                future.set_exception(JournalFailed(self.failure))
            elif sequence > self.last_sequence:
                future.set_exception(ValueError(f"sequence was {sequence}, expected at most {self.last_sequence}"))
            else:
                self._waiting.append((sequence, future))
                self._awaited = max(self._awaited, sequence)
                self._changed.notify()
        return future

    def room(self) -> Future[None]:
        """Return a future that completes when the queue is not full, or raises JournalFailed."""
        future: Future[None] = Future()
        with self._changed:
            if self.failure is not None:
                future.set_exception(JournalFailed(self.failure))
            elif not self._full:
                future.set_result(None)
            else:
                self._room.append(future)
        return future

    def take(self) -> list[tuple[int, Entry]] | None:
        """Wait for work, a second at most; return the entries to commit together, maybe none. None once closed and
        empty, or failed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._entries or self._done, timeout=IDLE_S)
            if not self._entries and not self._done:
                return []
            if self.failure is not None or (not self._entries and self._closing):
                return None
            if self._entries:
                left_ns = self._oldest_ns + self._options.commit_within_ns - monotonic_ns()
                self._changed.wait_for(lambda: self._urgent, timeout=max(left_ns, 0) / SECOND_NS)
            self._woken = False
            if self.failure is not None:
                return None
            batch = self._batch()
            self._oldest_ns = 0  # whatever is left has waited long enough
            if not self._full:
                _settle(self._room)
                self._room = []
            return batch

    def _batch(self) -> list[tuple[int, Entry]]:
        batch: list[tuple[int, Entry]] = []
        size = 0
        while self._entries and len(batch) < BATCH_MAX and size < BATCH_BYTES_MAX:
            sequence, entry, entry_bytes = self._entries.popleft()
            batch.append((sequence, entry))
            size += entry_bytes
        self._bytes -= size
        return batch

    def wake(self) -> None:
        """Let `take` return even without entries: the writer has something else to do."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def committed(self, sequence: int) -> None:
        """Take note that everything up to this sequence is on the disk."""
        with self._changed:
            self.durable_sequence = sequence
            self._unwritten_since_ns = monotonic_ns() if sequence < self.last_sequence else None
            ready = [future for awaited, future in self._waiting if awaited <= sequence]
            self._waiting = [waiter for waiter in self._waiting if waiter[0] > sequence]
        _settle(ready)

    def close(self) -> None:
        """Let the writer commit what there is, and end."""
        with self._changed:
            if self.failure is None:
                self._note_dropped()
            self._closing = True
            self._changed.notify()

    def fail(self, reason: str) -> None:
        """Refuse everything from now on, and tell all who wait. Only the first reason counts."""
        with self._changed:
            self._fail(reason)

    def _note_dropped(self) -> None:
        if self.dropped > self._noted:
            dropped = DecisionsDropped(self._dropped_ns, self.dropped - self._noted)
            self._put(Entry(Kind.FACT, dropped.at_ns, "", dropped))  # a FACT: older versions can pass over it
            self._noted = self.dropped

    def _put(self, entry: Entry) -> None:
        self.last_sequence += 1
        size = estimated_bytes(entry)
        self._entries.append((self.last_sequence, entry, size))
        self._bytes += size
        self.taken_bytes += size
        self.taken_items += items_in(entry)

    @property
    def _full(self) -> bool:
        return self._filled(1)

    def _filled(self, times: int) -> bool:
        options = self._options
        return len(self._entries) >= options.queue_max * times or self._bytes >= options.queue_bytes_max * times

    @property
    def _done(self) -> bool:
        return self._closing or self._woken or self.failure is not None

    @property
    def _urgent(self) -> bool:
        """Whether to commit now: a caller waits for a queued record, or a batch is full."""
        return self._done or self._awaited > self.durable_sequence or len(self._entries) >= BATCH_MAX

    def _fail(self, reason: str) -> None:
        if self.failure is None:
            self.failure = reason
        waiting = [*(future for _, future in self._waiting), *self._room]
        self._waiting, self._room = [], []
        self._entries.clear()
        self._bytes = 0
        self._changed.notify()
        _settle(waiting, self.failure)

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise JournalFailed(self.failure)
        if self._closing:
            raise JournalFailed("the journal is closed")


def _droppable(entry: Entry) -> bool:
    return entry.kind is Kind.DECISION and not isinstance(entry.value, ChecksAllowed)


def _settle(futures: Iterable[Future[None]], failure: str | None = None) -> None:
    for future in futures:
        if future.set_running_or_notify_cancel():
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(JournalFailed(failure))


_SWEEP_ROWS = 500
_SWEEP_BYTES = 4 * MIB
"""Rows deleted at a time, and how long they may be; few, so that no commit waits for long."""


class Writer:
    """Writes the entries of a queue to a store until the queue is closed or anything fails.

    `over_budget_bytes`: by how much what must be kept exceeds `bytes_max`, as of the last block.
    """

    def __init__(self, path: Path, store: Store, place: Place, queue: EntryQueue, options: JournalOptions) -> None:
        self._path = path
        self._store = store
        self._place = place
        self._queue = queue
        self._options = options
        self._rows = Counter({chain: store.count_rows(chain) for chain in Chain})
        self._row_bytes = Counter(store.row_bytes)
        self._swept_at_once = dict.fromkeys(Chain, _SWEEP_ROWS)
        self._asked: set[Chain] = set()
        self._sweeping = set(Chain)  # a crash may have left rows behind
        self._prune_due = False
        self._blocks: deque[Block] = deque()
        self._newest_ns = 0
        self.over_budget_bytes = over_budget_bytes(store, options)
        self._compactor = Compactor(path, options.block_records, self._deliver, self._failed)
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    def close(self, deadline_s: float | None = None) -> bool:
        """Commit what is queued, and end both threads; return whether they ended by `deadline_s` of monotonic time."""
        self._queue.close()
        self._compactor.end()
        for thread in (self._thread, self._compactor.thread):
            thread.join(None if deadline_s is None else max(deadline_s - monotonic(), 0))
        if self._thread.is_alive():
            return False
        self._store.close()
        return True

    def _run(self) -> None:
        try:
            self._queue.wake()
            while (batch := self._queue.take()) is not None:
                if batch:
                    self._commit(batch)
                else:
                    self._place.check()
                self._tend()
        except Exception as error:  # noqa: BLE001  # whatever it is, the journal says so and keeps nothing more
            self._failed(error)

    def _commit(self, batch: list[tuple[int, Entry]]) -> None:
        records = [_encoded(sequence, entry) for sequence, entry in batch]
        self._store.insert(records)
        self._place.anchor(self._store.ends)
        self._place.check()  # last: what was written elsewhere is not promised
        self._queue.committed(batch[-1][0])
        self._rows.update(chain_of(entry.kind) for _, entry in batch)
        for record, _ in records:
            self._row_bytes[chain_of(record.kind)] += len(record.payload)
        self._newest_ns = max(self._newest_ns, batch[-1][1].at_ns)

    def _tend(self) -> None:
        """Do one small piece of the work that is not urgent, and come back for the next."""
        if self._blocks:
            block = self._blocks.popleft()
            self._place.check()
            if not self._store.matches(block.head):
                head = block.head
                what = f"is in a block of {head.first_sequence} to {head.last_sequence} that is not of these records"
                raise RecordBroken(self._path, head.first_sequence, what)
            self._store.insert_block(block.head, block.body)
            self._row_bytes[block.head.chain] -= block.row_bytes
            self._swept_at_once[block.head.chain] = _swept_at_once(block)
            self._sweeping.add(block.head.chain)
            self._prune_due = True
        elif self._sweeping:
            self._sweep(next(iter(self._sweeping)))
        elif self._prune_due:
            self._prune_due = prune_step(self._store, self._options, self._newest_ns)
            self.over_budget_bytes = over_budget_bytes(self._store, self._options)
        else:
            self._ask_for_blocks()
            return
        self._queue.wake()

    def _sweep(self, chain: Chain) -> None:
        most = self._swept_at_once[chain]
        swept = self._store.sweep(chain, most)
        self._rows[chain] -= swept
        if swept < most:
            self._sweeping.discard(chain)
            self._asked.discard(chain)

    def _ask_for_blocks(self) -> None:
        for chain, rows in self._rows.items():
            long = self._row_bytes[chain] >= self._options.rows_bytes_max
            if (long or rows >= self._options.block_records) and chain not in self._asked:
                self._asked.add(chain)
                self._compactor.ask(chain)

    def _deliver(self, block: Block) -> None:
        self._blocks.append(block)
        self._queue.wake()

    def _failed(self, error: Exception) -> None:
        match error:
            case sqlite3.Error() | UnicodeDecodeError():
                self._queue.fail(str(unusable(self._path, error)))
            case JournalError():
                self._queue.fail(str(error))
            case _:
                self._queue.fail(f"{self._path}: the writer stopped on {type(error).__name__}: {error}")


def _swept_at_once(block: Block) -> int:
    """Return how many rows of a block are deleted at a time."""
    return max(1, min(_SWEEP_ROWS, _SWEEP_BYTES * block.head.records // max(block.row_bytes, 1)))


def _encoded(sequence: int, entry: Entry) -> tuple[Record, PackedCheckpoint | None]:
    """Return an entry as a record and, of a checkpoint, the state."""
    packed = entry.value if isinstance(entry.value, PackedCheckpoint) else None
    payload = encode(entry.value if packed is None else packed.note)
    return Record(sequence, entry.kind, entry.at_ns, entry.scope, payload), packed
