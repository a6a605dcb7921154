"""What makes compressed blocks of older rows, in a process of its own: `compaction` starts it and says why.

It imports as little as it can: all of that is memory that the guard takes twice.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from circuit_guard.journal.block import pack, unpack
from circuit_guard.journal.errors import JournalFailed
from circuit_guard.journal.reader import Walk, read_bounds
from circuit_guard.journal.record import Chain, Record, chain_hashes
from circuit_guard.journal.store import BlockHead, connect_read_only

BLOCK_BYTES_MAX = 4 * 1024 * 1024
"""A block ends with the record that makes it longer: wherever it is made or read, it is in memory twenty times over."""
_NICE = 5
"""Less urgent than the guard, but still served where both share one processor."""
_OOM_SCORE_ADJ = "500"
"""Where memory runs out, the kernel takes this process before the guard: it is started again, and nothing is lost."""


class Block(NamedTuple):
    """A block, ready to be written."""

    head: BlockHead
    body: bytes
    row_bytes: int
    """How long the payloads are that it stands for."""


def build_block(path: Path, chain: Chain, count: int) -> Block:
    """Return the block of the oldest plain rows of a chain, proved and decoded again to see that nothing is lost.

    Raise JournalUnusable where the rows are not as they were written.
    """
    with closing(connect_read_only(path)) as connection:
        walk = Walk(connection, chain, path, read_bounds(connection, path)[chain])
        start = walk.block_end()
        records = list(_short(islice(walk.records(start.sequence + 1), count)))
    body = pack(records)
    if unpack(body) != records:
        first, last = records[0].sequence, records[-1].sequence
        raise JournalFailed(f"records {first} to {last} could not be compressed exactly; this is a defect")
    last_hash = chain_hashes(start.hash, records)[-1]
    ends = records[0].sequence, records[-1].sequence, max(record.at_ns for record in records)
    row_bytes = sum(len(record.payload) for record in records)
    return Block(BlockHead(chain, *ends, len(records), start.hash, last_hash), body, row_bytes)


def _short(records: Iterable[Record]) -> Iterator[Record]:
    """Return the first of the records, at least one, until their payloads are long enough for one block."""
    size = 0
    for record in records:
        yield record
        size += len(record.payload)
        if size >= BLOCK_BYTES_MAX:
            return


def main() -> None:
    """Build what is asked for over the connection until the other end is closed or gone, and for no other reason."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(OSError):  # a sandbox may forbid it
        os.nice(_NICE)
    with suppress(OSError):  # only Linux has it
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE_ADJ)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError), Connection(int(sys.argv[1])) as asker:
        while True:
            path, chain, count = asker.recv()
            try:
                answer: object = build_block(path, chain, count)
            except Exception as error:  # noqa: BLE001  # the other end has to know, whatever it is
                answer = error
            asker.send(answer)
