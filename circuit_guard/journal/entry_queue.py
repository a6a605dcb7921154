"""What waits for the disk: entries in order, and those who wait until one is durable or until there is room.

Filled by the event loop, emptied by the writer; no lock is ever held while either does anything that takes long.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from time import monotonic_ns
from typing import NamedTuple

from circuit_guard.core.types import SECOND_NS
from circuit_guard.journal.errors import JournalFailed
from circuit_guard.journal.options import JournalOptions, Overflow
from circuit_guard.journal.record import DecisionsDropped, Entry, Kind, dropped_entry

BATCH_MAX = 4096
"""So many records at most are committed together: a longer batch would keep the first of it waiting."""
FULL_TIMES_MAX = 4


class Appended(NamedTuple):
    """What became of appended entries: the sequence of the last that was taken, and how many decisions were dropped."""

    last_sequence: int
    dropped: int


class EntryQueue:
    """The queue between the event loop and the writer. Its methods may be called from any thread."""

    def __init__(self, options: JournalOptions, last_sequence: int) -> None:
        self._options = options
        self._changed = threading.Condition()
        self._entries: deque[tuple[int, Entry]] = deque()
        self._oldest_ns = 0
        self._last = self._durable = last_sequence
        self._awaited = 0
        self._waiting: list[tuple[int, Future[None]]] = []
        self._room: list[Future[None]] = []
        self._failure: str | None = None
        self._closing = self._woken = False
        self._dropped = self._noted = 0
        self._dropped_ns = 0

    @property
    def last_sequence(self) -> int:
        """The sequence of the last entry that was taken."""
        return self._last

    @property
    def durable_sequence(self) -> int:
        """The sequence up to which everything is on the disk."""
        return self._durable

    @property
    def failure(self) -> str | None:
        """Why nothing more can be kept; None while all is well."""
        return self._failure

    @property
    def dropped(self) -> int:
        """How many decisions were dropped because the queue was full."""
        return self._dropped

    @property
    def has_room(self) -> bool:
        """Whether another input may be taken: under overflow `drop` while the queue is full as well."""
        return self._failure is None and (not self._full or self._options.overflow is Overflow.DROP)

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entries: Iterable[Entry]) -> Appended:
        """Take entries, all but the decisions that `overflow` says to drop. Raise JournalFailed after a failure.

        Once there is room again, a note of how many were dropped goes before them.
        """
        dropped = 0
        with self._changed:
            self._raise_failure()
            if len(self._entries) >= self._options.queue_max * FULL_TIMES_MAX:
                self._fail(f"the disk does not keep up: {len(self._entries)} records wait for it")
                self._raise_failure()
            was_empty = not self._entries
            for entry in entries:
                if entry.kind is Kind.DECISION and self._full and self._options.overflow is Overflow.DROP:
                    dropped += 1
                    self._dropped_ns = entry.at_ns
                    continue
                if not self._full:
                    self._note_dropped()
                self._put(entry)
            self._dropped += dropped
            if was_empty and self._entries:
                self._oldest_ns = monotonic_ns()
                self._changed.notify()
            return Appended(self._last, dropped)

    def durable(self, sequence: int) -> Future[None]:
        """Return what is done once the record is on the disk, or has JournalFailed. The writer then does not linger."""
        future: Future[None] = Future()
        with self._changed:
            if sequence <= self._durable:
                future.set_result(None)
            elif self._failure is not None:
                future.set_exception(JournalFailed(self._failure))
            elif sequence > self._last:
                future.set_exception(ValueError(f"sequence was {sequence}, expected at most {self._last}"))
            else:
                self._waiting.append((sequence, future))
                self._awaited = max(self._awaited, sequence)
                self._changed.notify()
        return future

    def room(self) -> Future[None]:
        """Return what is done once the queue is not full, or has JournalFailed."""
        future: Future[None] = Future()
        with self._changed:
            if self._failure is not None:
                future.set_exception(JournalFailed(self._failure))
            elif not self._full:
                future.set_result(None)
            else:
                self._room.append(future)
        return future

    def take(self) -> list[tuple[int, Entry]] | None:
        """Wait for work; return the entries to commit together, maybe none. None once closed and empty, or failed."""
        with self._changed:
            self._changed.wait_for(lambda: self._entries or self._done)
            if self._failure is not None or (not self._entries and self._closing):
                return None
            if self._entries:
                left_ns = self._oldest_ns + self._options.commit_within_ns - monotonic_ns()
                self._changed.wait_for(lambda: self._urgent, timeout=max(left_ns, 0) / SECOND_NS)
            self._woken = False
            if self._failure is not None:
                return None
            batch = [self._entries.popleft() for _ in range(min(len(self._entries), BATCH_MAX))]
            self._oldest_ns = 0  # whatever is left has waited long enough
            if not self._full:
                _settle(self._room)
                self._room = []
            return batch

    def wake(self) -> None:
        """Let `take` return even without entries: the writer has something else to do."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def committed(self, sequence: int) -> None:
        """Take note that everything up to this sequence is on the disk."""
        with self._changed:
            self._durable = sequence
            ready = [future for awaited, future in self._waiting if awaited <= sequence]
            self._waiting = [waiter for waiter in self._waiting if waiter[0] > sequence]
        _settle(ready)

    def close(self) -> None:
        """Let the writer commit what there is, and end."""
        with self._changed:
            if self._failure is None:
                self._note_dropped()
            self._closing = True
            self._changed.notify()

    def fail(self, reason: str) -> None:
        """Refuse everything from now on, and tell all who wait. Only the first reason counts."""
        with self._changed:
            self._fail(reason)

    def _note_dropped(self) -> None:
        if self._dropped > self._noted:
            self._put(dropped_entry(DecisionsDropped(self._dropped_ns, self._dropped - self._noted)))
            self._noted = self._dropped

    def _put(self, entry: Entry) -> None:
        self._last += 1
        self._entries.append((self._last, entry))

    @property
    def _full(self) -> bool:
        return len(self._entries) >= self._options.queue_max

    @property
    def _done(self) -> bool:
        return self._closing or self._woken or self._failure is not None

    @property
    def _urgent(self) -> bool:
        """Whether to commit now: somebody waits for a record that is queued, or a batch is full."""
        return self._done or self._awaited > self._durable or len(self._entries) >= BATCH_MAX

    def _fail(self, reason: str) -> None:
        if self._failure is None:
            self._failure = reason
        waiting = [*(future for _, future in self._waiting), *self._room]
        self._waiting, self._room = [], []
        self._entries.clear()
        self._changed.notify()
        _settle(waiting, self._failure)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise JournalFailed(self._failure)
        if self._closing:
            raise JournalFailed("the journal is closed")


def _settle(futures: Iterable[Future[None]], failure: str | None = None) -> None:
    """Tell all who still wait."""
    for future in futures:
        if future.set_running_or_notify_cancel():
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(JournalFailed(failure))
