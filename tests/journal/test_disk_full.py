"""A disk that takes nothing more: the journal says so, pretends nothing, and opens again with all that was durable."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.reader import JournalReader
from circuit_guard.journal.store import unusable
from tests.journal.builders import START_NS, keep, observation

ROOT = Path(__file__).parents[2]

UNTIL_FULL = """
import asyncio, resource, sys
from pathlib import Path
from circuit_guard.journal.errors import JournalError
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from tests.journal.builders import START_NS, observation

async def main():
    with Journal(Path(sys.argv[1]), START_NS, JournalOptions()) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        number = 0
        while True:
            number += 1
            try:
                await journal.durable(journal.append([observation(number)] * 10).last_sequence)
            except JournalError as first:
                reason = str(first)
                break
            durable = journal.status().durable_sequence
        for use in (lambda: journal.append([observation(1)]), journal.room, lambda: journal.durable(durable + 1)):
            try:
                coroutine = use()
                await coroutine
            except JournalError as again:
                assert str(again) == reason, again
            else:
                raise AssertionError("a failed journal took more")
        await journal.durable(durable)
        assert journal.failure == reason
        print(durable, reason)

asyncio.run(main())
"""


async def test_disk_when_full_then_the_journal_fails_in_words_and_keeps_what_was_durable(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: ASYNC221  # nothing else is to do meanwhile
        [sys.executable, "-c", UNTIL_FULL, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    durable, reason = done.stdout.split(maxsplit=1)
    assert "it cannot be read or written (SQLite says: disk I/O error); mend the disk or its permissions" in reason
    with JournalReader(tmp_path) as reader:
        report = reader.verify()
        assert report.ok
        assert report.last_sequence >= int(durable) > 0
    with Journal(tmp_path, START_NS, JournalOptions()) as journal:
        await keep(journal, [observation(1)])


def test_error_when_sqlite_finds_no_space_then_the_person_is_told_to_make_some(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("PRAGMA max_page_count = 2")
        with pytest.raises(sqlite3.OperationalError) as full:
            connection.executescript("CREATE TABLE a (b); INSERT INTO a VALUES (zeroblob(100000));")
    told = str(unusable(tmp_path / "x.db", full.value))
    assert told.endswith(
        "x.db: the disk is full (SQLite says: database or disk is full); free disk space and start again"
    )


def test_error_when_nobody_may_write_then_the_person_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE a (b)")
    reading = sqlite3.connect(f"file:{path}?immutable=1&mode=ro", uri=True)
    with closing(reading) as connection, pytest.raises(sqlite3.OperationalError) as denied:
        connection.execute("INSERT INTO a VALUES (1)")
    assert "it cannot be read or written (SQLite says: attempt to write a readonly" in str(unusable(path, denied.value))
