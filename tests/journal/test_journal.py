"""A journal in use: what is appended is there, in order, and whoever was told that it is durable finds it again."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from circuit_guard.journal.codec import decode
from circuit_guard.journal.errors import JournalFailed, JournalUnusable, StateDirectoryHeld
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import Overflow
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader
from circuit_guard.journal.record import Chain, DecisionsDropped, Kind
from tests.core import world
from tests.journal.builders import Held, at, decision, keep, mixed, observation, read, recorded, state
from tests.journal.conftest import Opened

HOUR_NS = 3600 * 10**9


async def settled(journal: Journal, directory: Path, blocks: int) -> None:
    """Wait until there are so many blocks and no rows that they stand for."""
    async with asyncio.timeout(30):
        while await asyncio.to_thread(unsettled, directory, blocks):
            assert journal.failure is None


def unsettled(directory: Path, blocks: int) -> bool:
    """Return whether blocks are missing, or rows that a block stands for are left."""
    with closing(sqlite3.connect(directory / JOURNAL_NAME)) as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM block")
        [(left,)] = connection.execute(
            "SELECT count(*) FROM record WHERE sequence <="
            " (SELECT max(last_sequence) FROM block WHERE block.chain = record.chain)"
        )
    return count < blocks or bool(left)


async def test_entries_when_appended_then_they_are_read_back_in_order(opened: Opened) -> None:
    entries = mixed(300)
    with opened() as journal:
        assert await keep(journal, entries) == len(entries)
        with journal.reader() as reader:
            assert list(reader.records()) == [recorded(n, entry) for n, entry in enumerate(entries, start=1)]
    assert len(read(opened.directory)) == len(entries)


async def test_records_when_asked_for_by_sequence_and_kind_then_only_those(opened: Opened) -> None:
    entries = mixed(300)
    with opened() as journal:
        await keep(journal, entries)
    with JournalReader(opened.directory) as reader:
        every = list(reader.records())
        assert list(reader.records(100)) == every[99:]
        assert list(reader.records(10**9)) == []
        for kinds in ((Kind.DECISION,), (Kind.INPUT, Kind.FACT), (Kind.POLICY,)):
            assert list(reader.records(50, kinds)) == [record for record in every[49:] if record.kind in kinds]


async def test_journal_when_opened_again_then_it_goes_on_where_it_was(opened: Opened) -> None:
    with opened() as journal:
        await keep(journal, [observation(n) for n in range(5)])
    with opened() as journal:
        assert journal.status().last_sequence == 5
        assert await keep(journal, [observation(5)]) == 6
        with journal.reader() as reader:
            report = reader.verify()
    assert (report.ok, report.records, report.first_sequence, report.last_sequence) == (True, 6, 1, 6)


async def test_close_when_entries_still_wait_then_they_are_written_first(opened: Opened) -> None:
    with opened(commit_within_ns=HOUR_NS) as journal:
        journal.append([observation(n) for n in range(5)])
    assert len(read(opened.directory)) == 5


async def test_entries_when_nobody_waits_then_they_are_committed_within_the_interval(opened: Opened) -> None:
    with opened(commit_within_ns=20_000_000) as journal:
        journal.append([observation(1)])
        async with asyncio.timeout(10):
            while not await asyncio.to_thread(read, opened.directory):
                """Nobody is told, so there is only to look: to wait for `durable` would hasten it."""


async def test_durable_when_waited_for_then_the_writer_does_not_linger(opened: Opened) -> None:
    with opened(commit_within_ns=HOUR_NS) as journal:
        await asyncio.gather(*(keep(journal, [observation(n)]) for n in range(20)))
        await journal.durable(0)
        with pytest.raises(ValueError, match="sequence was 21, expected at most 20"):
            await journal.durable(21)


async def test_durable_when_the_waiter_gives_up_then_nothing_else_suffers(opened: Opened) -> None:
    with opened() as journal:
        waiting = asyncio.ensure_future(journal.durable(journal.append([observation(1)]).last_sequence))
        await asyncio.sleep(0)
        waiting.cancel()
        await keep(journal, [observation(2)])
        assert journal.failure is None


async def test_decisions_when_the_queue_is_full_and_may_drop_then_only_they_are_lost_and_counted(
    opened: Opened,
) -> None:
    with opened(overflow=Overflow.DROP, queue_max=3, commit_within_ns=HOUR_NS) as journal:
        entries = [observation(1), decision(1, 1), observation(2), decision(2, 2), observation(3), decision(3, 3)]
        assert journal.append(entries) == (4, 2)
        assert journal.status().dropped == 2
        await journal.durable(4)
        assert await keep(journal, [decision(4, 4)]) == 6
        assert journal.append([observation(5), observation(6), observation(7), decision(7, 7)]) == (9, 1)
    records = read(opened.directory)
    kinds = " ".join(record.kind for record in records)
    assert kinds == "INPUT DECISION INPUT INPUT FACT DECISION INPUT INPUT INPUT FACT"
    notes = [decode(record.payload) for record in records if record.kind is Kind.FACT]
    assert notes == [DecisionsDropped(at(3), 2), DecisionsDropped(at(7), 1)], "the second at the end"


async def test_room_when_the_queue_is_full_then_it_is_waited_for_and_nothing_is_lost(opened: Opened) -> None:
    with opened(queue_max=3) as journal, Held() as disk:
        await disk.hold(journal)
        await journal.room()
        journal.append([observation(1), observation(2), decision(3, 3)])
        waiting = asyncio.ensure_future(journal.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        disk.release()
        await waiting
        assert journal.status().dropped == 0
    assert len(read(opened.directory)) == 4


async def test_queue_when_far_beyond_full_then_the_journal_fails_rather_than_grow(opened: Opened) -> None:
    with opened(queue_max=2) as journal, Held() as disk:
        await disk.hold(journal)
        for number in range(8):
            journal.append([observation(number)])
        waiting = journal.room()
        with pytest.raises(JournalFailed, match="the disk does not keep up: 8 records wait for it"):
            journal.append([observation(9)])
        with pytest.raises(JournalFailed):
            await waiting
        with pytest.raises(JournalFailed):
            await journal.durable(3)
        assert "does not keep up" in str(journal.status().failure)


async def test_journal_when_closed_then_it_takes_nothing_more(opened: Opened) -> None:
    with opened() as journal:
        pass
    with pytest.raises(JournalFailed, match="the journal is closed"):
        journal.append([observation(1)])


async def test_value_when_it_cannot_be_encoded_then_the_journal_fails_and_says_so(opened: Opened) -> None:
    with opened() as journal:
        appended = journal.append([observation(1)._replace(value=5)])
        with pytest.raises(JournalFailed, match="a value was of type int"):
            await journal.durable(appended.last_sequence)
        with pytest.raises(JournalFailed):
            journal.append([observation(2)])
    assert read(opened.directory) == []


async def test_blocks_when_made_then_every_record_is_the_same_as_before(opened: Opened) -> None:
    entries = mixed(1000)
    expected = [recorded(n, entry) for n, entry in enumerate(entries, start=1)]
    with opened(block_records=100) as journal:
        for start in range(0, len(entries), 37):
            await keep(journal, entries[start : start + 37])
        await settled(journal, opened.directory, blocks=10)
        with journal.reader() as reader:
            assert list(reader.records()) == expected
            assert list(reader.records(555)) == expected[554:]
            report = reader.verify()
            assert (report.ok, report.records) == (True, len(entries))
        await keep(journal, [observation(7)])
    with opened(block_records=100) as journal, journal.reader() as reader:
        assert reader.verify().records == len(entries) + 1


async def test_reader_when_rows_become_blocks_under_it_then_it_misses_nothing(opened: Opened) -> None:
    with opened(block_records=10**9) as journal:
        await keep(journal, mixed(3000))
    expected = read(opened.directory)
    with JournalReader(opened.directory) as reader:
        records = reader.records()
        seen = [next(records) for _ in range(1500)]
        with opened(block_records=700) as journal:
            await settled(journal, opened.directory, blocks=4)
            seen += records
    assert seen == expected


async def test_checkpoint_when_written_then_it_holds_the_state_of_that_instant(opened: Opened) -> None:
    with opened() as journal:
        with journal.reader() as reader:
            assert reader.last_checkpoint() is None
        await keep(journal, [observation(n) for n in range(3)])
        now = state(10)
        writing = asyncio.ensure_future(journal.checkpoint(now, world.policy(), "before the upgrade"))
        await asyncio.sleep(0)
        now.decisions = 99
        journal.append([observation(4)])
        written = await writing
        await journal.durable(5)
        assert (written.name, written.covers) == ("before the upgrade", 3)
        with journal.reader() as reader:
            # Another thread makes it: the entry appended meanwhile may come before or after it, and is not covered.
            [meanwhile] = [record.sequence for record in reader.records(written.covers + 1, (Kind.INPUT,))]
            assert {written.sequence, meanwhile} == {4, 5}
            last = reader.last_checkpoint()
            assert last is not None
            assert last == reader.checkpoint(written.sequence)
            assert last._replace(text=None) == written
            assert reader.checkpoints() == [written]
            assert reader.checkpoint(meanwhile) is None
            assert last.content().state.decisions == 0
            assert last.content().policy == world.policy()
    with pytest.raises(ValueError, match=r"the state of checkpoint \d is not here"):
        written.content()


LOCK = """
import sys
from pathlib import Path
from circuit_guard.journal.place import held
with held(Path(sys.argv[1]), 1):
    pass
"""


def test_state_directory_when_held_then_a_second_process_is_told_by_whom(opened: Opened) -> None:
    with opened():
        with pytest.raises(StateDirectoryHeld, match="stop that process") as refusal:
            opened()
        assert f'"pid": {os.getpid()}' in str(refusal.value)
        command = [sys.executable, "-c", LOCK, str(opened.directory)]
        other = subprocess.run(command, capture_output=True, text=True, check=False)
        assert other.returncode == 1
        assert f'"pid": {os.getpid()}' in other.stderr
    with opened() as journal:
        assert journal.failure is None


async def test_lock_file_when_left_over_then_it_means_nothing(opened: Opened) -> None:
    opened.directory.mkdir()
    (opened.directory / "lock").write_text('{"pid": 1, "host": "elsewhere"}' * 50)
    with opened():
        assert '"elsewhere"' not in (opened.directory / "lock").read_text()


async def test_files_when_created_then_nobody_else_can_read_them(opened: Opened) -> None:
    with opened() as journal:
        await keep(journal, [observation(1)])
        modes = {path.name: path.stat().st_mode & 0o777 for path in opened.directory.iterdir()}
        assert set(modes.values()) == {0o600}
        assert opened.directory.stat().st_mode & 0o777 == 0o700


async def test_chains_when_read_then_each_has_its_own_end(opened: Opened) -> None:
    with opened() as journal:
        await keep(journal, [observation(1), decision(1, 1), observation(2)])
        with journal.reader() as reader:
            bounds = reader.bounds()
    assert bounds[Chain.RECORDER].last.sequence == 3
    assert bounds[Chain.AUDIT].last.sequence == 2


def test_reader_when_there_is_no_journal_then_that_is_said_and_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(JournalUnusable, match="there is no journal; name the state directory of a guard"):
        JournalReader(tmp_path)
    assert list(tmp_path.iterdir()) == []
