"""Making a block of plain rows: only the writer puts it into the file."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from circuit_guard.journal.block import pack, unpack
from circuit_guard.journal.errors import JournalFailed
from circuit_guard.journal.record import Chain, chain_hashes
from circuit_guard.journal.schema import connect_read_only
from circuit_guard.journal.store import BlockHead
from circuit_guard.journal.walk import Walk, read_bounds


class Block(NamedTuple):
    """A block, ready to be written."""

    head: BlockHead
    body: bytes


def build_block(path: Path, chain: Chain, count: int) -> Block:
    """Return the block of the oldest plain rows of a chain, proved and decoded again to see that nothing is lost.

    Raise JournalUnusable where the rows are not as they were written.
    """
    with closing(connect_read_only(path)) as connection:
        walk = Walk(connection, chain, path, read_bounds(connection, path)[chain])
        start = walk.block_end()
        records = list(islice(walk.records(start.sequence + 1), count))
    body = pack(records)
    if unpack(body) != records:
        first, last = records[0].sequence, records[-1].sequence
        raise JournalFailed(f"records {first} to {last} could not be compressed exactly; this is a defect")
    last_hash = chain_hashes(start.hash, records)[-1]
    ends = records[0].sequence, records[-1].sequence, max(record.at_ns for record in records)
    return Block(BlockHead(chain, *ends, len(records), start.hash, last_hash), body)
