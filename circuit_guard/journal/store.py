"""The journal's tables, in the hands of the one thread that writes them. Every method is one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import NamedTuple

from circuit_guard.journal.record import Chain, PackedCheckpoint, Record, chain_of, hash_after


class End(NamedTuple):
    """A place in a chain: the last record before it, and its hash."""

    sequence: int
    hash: bytes


class BlockHead(NamedTuple):
    """A block without its content."""

    chain: Chain
    first_sequence: int
    last_sequence: int
    last_at_ns: int
    records: int
    previous_hash: bytes
    last_hash: bytes


class CheckpointHead(NamedTuple):
    """A checkpoint without its state."""

    sequence: int
    at_ns: int
    name: str
    covers: int


class Store:
    """Writes records, blocks and prunings. Raises sqlite3.Error where the disk or the file does not allow it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        rows = connection.execute("SELECT chain, last_sequence, last_hash FROM chain")
        self._ends = {Chain(chain): End(sequence, last_hash) for chain, sequence, last_hash in rows}

    @property
    def last_sequence(self) -> int:
        """The sequence of the last record, 0 before the first."""
        return max(end.sequence for end in self._ends.values())

    def insert(self, records: Iterable[tuple[Record, PackedCheckpoint | None]]) -> None:
        """Write records in order, checkpoints with their state, and return once they are on the disk."""
        ends = dict(self._ends)
        rows, bodies = [], []
        for record, packed in records:
            chain = chain_of(record.kind)
            ends[chain] = End(record.sequence, hash_after(ends[chain].hash, record))
            sequence, kind, at_ns, scope, payload = record
            rows.append((sequence, chain.value, kind.value, at_ns, scope, payload, ends[chain].hash))
            if packed is not None:
                bodies.append((sequence, at_ns, scope, packed.note.covers, packed.body))
        with self._transaction():
            self._connection.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            self._connection.executemany("INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?)", bodies)
            for chain, end in ends.items():
                self._connection.execute(
                    "UPDATE chain SET last_sequence = ?, last_hash = ? WHERE chain = ?", (*end, chain.value)
                )
        self._ends = ends

    def insert_block(self, head: BlockHead, body: bytes) -> None:
        """Write a block. The rows it stands for no longer count; `sweep` deletes them."""
        chain, first, last, at_ns, count, previous_hash, last_hash = head
        row = (chain.value, last, first, at_ns, count, previous_hash, last_hash, sha256(body).digest(), body)
        with self._transaction():
            self._connection.execute("INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def sweep(self, chain: Chain, most: int) -> int:
        """Delete at most so many rows that a block stands for; return how many there were."""
        covered = (
            "SELECT sequence FROM record WHERE chain = ?1"
            " AND sequence <= (SELECT max(last_sequence) FROM block WHERE chain = ?1) ORDER BY sequence LIMIT ?2"
        )
        with self._transaction():
            return self._connection.execute(
                f"DELETE FROM record WHERE sequence IN ({covered})",  # noqa: S608  # no value of anybody's is in it
                (chain.value, most),
            ).rowcount

    def count_rows(self, chain: Chain) -> int:
        """Return how many plain rows a chain has."""
        [(count,)] = self._connection.execute("SELECT count(*) FROM record WHERE chain = ?", (chain.value,))
        return int(count)

    def bytes_used(self) -> int:
        """Return how large the file would be without its free pages."""
        [(pages,)] = self._connection.execute("PRAGMA page_count")
        [(free,)] = self._connection.execute("PRAGMA freelist_count")
        [(size,)] = self._connection.execute("PRAGMA page_size")
        return int((pages - free) * size)

    def oldest_block(self, chain: Chain) -> BlockHead | None:
        """Return the oldest block of a chain."""
        row = self._connection.execute(
            "SELECT chain, first_sequence, last_sequence, last_at_ns, records, previous_hash, last_hash FROM block"
            " WHERE chain = ? ORDER BY last_sequence LIMIT 1",
            (chain.value,),
        ).fetchone()
        return None if row is None else BlockHead(Chain(row[0]), *row[1:])

    def pruned_sequence(self, chain: Chain) -> int:
        """Return the sequence of the last pruned record of a chain, 0 where none is."""
        query = "SELECT pruned_sequence FROM chain WHERE chain = ?"
        [(sequence,)] = self._connection.execute(query, (chain.value,))
        return int(sequence)

    def delete_block(self, head: BlockHead) -> None:
        """Delete the oldest block of a chain: the chain now starts after it."""
        with self._transaction():
            # Leftover rows of the block would come back to life without it.
            self._connection.execute(
                "DELETE FROM record WHERE chain = ? AND sequence <= ?", (head.chain.value, head.last_sequence)
            )
            self._connection.execute(
                "DELETE FROM block WHERE chain = ? AND last_sequence = ?", (head.chain.value, head.last_sequence)
            )
            self._connection.execute(
                "UPDATE chain SET pruned_sequence = ?, pruned_hash = ? WHERE chain = ?",
                (head.last_sequence, head.last_hash, head.chain.value),
            )

    def checkpoints(self) -> list[CheckpointHead]:
        """Return every checkpoint that has its state, oldest first."""
        rows = self._connection.execute("SELECT sequence, at_ns, name, covers FROM checkpoint ORDER BY sequence")
        return [CheckpointHead(*row) for row in rows]

    def delete_checkpoints(self, sequences: Sequence[int]) -> None:
        """Drop the states of checkpoints; their records stay."""
        with self._transaction():
            self._connection.executemany("DELETE FROM checkpoint WHERE sequence = ?", [(one,) for one in sequences])

    def give_back(self) -> None:
        """Return free pages to the file system."""
        self._connection.executescript("PRAGMA incremental_vacuum")  # `execute` would take one step: a single page
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
