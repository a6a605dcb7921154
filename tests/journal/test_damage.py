"""A file cut anywhere, a bit flipped anywhere: what is read is what was written, or the journal says what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from circuit_guard.journal.errors import JournalUnusable
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader
from circuit_guard.journal.record import Record
from circuit_guard.journal.store import connect
from tests.core import world
from tests.journal.builders import START_NS, anchored, decision, halt, keep, mixed, observation, read, state
from tests.journal.conftest import Opened
from tests.journal.test_journal import settled

WAL_NAME = f"{JOURNAL_NAME}-wal"
SHM_NAME = f"{JOURNAL_NAME}-shm"


def small_pages(directory: Path) -> None:
    """Leave behind a new journal of small pages: less to cut, and more that can go wrong within it."""
    directory.mkdir()
    with closing(connect(directory / JOURNAL_NAME)) as connection:
        connection.executescript("PRAGMA journal_mode = DELETE; PRAGMA page_size = 512; VACUUM;")


def found(directory: Path) -> list[Record] | str:
    """Return the records of a journal that proves itself, or what is wrong with it."""
    try:
        with JournalReader(directory) as reader:
            report = reader.verify()
            return list(reader.records()) if report.ok else report.problem
    except JournalUnusable as error:
        return str(error)


class Remains:
    """What a crash or a bad disk leaves of a journal, put into a directory again and again."""

    def __init__(self, source: Path, directory: Path) -> None:
        self.directory = directory
        names = [name for name in (JOURNAL_NAME, WAL_NAME) if (source / name).exists()]
        self.files = {name: (source / name).read_bytes() for name in names}

    def put(self, name: str = "", content: bytes = b"") -> None:
        """Put the files in place, one of them with other content."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        for own, whole in self.files.items():
            (self.directory / own).write_bytes(content if own == name else whole)
        anchored(self.directory)

    def flipped(self, name: str, step: int) -> Iterator[tuple[int, bytes]]:
        """Return the file with one bit flipped, at every so many bytes."""
        content = self.files[name]
        for place in range(0, len(content), step):
            yield place, content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :]


@pytest.fixture(name="crashed")
async def _crashed(opened: Opened, tmp_path: Path) -> tuple[Remains, list[int], list[Record]]:
    """Return what a crash leaves after a few commits, how many records each left, and all of them."""
    small_pages(opened.directory)
    with opened() as journal:
        await keep(journal, [observation(0)])
    with opened() as journal:
        commits = [[observation(number), *halt(number, number)] for number in range(1, 3)]
        counts = [1, *[await keep(journal, entries) for entries in commits]]
        remains = Remains(opened.directory, tmp_path / "remains")
    return remains, counts, read(opened.directory)


@pytest.fixture(name="closed")
async def _closed(opened: Opened, tmp_path: Path) -> tuple[Remains, list[Record]]:
    """Return what is on the disk after a clean end: blocks, rows and a checkpoint."""
    small_pages(opened.directory)
    with opened(block_records=60) as journal:
        await keep(journal, mixed(120))
        await settled(journal, opened.directory, blocks=2)
        await journal.checkpoint(state(20), world.policy())
        await keep(journal, [observation(1), decision(1, 1)])
    return Remains(opened.directory, tmp_path / "remains"), read(opened.directory)


@pytest.mark.system
def test_wal_when_cut_at_every_byte_then_it_ends_with_the_last_whole_commit(
    crashed: tuple[Remains, list[int], list[Record]],
) -> None:
    remains, counts, records = crashed
    remains.put()
    seen = set()
    wal, shm = remains.directory / WAL_NAME, remains.directory / SHM_NAME
    for size in range(len(remains.files[WAL_NAME]), -1, -1):
        with wal.open("r+b") as file:
            file.truncate(size)
        shm.unlink(missing_ok=True)
        with JournalReader(remains.directory) as reader:
            got = list(reader.records())
            assert got == records[: len(got)]
            if len(got) not in seen:
                assert reader.verify().ok is (len(got) == len(records)), "its anchor says that there was more"
        seen.add(len(got))
    assert sorted(seen) == counts


async def test_wal_when_cut_then_a_guard_goes_on_from_there(
    crashed: tuple[Remains, list[int], list[Record]],
) -> None:
    remains, counts, records = crashed
    wal = remains.files[WAL_NAME]
    for size in range(0, len(wal), 97):
        remains.put(WAL_NAME, wal[:size])
        with Journal(remains.directory, START_NS, JournalOptions()) as journal:
            kept = journal.status().last_sequence
            assert kept in counts
            await keep(journal, [observation(99)])
        got = found(remains.directory)
        assert got[:-1] == records[:kept]
        assert len(got) == kept + 1


@pytest.mark.system
def test_wal_when_a_bit_flips_then_nothing_is_invented(crashed: tuple[Remains, list[int], list[Record]]) -> None:
    remains, counts, records = crashed
    for place, content in remains.flipped(WAL_NAME, step=7):
        remains.put(WAL_NAME, content)
        got = found(remains.directory)
        assert isinstance(got, str) or (len(got) in counts and got == records[: len(got)]), place


def test_file_when_a_bit_flips_then_it_is_told_or_does_not_matter(closed: tuple[Remains, list[Record]]) -> None:
    remains, records = closed
    told = 0
    for place, content in remains.flipped(JOURNAL_NAME, step=307):
        remains.put(JOURNAL_NAME, content)
        got = found(remains.directory)
        told += isinstance(got, str)
        assert isinstance(got, str) or got == records, place
    assert told > 15


@pytest.mark.system
def test_file_when_a_bit_flips_then_a_guard_opens_it_or_says_why_not(closed: tuple[Remains, list[Record]]) -> None:
    remains, records = closed
    refused = 0
    for place, content in remains.flipped(JOURNAL_NAME, step=211):
        remains.put(JOURNAL_NAME, content)
        try:
            with Journal(remains.directory, START_NS, JournalOptions()) as journal:
                assert journal.status().last_sequence == len(records), place
        except JournalUnusable as error:
            refused += bool(str(error))
    assert refused > 10


def test_file_when_cut_then_it_is_told(closed: tuple[Remains, list[Record]]) -> None:
    remains, _ = closed
    whole = remains.files[JOURNAL_NAME]
    for size in range(1, len(whole), 509):
        remains.put(JOURNAL_NAME, whole[:size])
        assert isinstance(found(remains.directory), str), size
