"""The journal's place changes: moved, deleted, copied, replaced, cut, or written to by a disk that hangs.

What was acknowledged holds after a restart, or the guard refuses and says what is missing. It never takes what is not
there for a new beginning.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from circuit_guard.core.types import Verdict
from circuit_guard.engine.engine import EngineFailed, EngineRefuses
from circuit_guard.journal.anchor import ANCHOR_NAME, read_anchor
from circuit_guard.journal.errors import JournalStalled, JournalUnusable, StateDirectoryHeld
from circuit_guard.journal.place import LOCK_NAME
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader
from tests.cli.running import run
from tests.crash.conditions import BTC, ETH, HALT, running
from tests.crash.guard_process import policy_text
from tests.driver import ManualClock

WAL_NAME = f"{JOURNAL_NAME}-wal"


def moved(state: Path) -> None:
    state.rename(state.with_name("elsewhere"))


def deleted(state: Path) -> None:
    shutil.rmtree(state)


def replaced_by_a_copy(state: Path) -> None:
    moved(state)
    shutil.copytree(state.with_name("elsewhere"), state)


def journal_deleted(state: Path) -> None:
    (state / JOURNAL_NAME).unlink()


def journal_replaced(state: Path) -> None:
    copy = state / "copy"
    shutil.copy(state / JOURNAL_NAME, copy)
    copy.rename(state / JOURNAL_NAME)


def journal_cut(state: Path) -> None:
    os.truncate(state / JOURNAL_NAME, 0)


def log_deleted(state: Path) -> None:
    (state / WAL_NAME).unlink()


def lock_deleted(state: Path) -> None:
    (state / LOCK_NAME).unlink()


def anchor_deleted(state: Path) -> None:
    (state / ANCHOR_NAME).unlink()


MEANWHILE = [
    moved,
    deleted,
    replaced_by_a_copy,
    journal_deleted,
    journal_replaced,
    journal_cut,
    log_deleted,
    lock_deleted,
    anchor_deleted,
]


@pytest.mark.parametrize("happens", MEANWHILE)
async def test_halt_when_the_place_changed_while_the_guard_runs_then_it_is_not_acknowledged_and_all_is_denied(
    left: Path, clock: ManualClock, happens: Callable[[Path], None]
) -> None:
    async with running(left, clock) as guard:
        guard.publish(ETH, seconds=3)
        await guard.engine.durable()
        happens(left / "state")
        with pytest.raises(EngineFailed, match="is not what the guard opened any more"):
            await guard.halt("too late", ETH)
        with pytest.raises(EngineFailed):
            guard.asked(ETH)
        assert "is not what the guard opened any more" in guard.engine.ready()[0]


@pytest.mark.parametrize("happens", [deleted, journal_replaced, lock_deleted])
async def test_idle_guard_when_the_place_changed_then_it_notices_without_an_input(
    left: Path, clock: ManualClock, happens: Callable[[Path], None]
) -> None:
    async with running(left, clock) as guard:
        await guard.engine.durable()
        happens(left / "state")
        with pytest.raises(EngineFailed, match="is not what the guard opened any more"):
            await until_failed(guard.engine.durable)


async def until_failed(durable: Callable[[], Awaitable[None]]) -> None:
    """Ask for what is on the disk already, until the journal has looked at its place: it does each second."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        await durable()
        await asyncio.sleep(0.02)


def without_log(state: Path) -> None:
    """A crash, and somebody tidies up."""
    (state / WAL_NAME).unlink()


def without_journal(state: Path) -> None:
    for name in (JOURNAL_NAME, WAL_NAME):
        (state / name).unlink(missing_ok=True)


def without_journal_and_anchor(state: Path) -> None:
    without_journal(state)
    anchor_deleted(state)


def without_anchor(state: Path) -> None:
    anchor_deleted(state)


def copy_of_the_file_alone(state: Path) -> None:
    content = (state / JOURNAL_NAME).read_bytes()
    shutil.rmtree(state)
    state.mkdir()
    (state / JOURNAL_NAME).write_bytes(content)


def with_an_older_journal(state: Path) -> None:
    """The journal as it was before the last halts, from a backup, beside the anchor of now."""
    without_journal(state)
    shutil.copy(state.parent / "older.db", state / JOURNAL_NAME)


def with_a_damaged_anchor(state: Path) -> None:
    (state / ANCHOR_NAME).write_bytes(b"\0" * 1024)


def with_the_anchor_of_another(state: Path) -> None:
    path = state / ANCHOR_NAME
    anchor = read_anchor(state)
    assert anchor is not None
    path.write_bytes(type(anchor)("another", anchor.ends).packed())


ABSENT: dict[Callable[[Path], None], str] = {
    without_log: "chain ends at record",
    without_journal: "records that this directory held is gone",
    without_journal_and_anchor: "the journal that this directory held is gone",
    without_anchor: f"the file {ANCHOR_NAME} beside it is gone",
    copy_of_the_file_alone: f"the file {ANCHOR_NAME} beside it is gone",
    with_an_older_journal: "chain ends at record",
    with_a_damaged_anchor: "it is damaged, so nothing says how far the journal went",
    with_the_anchor_of_another: "it is not the journal that this directory held, another",
}


@pytest.fixture(name="crashed")
async def _crashed(left: Path, clock: ManualClock, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as a crash leaves it: halts that were acknowledged are in the log alone."""
    crashed = tmp_path_factory.mktemp("crashed")
    shutil.copy(left / "state" / JOURNAL_NAME, crashed / "older.db")
    async with running(left, clock) as guard:
        for number in range(5):
            await guard.halt(f"drill-{number}", ETH)
        shutil.copytree(left / "state", crashed / "state")
    return crashed


@pytest.mark.parametrize("happens", ABSENT)
async def test_start_when_something_of_the_journal_is_missing_then_it_refuses_and_allows_nothing(
    crashed: Path, clock: ManualClock, happens: Callable[[Path], None]
) -> None:
    happens(crashed / "state")
    for _ in range(2):  # and refusing does not mend it
        async with running(crashed, clock) as guard:
            assert ABSENT[happens] in guard.engine.ready()[0]
            assert "circuit-guard journal adopt" in guard.engine.ready()[0]
            with pytest.raises(EngineRefuses):
                guard.asked(ETH)
    if (crashed / "state" / JOURNAL_NAME).exists():
        with JournalReader(crashed / "state") as reader:
            assert not reader.verify().ok, "and `journal verify` says the same"
    elif (crashed / "state" / ANCHOR_NAME).exists():
        with pytest.raises(JournalUnusable, match=re.escape(ABSENT[happens])):
            JournalReader(crashed / "state")


@pytest.mark.parametrize("happens", ABSENT)
async def test_adopt_when_something_is_missing_for_good_then_the_guard_goes_on_and_the_journal_says_who_did(
    crashed: Path, clock: ManualClock, happens: Callable[[Path], None]
) -> None:
    happens(crashed / "state")
    command = ("journal", "adopt", str(crashed / "state"), "--actor", "alice", "--reason", "the disk is gone")
    done = run(*command)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "Halt again what was halted" in done.stdout
    again = run(*command)
    assert (again.exit_code, "nothing is missing" in again.stderr) == (1, True)
    clock.advance(3600 * 24 * 365)  # adopting is stamped with the clock of the machine
    async with running(crashed, clock) as guard:
        assert guard.engine.failure is None
        assert guard.asked(BTC)[0] is Verdict.DENY
    shown = run("journal", "show", str(crashed / "state"), "--kind", "fact").stdout
    assert "journal adopted as it is by alice: the disk is gone (" in shown


async def test_adopt_when_the_policy_wants_two_to_resume_then_it_wants_two_here_too(
    left: Path, clock: ManualClock
) -> None:
    (left / "policy.toml").write_text(policy_text() + '\n[guard]\ntwo_actors = ["resume"]\n')
    async with running(left, clock) as guard:
        assert guard.engine.policy.two_actors
    (left / "state" / ANCHOR_NAME).unlink()
    command = ("journal", "adopt", str(left / "state"), "--actor", "alice", "--reason", "lost")
    for second in ((), ("--second", "alice")):
        refused = run(*command, *second)
        assert (refused.exit_code, "expected another actor than --actor" in refused.stderr) == (1, True)
    assert run(*command, "--second", "bob").exit_code == 0
    assert "by alice and bob: lost" in run("journal", "show", str(left / "state"), "--kind", "fact").stdout


async def test_start_when_half_an_anchor_was_written_then_the_one_before_counts(
    crashed: Path, clock: ManualClock
) -> None:
    path = crashed / "state" / ANCHOR_NAME
    newest = read_anchor(crashed / "state")
    assert newest is not None
    content = bytearray(path.read_bytes())
    place = newest.generation % 2 * 512
    content[place + 40 : place + 512] = b"\0" * 472
    path.write_bytes(bytes(content))
    async with running(crashed, clock) as guard:
        assert (guard.halted(ETH), guard.halted(BTC)) == ("drill-4", HALT)


@pytest.mark.parametrize("name", ["hard link", "symlink", "without its lock file"])
async def test_second_guard_when_it_opens_the_journal_by_another_name_then_it_is_refused(
    left: Path, clock: ManualClock, name: str
) -> None:
    other = left / "other"
    async with running(left, clock) as guard:
        (other / "state").mkdir(parents=True)
        if name == "hard link":
            os.link(left / "state" / JOURNAL_NAME, other / "state" / JOURNAL_NAME)
        elif name == "symlink":
            (other / "state" / JOURNAL_NAME).symlink_to(left / "state" / JOURNAL_NAME)
        else:
            (other / "state").rmdir()
            (other / "state").symlink_to(left / "state")
            (left / "state" / LOCK_NAME).unlink()
        with pytest.raises(StateDirectoryHeld, match="another guard uses this journal"):
            async with running(other, clock):
                pytest.fail("two guards on one journal")
        assert name == "without its lock file" or guard.halted(BTC) == HALT


@pytest.fixture(name="hang")
def _hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Return what to clear for the disk to hang, and to set for it to go on."""
    goes_on, sync = threading.Event(), os.fdatasync
    goes_on.set()

    def fdatasync(descriptor: int) -> None:
        goes_on.wait()
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    yield goes_on
    goes_on.set()


async def test_disk_when_it_hangs_then_nothing_is_answered_after_the_limit_until_it_writes_again(
    left: Path, clock: ManualClock, hang: threading.Event
) -> None:
    async with running(left, clock) as guard:
        guard.publish(ETH, seconds=40)
        await guard.engine.durable()
        hang.clear()
        guard.publish(ETH)
        with pytest.raises(JournalStalled, match=r"has not written a record for 3\.\d s, expected at most 3 s"):
            await until_stalled(guard.engine.room)
        assert "the journal's disk has not written a record for" in guard.engine.ready()[0]
        hang.set()
        await guard.engine.durable()
        await guard.engine.room()
        assert guard.engine.ready() == []
        assert guard.asked(ETH)[0] is Verdict.ALLOW


async def until_stalled(room: Callable[[], Awaitable[None]]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        await room()
        await asyncio.sleep(0)
