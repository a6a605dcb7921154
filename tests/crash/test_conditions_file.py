"""A journal that is damaged, cut, foreign or of another schema: the guard goes on from what is proved, or refuses."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from circuit_guard.core.types import Phase
from circuit_guard.engine.engine import EngineRefuses
from circuit_guard.journal.anchor import ANCHOR_NAME
from circuit_guard.journal.place import LOCK_NAME
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader
from circuit_guard.journal.store import SCHEMA_VERSION
from tests.crash.conditions import BTC, ETH, HALT, RESTORE, SOL, refused_start, running
from tests.driver import ManualClock
from tests.journal.builders import anchored

WAL_NAME = f"{JOURNAL_NAME}-wal"
WAL_HEADER_BYTES, FRAME_HEADER_BYTES, PAGE_BYTES = 32, 24, 4096
OF_AN_EARLIER_VERSION = Path(__file__).parent / "data" / "journal-0.1.0.db.gz"
REASONS = [HALT, *(f"drill-{number}" for number in range(8, 28))]


def flip_in_halt(state: Path) -> str:
    """Flip a bit of the recorded halt."""
    content = (state / JOURNAL_NAME).read_bytes()
    (state / JOURNAL_NAME).write_bytes(flipped(content, content.index(HALT.encode())))
    with JournalReader(state) as reader:
        report = reader.verify()
    assert report.bad_sequence is not None
    return report.problem


def replace_by_text(state: Path) -> str:
    (state / JOURNAL_NAME).write_text("no database, but long enough for the header of one: " * 9)
    return f"{state / JOURNAL_NAME}: it is damaged or no journal (SQLite says: file is not a database); {RESTORE}"


def make_newer(state: Path) -> str:
    with closing(sqlite3.connect(state / JOURNAL_NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    problem = f"its schema is version {SCHEMA_VERSION + 1}, and this program knows {SCHEMA_VERSION}"
    return f"{state / JOURNAL_NAME}: {problem}; use the version of circuit-guard that wrote it, or a newer one"


def cut_in_the_middle(state: Path) -> str:
    content = (state / JOURNAL_NAME).read_bytes()
    (state / JOURNAL_NAME).write_bytes(content[: len(content) // 2])
    problem = "it is damaged or no journal (SQLite says: database disk image is malformed)"
    return f"{state / JOURNAL_NAME}: {problem}; {RESTORE}"


@pytest.mark.parametrize("damage", [flip_in_halt, replace_by_text, make_newer, cut_in_the_middle])
async def test_start_when_the_file_cannot_be_used_then_it_is_up_refuses_and_goes_on_once_it_is_mended(
    left: Path, clock: ManualClock, damage: Callable[[Path], str]
) -> None:
    whole = (left / "state" / JOURNAL_NAME).read_bytes()
    told = damage(left / "state")

    await refused_start(left, clock, f"the journal cannot be used: {told}")

    (left / "state" / JOURNAL_NAME).write_bytes(whole)
    async with running(left, clock) as guard:
        assert guard.halted() == HALT
        assert guard.denies_everything()


async def test_start_when_the_state_directory_is_begun_anew_then_nothing_is_known_and_everything_denied(
    left: Path, clock: ManualClock
) -> None:
    flip_in_halt(left / "state")
    (left / "state").rename(left / "kept for the inquiry")

    async with running(left, clock) as guard:
        assert guard.engine.status().markets
        assert guard.denies_everything()


def flipped(content: bytes, place: int) -> bytes:
    """Return content with one bit flipped."""
    return content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :]


async def test_start_when_any_bit_of_the_file_is_flipped_then_it_refuses_or_knows_what_it_knew(
    left: Path, clock: ManualClock
) -> None:
    path = left / "state" / JOURNAL_NAME
    whole = path.read_bytes()
    refused = 0
    for place in range(1, len(whole), len(whole) // 12):
        shutil.rmtree(left / "state")
        path.parent.mkdir()
        path.write_bytes(flipped(whole, place))
        async with running(left, clock) as guard:
            if reasons := guard.engine.ready():
                assert reasons[0].startswith(f"the journal cannot be used: {path}: "), place
                with pytest.raises(EngineRefuses):
                    guard.asked()
                refused += 1
            else:
                assert guard.halted() == HALT, place
                assert guard.denies_everything(), place
    assert refused


# What a crash leaves


class Crashed:
    """A folder as a crash leaves it after many halts, put in place again and again with another log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {path.name: path.read_bytes() for path in (folder / "state").iterdir()}
        self.log = self.files[WAL_NAME]

    def with_log(self, content: bytes) -> Path:
        shutil.rmtree(self.folder / "state")
        (self.folder / "state").mkdir()
        for name in (JOURNAL_NAME, WAL_NAME):
            (self.folder / "state" / name).write_bytes(content if name == WAL_NAME else self.files[name])
        anchored(self.folder / "state")
        return self.folder


@pytest.fixture(name="crashed")
async def _crashed(left: Path, clock: ManualClock, tmp_path_factory: pytest.TempPathFactory) -> Crashed:
    crashed = tmp_path_factory.mktemp("crashed")
    async with running(left, clock) as guard:
        for reason in REASONS[1:]:
            await guard.halt(reason)
        shutil.copytree(left / "state", crashed / "state")
    return Crashed(crashed)


def cuts(size: int) -> Iterator[int]:
    """Return where to cut: beside the first places where something begins, and evenly over the whole of it."""
    frames = [WAL_HEADER_BYTES + number * (FRAME_HEADER_BYTES + PAGE_BYTES) for number in range(2)]
    beside = {place + by for place in (0, *frames) for by in (-1, 0, 1) if place + by >= 0}
    yield from sorted({*beside, *range(size, 0, -size // 6)})


async def test_start_when_the_log_of_the_database_is_cut_then_it_goes_on_from_the_last_whole_commit(
    crashed: Crashed, clock: ManualClock
) -> None:
    """Every byte is cut at by the tests of the journal; here a guard starts on what is left, at some of them."""
    reached = []
    for size in cuts(len(crashed.log)):
        folder = crashed.with_log(crashed.log[:size])
        async with running(folder, clock) as guard:
            reached.append(REASONS.index(guard.halted()))
            assert guard.denies_everything()
            with JournalReader(folder / "state") as reader:
                assert reader.verify().ok
    assert reached == sorted(reached), "a shorter log knows less, and nothing else"
    assert (reached[0], reached[-1]) == (0, len(REASONS) - 1)


async def test_start_when_a_bit_of_the_log_is_flipped_then_it_goes_on_from_a_whole_commit_before_it(
    crashed: Crashed, clock: ManualClock
) -> None:
    for place in range(1, len(crashed.log), len(crashed.log) // 8):
        async with running(crashed.with_log(flipped(crashed.log, place)), clock) as guard:
            assert guard.halted() in REASONS
            assert guard.denies_everything()


# Another schema


async def test_start_when_the_journal_is_of_the_first_schema_then_it_is_updated_and_knows_what_it_knew(
    left: Path, clock: ManualClock
) -> None:
    with closing(sqlite3.connect(left / "state" / JOURNAL_NAME)) as connection:
        later = "DROP TABLE anchored; DROP TABLE block;"
        connection.executescript(f"{later} PRAGMA user_version = 1;")
    (left / "state" / ANCHOR_NAME).unlink()
    (left / "state" / LOCK_NAME).unlink()

    async with running(left, clock) as guard:
        assert guard.halted() == HALT
        assert guard.denies_everything()
        with JournalReader(left / "state") as reader:
            assert reader.verify().ok
    with closing(sqlite3.connect(left / "state" / JOURNAL_NAME)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


async def test_start_when_an_earlier_version_wrote_the_journal_then_its_records_are_run_again_and_all_is_known(
    tmp_path: Path, clock: ManualClock
) -> None:
    """That version left BTC halted, ETH latched and SOL in POST_ONLY, and then was killed."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / JOURNAL_NAME).write_bytes(gzip.decompress(OF_AN_EARLIER_VERSION.read_bytes()))
    clock.advance(60)

    async with running(tmp_path, clock) as guard:
        assert guard.engine.ready() == []
        assert guard.halted(BTC) == HALT
        assert guard.engine.state.markets[ETH].breaker.latched
        assert guard.engine.state.markets[SOL].phase.commanded is Phase.POST_ONLY
        assert guard.denies_everything()
        with JournalReader(tmp_path / "state") as reader:
            assert reader.verify().ok
