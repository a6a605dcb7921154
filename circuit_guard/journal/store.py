"""The tables of the journal: how they are written, and how an older file is brought up to date.

    record      what was appended lately, a plain row each, with its hash
    block       older records of one chain, many in one compressed row; where both exist the block counts
    checkpoint  the encoded state of each CHECKPOINT record, apart from it, so that it can be dropped before it
    chain       per chain, where it starts (the last pruned record) and where it ends
    anchored    the identity of the journal, once there is an anchor beside it

A step of MIGRATIONS is never changed once released: a later version adds one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from circuit_guard.journal.errors import RESTORE, JournalUnusable
from circuit_guard.journal.record import Chain, PackedCheckpoint, Record, chain_of, hash_after

APPLICATION_ID = 0x43475244
"""`CGRD`, in the header of the file: it tells our journals from other SQLite databases."""

MIGRATIONS = (
    """
    CREATE TABLE record (
        sequence INTEGER PRIMARY KEY,
        chain TEXT NOT NULL,
        kind TEXT NOT NULL,
        at_ns INTEGER NOT NULL,
        scope TEXT NOT NULL,
        payload TEXT NOT NULL,
        hash BLOB NOT NULL
    ) STRICT;
    CREATE TABLE checkpoint (
        sequence INTEGER PRIMARY KEY,
        at_ns INTEGER NOT NULL,
        name TEXT NOT NULL,
        covers INTEGER NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE TABLE chain (
        chain TEXT PRIMARY KEY,
        pruned_sequence INTEGER NOT NULL,
        pruned_hash BLOB NOT NULL,
        last_sequence INTEGER NOT NULL,
        last_hash BLOB NOT NULL
    ) STRICT;
    INSERT INTO chain VALUES ('recorder', 0, zeroblob(32), 0, zeroblob(32));
    INSERT INTO chain VALUES ('audit', 0, zeroblob(32), 0, zeroblob(32));
    """,
    """
    CREATE TABLE block (
        chain TEXT NOT NULL,
        last_sequence INTEGER NOT NULL,
        first_sequence INTEGER NOT NULL,
        last_at_ns INTEGER NOT NULL,
        records INTEGER NOT NULL,
        previous_hash BLOB NOT NULL,
        last_hash BLOB NOT NULL,
        body_hash BLOB NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (chain, last_sequence)
    ) STRICT;
    """,
    "CREATE TABLE anchored (journal TEXT NOT NULL) STRICT;",
)
SCHEMA_VERSION = len(MIGRATIONS)

_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What a call of sqlite3 raises for a file it cannot use: its own errors, or one about the text of them."""

_BUSY_TIMEOUT_S = 2.0
_WAL_BYTES_MAX = 16_777_216


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection that writes, to a journal of the current schema; an absent or older one is made so.

    Raise JournalUnusable for a file that is not a journal, is damaged, of a newer schema, or cannot be written.
    """
    if not path.exists():
        _create(path)
    _require_writable(path)
    return _connected(path, "rw", _prepare)


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Return a connection that only reads, to a journal that may be in use. Raise JournalUnusable as `connect` does."""
    if not path.is_file():
        raise JournalUnusable(path, "there is no journal", "name the state directory of a guard")
    return _connected(path, "ro", _require_current)


def query(connection: sqlite3.Connection, path: Path, statement: str, *values: object) -> list[Any]:
    """Return the rows of a statement. Raise JournalUnusable where the file does not allow it."""
    with sqlite_errors(path):
        return connection.execute(statement, values).fetchall()


def query_up_to(
    connection: sqlite3.Connection, path: Path, size_max: int, statement: str, *values: object
) -> list[Any]:
    """Return the first rows of a statement, as many until their texts and bytes are longer than `size_max`."""
    rows, size = [], 0
    with sqlite_errors(path), closing(connection.execute(statement, values)) as found:
        for row in found:
            rows.append(row)
            size += sum(len(value) for value in row if isinstance(value, str | bytes))
            if size > size_max:
                break
    return rows


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Raise JournalUnusable for what SQLite cannot do with the file."""
    try:
        yield
    except _UNREADABLE as error:
        raise unusable(path, error) from error


def unusable(path: Path, error: Exception) -> JournalUnusable:
    """Return what a person is told about an error of SQLite: it names the problem and what to do."""
    problem = f"SQLite says: {error}"
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return JournalUnusable(path, f"the disk is full ({problem})", "free disk space and start again")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_IOERR:
            return JournalUnusable(
                path, f"it cannot be read or written ({problem})", "mend the disk or its permissions"
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return JournalUnusable(path, f"another program has locked it ({problem})", "stop that program")
        case _:
            return JournalUnusable(path, f"it is damaged or no journal ({problem})", RESTORE)


def _create(path: Path) -> None:
    """Make a journal, whole before it has its name: an empty file of that name is then one that was emptied."""
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        for leftover in path.parent.glob(unfinished.name + "*"):
            leftover.unlink()
        unfinished.touch(0o600)
        _connected(unfinished, "rw", partial(_prepare, create=True)).close()
        unfinished.replace(path)
    except OSError as error:
        raise _not_writable(path, error) from None


def _connected(path: Path, mode: str, prepare: Callable[[sqlite3.Connection, Path], None]) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    with sqlite_errors(path), ExitStack() as opened:
        connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        opened.callback(connection.close)
        prepare(connection, path)
        opened.pop_all()
    return connection


def _require_current(connection: sqlite3.Connection, path: Path) -> None:
    if _version(connection, path) != SCHEMA_VERSION:
        raise JournalUnusable(path, "it is of an older schema", "start the guard once: that updates it")


def _require_writable(path: Path) -> None:
    """Make sure of a file that can be written: SQLite does not say why one cannot, the system does."""
    try:
        path.open("ab").close()
        path.chmod(0o600)
    except OSError as error:
        raise _not_writable(path, error) from None


def _not_writable(path: Path, error: OSError) -> JournalUnusable:
    remedy = "name a directory and files that the guard may write to"
    return JournalUnusable(path, f"cannot be written ({error.strerror})", remedy)


def _prepare(connection: sqlite3.Connection, path: Path, *, create: bool = False) -> None:
    version = _version(connection, path)
    if version == 0 and not create:
        remedy = "restore it from a copy; delete it only where nothing that it held counts: halts, latches, baselines"
        raise JournalUnusable(path, "it is empty, which no journal ever is: something has emptied it", remedy)
    if version == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    [(mode,)] = connection.execute("PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise JournalUnusable(path, f"it cannot use a write-ahead log, only {mode}", "use a local file system")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_MAX}")
    for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
        marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number};"
        connection.executescript(f"BEGIN IMMEDIATE; {step} {marks} COMMIT;")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema version of a file; 0 for an empty one."""
    with closing(connection.cursor()) as cursor:
        [(application_id,)] = cursor.execute("PRAGMA application_id")
        [(version,)] = cursor.execute("PRAGMA user_version")
        [(tables,)] = cursor.execute("SELECT count(*) FROM sqlite_schema")
    if (application_id, version, tables) == (0, 0, 0):
        return 0
    if application_id != APPLICATION_ID:
        raise JournalUnusable(path, "it is another program's database", "name another state directory")
    if version > SCHEMA_VERSION:
        problem = f"its schema is version {version}, and this program knows {SCHEMA_VERSION}"
        raise JournalUnusable(path, problem, "use the version of circuit-guard that wrote it, or a newer one")
    if version < 1 or not tables:
        raise JournalUnusable(path, f"its schema version was {version}, expected 1 to {SCHEMA_VERSION}", RESTORE)
    return int(version)


def identity(connection: sqlite3.Connection) -> str:
    """Return the identity of a journal; empty where it never had an anchor."""
    row = connection.execute("SELECT journal FROM anchored LIMIT 1").fetchone()
    return "" if row is None else str(row[0])


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

    def __init__(self, connection: sqlite3.Connection, row_bytes: Mapping[Chain, int] | None = None) -> None:
        """`row_bytes`: how long the payloads of each chain's plain rows are, where somebody has read them all."""
        self._connection = connection
        self.row_bytes = dict(row_bytes or {})
        rows = connection.execute("SELECT chain, last_sequence, last_hash FROM chain")
        self._ends = {Chain(chain): End(sequence, last_hash) for chain, sequence, last_hash in rows}

    @property
    def ends(self) -> dict[Chain, End]:
        """Where each chain ends."""
        return dict(self._ends)

    def identity(self) -> str:
        """Return the identity of the journal; empty where it never had an anchor."""
        return identity(self._connection)

    def become(self, identity: str) -> None:
        """Note that there is an anchor from now on, in the file itself: a lost write-ahead log cannot take it back."""
        self._connection.execute("INSERT INTO anchored VALUES (?)", (identity,))
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

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

    def matches(self, head: BlockHead) -> bool:
        """Return whether a block goes on from the one before it, and stands for the rows that there are."""
        before = self._connection.execute(
            "SELECT last_sequence, last_hash FROM block WHERE chain = ?1 UNION ALL"
            " SELECT pruned_sequence, pruned_hash FROM chain WHERE chain = ?1 ORDER BY 1 DESC LIMIT 1",
            (head.chain.value,),
        ).fetchone()
        [(count, first)] = self._connection.execute(
            "SELECT count(*), min(sequence) FROM record WHERE chain = ? AND sequence > ? AND sequence <= ?",
            (head.chain.value, before[0], head.last_sequence),
        )
        row = self._connection.execute(
            "SELECT hash FROM record WHERE chain = ? AND sequence = ?", (head.chain.value, head.last_sequence)
        ).fetchone()
        ours = (before[1], first, count, None if row is None else row[0])
        return ours == (head.previous_hash, head.first_sequence, head.records, head.last_hash)

    def insert_block(self, head: BlockHead, body: bytes) -> None:
        """Write a block. The rows it stands for no longer count; `sweep` deletes them."""
        chain, first, last, at_ns, count, previous_hash, last_hash = head
        row = (chain.value, last, first, at_ns, count, previous_hash, last_hash, sha256(body).digest(), body)
        with self._transaction():
            self._connection.execute("INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def sweep(self, chain: Chain, most: int) -> int:
        """Delete rows that a block stands for, `most` at a time; return how many were deleted."""
        covered = (
            "SELECT sequence FROM record WHERE chain = ?1"
            " AND sequence <= (SELECT max(last_sequence) FROM block WHERE chain = ?1) ORDER BY sequence LIMIT ?2"
        )
        with self._transaction():
            return self._connection.execute(
                f"DELETE FROM record WHERE sequence IN ({covered})",  # noqa: S608  # it contains no values
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
