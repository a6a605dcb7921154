"""Blocks are made by a process of their own: it ends with the guard, and the guard outlives it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import closing, suppress
from pathlib import Path
from queue import Queue
from typing import Any, NoReturn

import pytest
import structlog
from structlog.testing import capture_logs

from benchmarks.family import children
from circuit_guard.journal.compaction import Compactor
from circuit_guard.journal.errors import RecordBroken
from circuit_guard.journal.packing import Block, build_block
from circuit_guard.journal.record import Chain
from circuit_guard.journal.store import Store, connect
from tests.journal.builders import keep, mixed
from tests.journal.conftest import Opened

ROOT = Path(__file__).parent.parent.parent
COUNT, RECORDS = 40, 100
TOO_LONG_S = 100.0
ANSWERED_WITHIN_S = 60.0
Answers = Queue[Block | Exception]

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="this system does not list a process's children"
)


@pytest.fixture(name="path")
async def _path(opened: Opened) -> Path:
    """Return a journal of plain rows."""
    with opened() as journal:
        await keep(journal, mixed(RECORDS))
    return opened.directory / "journal.db"


@pytest.fixture(name="answers")
def _answers() -> Answers:
    return Queue()


@pytest.fixture(name="compactor")
def _compactor(path: Path, answers: Answers) -> Iterator[Compactor]:
    with closing(Compactor(path, COUNT, answers.put, answers.put, again_after_s=0)) as compactor:
        yield compactor


@pytest.fixture(name="first")
def _first(compactor: Compactor, answers: Answers) -> Block | Exception:
    """Return the first answer; the process runs now."""
    compactor.ask(Chain.RECORDER)
    return answers.get(timeout=ANSWERED_WITHIN_S)


def test_block_when_the_journal_cannot_be_opened_for_a_while_then_it_is_tried_again(
    path: Path, compactor: Compactor, answers: Answers
) -> None:
    """As with too little memory, too few descriptors or a disk error: making blocks can wait, and the guard goes on."""
    away = path.with_name("away")
    path.rename(away)
    told: Queue[str] = Queue()

    def note(_logger: object, _method: str, event: MutableMapping[str, Any]) -> NoReturn:
        told.put(event["error"])
        raise structlog.DropEvent

    processors = structlog.get_config()["processors"]
    structlog.configure(processors=[note])
    try:
        compactor.ask(Chain.RECORDER)
        assert "JournalUnusable" in told.get(timeout=ANSWERED_WITHIN_S)
        away.rename(path)
        assert isinstance(answers.get(timeout=ANSWERED_WITHIN_S), Block)
    finally:
        structlog.configure(processors=processors)
    assert answers.empty()


@pytest.mark.parametrize(
    "other",
    [
        {"previous_hash": b"\1" * 32},
        {"last_hash": bytes(32)},
        {"records": COUNT + 1},
        {"first_sequence": 2},
        {"last_sequence": 30},
    ],
)
async def test_block_when_it_is_not_of_these_rows_then_the_store_sees_it(opened: Opened, other: dict[str, Any]) -> None:
    with opened() as journal:
        await keep(journal, mixed(RECORDS))
    path = opened.directory / "journal.db"
    block = build_block(path, Chain.AUDIT, COUNT)
    with closing(connect(path)) as connection:
        store = Store(connection)
        assert store.matches(block.head)
        assert not store.matches(block.head._replace(**other))


def processes_of_blocks() -> list[int]:
    """Return those that this process has started itself; it may have others, of other tests."""
    return [pid for pid in children(os.getpid()) if makes_blocks(pid)]


def makes_blocks(pid: int) -> bool:
    return b"circuit_guard.journal.packing" in Path(f"/proc/{pid}/cmdline").read_bytes()


def process_of_blocks() -> int:
    """Return the only one."""
    [pid] = processes_of_blocks()
    return pid


def oom_score_adj(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def test_block_when_asked_for_then_another_process_makes_it_and_is_gone_with_the_compactor(
    path: Path, answers: Answers
) -> None:
    with closing(Compactor(path, COUNT, answers.put, answers.put)) as compactor:
        assert not processes_of_blocks(), "nothing runs before it is needed"
        compactor.ask(Chain.RECORDER)
        assert answers.get(timeout=ANSWERED_WITHIN_S) == build_block(path, Chain.RECORDER, COUNT)
        made_by = process_of_blocks()
        assert os.getpriority(os.PRIO_PROCESS, made_by) > os.getpriority(os.PRIO_PROCESS, 0), "it is less urgent"
        assert oom_score_adj(made_by) > oom_score_adj(os.getpid()), "where memory runs out, it goes first"
    assert not processes_of_blocks()


def test_process_when_it_is_killed_then_there_is_another_and_no_block_is_missing(
    compactor: Compactor, answers: Answers, first: Block | Exception
) -> None:
    killed = process_of_blocks()
    os.kill(killed, signal.SIGKILL)
    compactor.ask(Chain.RECORDER)

    assert answers.get(timeout=ANSWERED_WITHIN_S) == first
    assert process_of_blocks() != killed


def test_process_when_the_terminal_or_systemd_tells_all_to_end_then_it_waits_for_the_guard(
    compactor: Compactor, answers: Answers, first: Block | Exception
) -> None:
    told = process_of_blocks()
    os.kill(told, signal.SIGTERM)
    os.kill(told, signal.SIGINT)
    compactor.ask(Chain.RECORDER)

    assert answers.get(timeout=ANSWERED_WITHIN_S) == first
    assert process_of_blocks() == told


@pytest.mark.parametrize("executable", ["/bin/false", "/nothing/is/here"], ids=["ends", "cannot be started"])
def test_journal_when_closed_while_there_is_no_process_then_it_does_not_wait_for_one(
    path: Path, answers: Answers, monkeypatch: pytest.MonkeyPatch, executable: str
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    compactor = Compactor(path, COUNT, answers.put, answers.put, again_after_s=TOO_LONG_S)
    compactor.ask(Chain.RECORDER)
    compactor.close()

    assert answers.empty()


def test_process_when_it_cannot_be_started_for_a_while_then_the_block_is_made_afterwards(
    compactor: Compactor, answers: Answers, path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patched, capture_logs() as logged:
        patched.setattr(sys, "executable", "/nothing/is/here")
        compactor.ask(Chain.RECORDER)
        while not logged:
            assert answers.empty()
    assert "No such file" in logged[0]["error"]
    assert answers.get(timeout=ANSWERED_WITHIN_S) == build_block(path, Chain.RECORDER, COUNT)


def test_rows_when_they_are_not_as_they_were_written_then_whoever_asked_is_told_which(
    path: Path, compactor: Compactor, answers: Answers
) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE record SET payload = payload || ' ' WHERE sequence = 3")
    chain = Chain.RECORDER
    with pytest.raises(RecordBroken) as broken:
        build_block(path, chain, COUNT)
    compactor.ask(chain)
    told = answers.get(timeout=ANSWERED_WITHIN_S)

    assert isinstance(told, RecordBroken)
    assert str(told) == str(broken.value)


@pytest.mark.system
def test_guard_when_killed_then_its_process_ends_too(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "tests.journal.crash_writer", str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as writer:
        assert writer.stdout is not None
        while not children(writer.pid):
            assert writer.stdout.readline()
        writer.kill()
        with suppress(subprocess.TimeoutExpired):
            writer.communicate(timeout=60)
            return
    pytest.fail("what it started holds the pipe: it has not ended")
