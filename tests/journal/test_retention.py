"""What is dropped when, and that the rest still proves itself."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from circuit_guard.journal.errors import StateDirectoryHeld
from circuit_guard.journal.journal import Journal, prune
from circuit_guard.journal.options import HOUR_NS, JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader
from circuit_guard.journal.record import Chain, Kind
from circuit_guard.journal.retention import CHECKPOINTS_LATEST
from tests.core import world
from tests.journal.builders import START_NS, at, decision, keep, observation, state
from tests.journal.conftest import Opened
from tests.journal.test_journal import settled

HOUR_S = 3600
SMALL = 1


async def fill(journal: Journal, hours: int, per_hour: int = 100) -> None:
    """Write some hours of inputs and decisions, and a checkpoint at the end of each."""
    for hour in range(hours):
        seconds = [(hour + number / per_hour) * HOUR_S for number in range(per_hour)]
        entries = [entry for s in seconds for entry in (observation(int(s), s), decision(int(s), s))]
        await keep(journal, entries)
        await journal.checkpoint(state((hour + 1) * HOUR_S - 1), world.policy(), "named" if hour == 1 else "")


@pytest.fixture(scope="module")
def six_hours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a closed journal of 6 hours, in blocks of half an hour a chain."""
    directory = tmp_path_factory.mktemp("six hours") / "state"

    async def write() -> None:
        with Journal(directory, START_NS, JournalOptions(block_records=50)) as journal:
            await fill(journal, hours=6)
            await settled(journal, directory, blocks=22)

    asyncio.run(write())
    return directory


@pytest.fixture(name="filled")
def _filled(six_hours: Path, tmp_path: Path) -> Path:
    """Return a copy of that journal, the test's own."""
    return shutil.copytree(six_hours, tmp_path / "state")


def pruned(directory: Path, hours: float, **options: Any) -> int:
    return prune(directory, START_NS, at(hours * HOUR_S), JournalOptions(**options))


def oldest(directory: Path, kind: Kind) -> float:
    """Return the time of the oldest record of a kind, in hours since the start."""
    with JournalReader(directory) as reader:
        assert reader.verify().ok
        return (next(reader.records(kinds=(kind,))).at_ns - START_NS) / HOUR_NS


def test_inputs_when_within_the_budget_then_they_are_kept_however_old(filled: Path) -> None:
    assert pruned(filled, 100, inputs_kept_ns=HOUR_NS) == 0
    assert oldest(filled, Kind.INPUT) == 0


def test_inputs_when_over_the_budget_then_the_old_ones_go_and_the_rest_proves_itself(filled: Path) -> None:
    before = (filled / JOURNAL_NAME).stat().st_size
    assert pruned(filled, 6, inputs_kept_ns=2 * HOUR_NS, bytes_max=SMALL) > 4
    assert 3.4 <= oldest(filled, Kind.INPUT) <= 4
    assert oldest(filled, Kind.DECISION) == 0
    assert (filled / JOURNAL_NAME).stat().st_size < before
    with JournalReader(filled) as reader:
        assert reader.bounds()[Chain.RECORDER].pruned.sequence > 0
        assert reader.bounds()[Chain.AUDIT].pruned.sequence == 0


def test_decisions_when_older_than_they_are_kept_then_they_go_whatever_the_budget(filled: Path) -> None:
    assert pruned(filled, 6, audit_kept_ns=3 * HOUR_NS) > 2
    assert 2.4 <= oldest(filled, Kind.DECISION) <= 3
    assert oldest(filled, Kind.INPUT) == 0


def test_records_when_recovery_needs_them_then_they_stay_however_old(filled: Path) -> None:
    with closing(sqlite3.connect(filled / JOURNAL_NAME, isolation_level=None)) as connection:
        connection.execute("DELETE FROM checkpoint WHERE at_ns > ?", (at(3 * HOUR_S),))
    with JournalReader(filled) as reader:
        [*_, last] = [checkpoint for checkpoint in reader.checkpoints() if checkpoint.at_ns < at(3 * HOUR_S)]
    pruned(filled, 1000, inputs_kept_ns=0, audit_kept_ns=0, bytes_max=SMALL)
    with JournalReader(filled) as reader:
        bounds = reader.bounds()
        assert all(0 < bound.pruned.sequence <= last.covers for bound in bounds.values())


def test_pruned_records_when_put_back_together_then_an_edit_of_the_rest_is_still_seen(filled: Path) -> None:
    pruned(filled, 6, inputs_kept_ns=2 * HOUR_NS, bytes_max=SMALL)
    with JournalReader(filled) as reader:
        first = next(reader.records(kinds=(Kind.INPUT,)))
    with closing(sqlite3.connect(filled / JOURNAL_NAME, isolation_level=None)) as connection:
        connection.execute("UPDATE chain SET pruned_hash = zeroblob(32) WHERE chain = 'recorder'")
    with JournalReader(filled) as reader:
        report = reader.verify()
        assert report.bad_sequence == first.sequence
        assert "does not continue the recorder chain" in report.problem


async def test_checkpoints_when_many_then_the_latest_the_named_and_one_an_hour_are_kept(opened: Opened) -> None:
    with opened() as journal:
        await journal.checkpoint(state(0), world.policy(), "named")
        for number in range(40):
            await journal.checkpoint(state(number * 600), world.policy())
        with journal.reader() as reader:
            assert len(reader.checkpoints()) == 41
    pruned(opened.directory, 7)
    with JournalReader(opened.directory) as reader:
        assert reader.verify().ok
        recorded = reader.checkpoints()
        found = [reader.checkpoint(one.sequence) for one in recorded]
        assert len(found) == 41
        kept = [one for one in found if one is not None and one.text is not None]
        last = reader.last_checkpoint()
        assert last is not None
        assert last.at_ns == at(39 * 600)
    assert [one.name for one in kept][:2] == ["named", ""]
    assert [(one.at_ns - START_NS) // HOUR_NS for one in kept[1:-CHECKPOINTS_LATEST]] == [0, 1, 2, 3, 4]
    assert len(kept) == 1 + 5 + CHECKPOINTS_LATEST


async def test_journal_in_use_when_over_the_budget_then_it_prunes_itself_and_reports_what_does_not_fit(
    opened: Opened,
) -> None:
    with opened(block_records=50, inputs_kept_ns=2 * HOUR_NS, bytes_max=SMALL) as journal:
        await fill(journal, hours=8)
        with pytest.raises(StateDirectoryHeld):
            pruned(opened.directory, 8)
        await settled(journal, opened.directory, blocks=16)
        status = journal.status()
        assert status.over_budget_bytes > 0
        assert status.failure is None
    # One block a time: it has pruned since the first hours, and is done with them once nothing more comes.
    assert oldest(opened.directory, Kind.INPUT) > 3


async def test_reader_when_records_are_pruned_under_it_then_it_goes_on_with_what_is_left(filled: Path) -> None:
    with JournalReader(filled) as reader:
        records = reader.records(kinds=(Kind.INPUT,))
        seen = [next(records).sequence for _ in range(10)]
        pruned(filled, 6, inputs_kept_ns=2 * HOUR_NS, bytes_max=SMALL)
        seen += [record.sequence for record in records]
        assert reader.verify().ok
    assert seen == sorted(seen)
    assert len(seen) < 500


def test_prune_when_blocks_went_then_no_free_page_is_left_in_the_file(filled: Path) -> None:
    assert pruned(filled, 100, bytes_max=SMALL) > 0
    with closing(sqlite3.connect(filled / JOURNAL_NAME)) as connection:
        assert connection.execute("PRAGMA freelist_count").fetchall() == [(0,)]
