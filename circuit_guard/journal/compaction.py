"""Making blocks of plain rows, on a thread of its own: only the writer puts them into the file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from time import sleep
from typing import NamedTuple

from circuit_guard.journal.block import pack, unpack
from circuit_guard.journal.errors import JournalFailed
from circuit_guard.journal.record import Chain, chain_hashes
from circuit_guard.journal.schema import connect_read_only
from circuit_guard.journal.store import BlockHead
from circuit_guard.journal.walk import Walk, read_bounds

_BREATH_S = 0.0002


class Block(NamedTuple):
    """A block, ready to be written."""

    head: BlockHead
    body: bytes


def build_block(path: Path, chain: Chain, count: int, breathe: Callable[[], None] = lambda: None) -> Block:
    """Return the block of the oldest plain rows of a chain, proved and decoded again to see that nothing is lost.

    Raise JournalUnusable where the rows are not as they were written.
    """
    with closing(connect_read_only(path)) as connection:
        walk = Walk(connection, chain, path, read_bounds(connection, path)[chain])
        start = walk.block_end()
        records = list(islice(walk.records(start.sequence + 1), count))
    body = pack(records, breathe)
    if unpack(body, breathe) != records:
        first, last = records[0].sequence, records[-1].sequence
        raise JournalFailed(f"records {first} to {last} could not be compressed exactly; this is a defect")
    last_hash = chain_hashes(start.hash, records)[-1]
    ends = records[0].sequence, records[-1].sequence, max(record.at_ns for record in records)
    return Block(BlockHead(chain, *ends, len(records), start.hash, last_hash), body)


class Compactor:
    """Builds blocks one after the other as asked, and hands each to `deliver`; `fail` is told of an error."""

    def __init__(
        self, path: Path, count: int, deliver: Callable[[Block], None], fail: Callable[[Exception], None]
    ) -> None:
        self._path = path
        self._count = count
        self._deliver = deliver
        self._fail = fail
        self._asked: SimpleQueue[Chain | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal-compactor", daemon=True)
        self._thread.start()

    def ask(self, chain: Chain) -> None:
        """Ask for a block of the oldest rows of a chain."""
        self._asked.put(chain)

    def close(self) -> None:
        """Finish the block in hand and end."""
        self._asked.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (chain := self._asked.get()) is not None:
            try:
                block = build_block(self._path, chain, self._count, _let_others_run)
            except Exception as error:  # noqa: BLE001  # whatever it is, the journal says so and keeps nothing more
                self._fail(error)
                return
            self._deliver(block)


def _let_others_run() -> None:
    """Give the interpreter to whoever waits for it: the event loop answers checks meanwhile."""
    sleep(_BREATH_S)
