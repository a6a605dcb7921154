"""The one thread that writes: it commits what is queued, puts finished blocks into place, and prunes."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter, deque
from pathlib import Path

from circuit_guard.journal.codec import encode
from circuit_guard.journal.compaction import Block
from circuit_guard.journal.compactor import Compactor
from circuit_guard.journal.entry_queue import EntryQueue
from circuit_guard.journal.errors import JournalError
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.record import Chain, Entry, PackedCheckpoint, Record, chain_of
from circuit_guard.journal.retention import over_budget_bytes, prune_step
from circuit_guard.journal.schema import unusable
from circuit_guard.journal.store import Store

_SWEEP_ROWS = 500
"""So few rows are deleted at a time that no commit waits for long."""


class Writer:
    """Writes the entries of a queue to a store until the queue is closed or anything fails."""

    def __init__(self, path: Path, store: Store, queue: EntryQueue, options: JournalOptions) -> None:
        self._path = path
        self._store = store
        self._queue = queue
        self._options = options
        self._rows = Counter({chain: store.count_rows(chain) for chain in Chain})
        self._asked: set[Chain] = set()
        self._sweeping = set(Chain)  # a crash may have left rows behind
        self._prune_due = False
        self._blocks: deque[Block] = deque()
        self._newest_ns = 0
        self._over_budget = over_budget_bytes(store, options)
        self._compactor = Compactor(path, options.block_records, self._deliver, self._failed)
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    @property
    def over_budget_bytes(self) -> int:
        """By how much what must be kept exceeds `bytes_max`, as of the last block."""
        return self._over_budget

    def close(self) -> None:
        """Commit what is queued, and end both threads."""
        self._queue.close()
        self._thread.join()
        self._compactor.close()
        self._store.close()

    def _run(self) -> None:
        try:
            self._queue.wake()
            while (batch := self._queue.take()) is not None:
                if batch:
                    self._commit(batch)
                self._tend()
        except Exception as error:  # noqa: BLE001  # whatever it is, the journal says so and keeps nothing more
            self._failed(error)

    def _commit(self, batch: list[tuple[int, Entry]]) -> None:
        records = [_encoded(sequence, entry) for sequence, entry in batch]
        self._store.insert(records)
        self._queue.committed(batch[-1][0])
        self._rows.update(chain_of(entry.kind) for _, entry in batch)
        self._newest_ns = max(self._newest_ns, batch[-1][1].at_ns)

    def _tend(self) -> None:
        """Do one small piece of the work that is not urgent, and come back for the next."""
        if self._blocks:
            block = self._blocks.popleft()
            self._store.insert_block(block.head, block.body)
            self._sweeping.add(block.head.chain)
            self._prune_due = True
        elif self._sweeping:
            self._sweep(next(iter(self._sweeping)))
        elif self._prune_due:
            self._prune_due = prune_step(self._store, self._options, self._newest_ns)
            self._over_budget = over_budget_bytes(self._store, self._options)
        else:
            self._ask_for_blocks()
            return
        self._queue.wake()

    def _sweep(self, chain: Chain) -> None:
        swept = self._store.sweep(chain, _SWEEP_ROWS)
        self._rows[chain] -= swept
        if swept < _SWEEP_ROWS:
            self._sweeping.discard(chain)
            self._asked.discard(chain)

    def _ask_for_blocks(self) -> None:
        for chain, rows in self._rows.items():
            if rows >= self._options.block_records and chain not in self._asked:
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


def _encoded(sequence: int, entry: Entry) -> tuple[Record, PackedCheckpoint | None]:
    """Return an entry as a record and, of a checkpoint, the state."""
    packed = entry.value if isinstance(entry.value, PackedCheckpoint) else None
    payload = encode(entry.value if packed is None else packed.note)
    return Record(sequence, entry.kind, entry.at_ns, entry.scope, payload), packed
