"""Opening a journal: an older one is brought up to date, and what cannot be used is refused in words."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from circuit_guard.core.inputs import Tick
from circuit_guard.journal.codec import encode
from circuit_guard.journal.errors import JournalUnusable, RecordBroken
from circuit_guard.journal.journal import Journal, prune
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader
from circuit_guard.journal.record import GENESIS, Kind, Record, hash_after
from circuit_guard.journal.store import APPLICATION_ID, SCHEMA_VERSION
from tests.journal.builders import START_NS, keep, mixed, observation, read, tamper
from tests.journal.conftest import Opened

OPTIONS = JournalOptions()

VERSION_1 = """
CREATE TABLE record (sequence INTEGER PRIMARY KEY, chain TEXT NOT NULL, kind TEXT NOT NULL, at_ns INTEGER NOT NULL,
    scope TEXT NOT NULL, payload TEXT NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TABLE checkpoint (sequence INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, name TEXT NOT NULL,
    covers INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE chain (chain TEXT PRIMARY KEY, pruned_sequence INTEGER NOT NULL, pruned_hash BLOB NOT NULL,
    last_sequence INTEGER NOT NULL, last_hash BLOB NOT NULL) STRICT;
"""
"""The tables as version 1 had them; written out, so that a change of the migrations cannot change the past."""


def write_version_1(path: Path, count: int) -> None:
    """Write what version 1 of the schema would have left behind."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA journal_mode = WAL; {VERSION_1}")
        previous = GENESIS
        for sequence in range(1, count + 1):
            record = Record(sequence, Kind.INPUT, START_NS + sequence, "", encode(Tick(START_NS + sequence)))
            previous = hash_after(previous, record)
            row = (sequence, "recorder", record.kind, record.at_ns, record.scope, record.payload, previous)
            connection.execute("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        connection.execute("INSERT INTO chain VALUES ('recorder', 0, ?, ?, ?)", (GENESIS, count, previous))
        connection.execute("INSERT INTO chain VALUES ('audit', 0, ?, 0, ?)", (GENESIS, GENESIS))
        connection.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;")
        connection.commit()


async def test_journal_when_of_version_1_then_it_is_updated_and_nothing_in_it_changes(opened: Opened) -> None:
    opened.directory.mkdir()
    write_version_1(opened.directory / JOURNAL_NAME, 20)
    with pytest.raises(JournalUnusable, match="of an older schema; start the guard once: that updates it"):
        JournalReader(opened.directory)
    with opened(block_records=10) as journal:
        await keep(journal, [observation(1)])
        with journal.reader() as reader:
            report = reader.verify()
            assert (report.ok, report.records) == (True, 21)
            assert [record.payload for record in reader.records()][4] == encode(Tick(START_NS + 5))
    with closing(sqlite3.connect(opened.directory / JOURNAL_NAME)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def refused(directory: Path) -> JournalUnusable:
    """Return how the directory is refused: in the same way to write, to read and to prune."""
    with pytest.raises(JournalUnusable) as to_write:
        Journal(directory, START_NS, OPTIONS)
    with pytest.raises(JournalUnusable):
        prune(directory, START_NS, START_NS, OPTIONS)
    return to_write.value


def with_header(directory: Path, **pragmas: int) -> None:
    tamper(directory, *(f"PRAGMA {name} = {value}" for name, value in pragmas.items()))


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def without_tables(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA page_size = 512; CREATE TABLE a (b); DROP TABLE a;")


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (
            lambda at: with_header(at, user_version=SCHEMA_VERSION + 1),
            "its schema is version 4, and this program knows 3",
        ),
        (lambda at: with_header(at, user_version=0), "its schema version was 0, expected 1 to 3"),
        (lambda at: with_header(at, user_version=1), "damaged or no journal (SQLite says: table block already exists)"),
        (
            lambda at: with_header(at, application_id=7),
            "it is another program's database; name another state directory",
        ),
        (lambda at: (at / JOURNAL_NAME).write_text("not a database, but long enough " * 9), "file is not a database"),
        (lambda at: overwrite(at / JOURNAL_NAME, 0, b"x"), "file is not a database"),
        (lambda at: (at / JOURNAL_NAME).write_bytes(b""), "it is empty, which no journal ever is"),
        (lambda at: without_tables(at / JOURNAL_NAME), "it is empty, which no journal ever is"),
        (lambda at: overwrite(at / JOURNAL_NAME, 100, b"\xff" * 300), "damaged or no journal"),
        (lambda at: tamper(at, "DROP TABLE chain"), "no such table: chain"),
        (lambda at: tamper(at, "DELETE FROM chain"), "the bounds of recorder and audit are lost"),
        (lambda at: tamper(at, "DROP TABLE record"), "no such table: record"),
        (lambda at: tamper(at, "UPDATE record SET payload = 'x' WHERE sequence = 9"), "record 9 does not continue the"),
        (
            lambda at: tamper(at, "DELETE FROM record WHERE sequence > 9"),
            "is missing: the recorder chain goes up to it",
        ),
    ],
)
async def test_journal_when_it_cannot_be_used_then_the_refusal_says_why_and_what_to_do(
    opened: Opened, damage: Damage, told: str
) -> None:
    with opened() as journal:
        await keep(journal, mixed(30))
    damage(opened.directory)
    error = refused(opened.directory)
    assert told in str(error)
    assert str(error.path).endswith(JOURNAL_NAME)
    assert error.remedy
    if told != "no such table: record":  # readable, as far as anybody knows before asking for records
        return
    with JournalReader(opened.directory) as reader:
        assert "no such table" in reader.verify().problem


async def test_journal_when_damaged_then_the_lock_is_free_again(opened: Opened) -> None:
    with opened() as journal:
        await keep(journal, mixed(30))
    with_header(opened.directory, application_id=7)
    refused(opened.directory)
    with_header(opened.directory, application_id=APPLICATION_ID)
    with opened() as journal:
        assert journal.failure is None


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (lambda at: at.write_text("a file"), "cannot be locked (File exists)"),
        (lambda at: (at / "lock").mkdir(parents=True), "lock: is a directory, expected a regular file"),
        (lambda at: (at / JOURNAL_NAME).mkdir(parents=True), "journal.db: is a directory, expected a regular file"),
        (lambda at: at.symlink_to("/proc/self/fdinfo"), "cannot be locked"),
    ],
    ids=["a file", "the lock a directory", "the journal a directory", "nobody may write"],
)
def test_state_directory_when_it_cannot_be_used_then_the_refusal_names_it(
    tmp_path: Path, prepare: Damage, told: str
) -> None:
    directory = tmp_path / "state"
    prepare(directory)
    assert told in str(refused(directory))


async def test_journal_when_its_creation_was_cut_short_then_it_is_created(opened: Opened) -> None:
    opened.directory.mkdir()
    for left in ("journal.db.unfinished", "journal.db.unfinished-wal", "journal.db.unfinished-shm"):
        (opened.directory / left).write_bytes(b"half a journal")
    with opened() as journal:
        await keep(journal, [observation(1)])
    assert [file.name for file in opened.directory.iterdir() if "unfinished" in file.name] == []
    assert len(read(opened.directory)) == 1


async def test_journal_when_another_program_locks_it_then_that_is_said(opened: Opened) -> None:
    with opened() as journal:
        await keep(journal, [observation(1)])
    with closing(sqlite3.connect(opened.directory / JOURNAL_NAME, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalUnusable, match=r"another program has locked it .* stop that program"):
            Journal(opened.directory, START_NS, OPTIONS)


def test_record_broken_when_shown_then_it_names_the_record() -> None:
    broken = RecordBroken(Path("journal.db"), 7, "is missing")
    assert str(broken).startswith("journal.db: record 7 is missing; keep the file for the inquiry, then start with")
