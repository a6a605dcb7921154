"""A FIFO, a socket, a device or a directory in place of a file of the state: refused at once, and never waited for."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from circuit_guard.journal.errors import JournalUnusable
from circuit_guard.journal.journal import Journal, missing
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.place import LOCK_NAME, STATE_NAMES, held
from circuit_guard.journal.reader import FILE_NAMES, JournalReader
from tests.attacks.files_in_the_way import device, directory, fifo, fifo_behind_links, listening, terminal
from tests.attacks.process import ENDS_WITHIN_S, AttackedGuard
from tests.driver import START_NS

IN_THE_WAY: dict[Callable[[Path], None], str] = {
    fifo: "is a FIFO",
    directory: "is a directory",
    device: "is a device",
    terminal: "is a device",
    listening: "is a socket",
    fifo_behind_links: "is a FIFO",
}
WITHIN_S = 1.0


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a state directory that a guard has left."""
    left = tmp_path / "state"
    Journal(left, START_NS, JournalOptions()).close()
    return left


def put_in_the_way(put: Callable[[Path], None], path: Path) -> None:
    path.unlink(missing_ok=True)
    put(path)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("put", IN_THE_WAY)
@pytest.mark.parametrize("name", STATE_NAMES)
def test_start_when_something_else_lies_in_place_of_a_file_then_it_is_refused_at_once(
    state: Path, name: str, put: Callable[[Path], None]
) -> None:
    put_in_the_way(put, state / name)
    began = time.monotonic()
    with pytest.raises(JournalUnusable, match=f"{name}: {IN_THE_WAY[put]}, expected a regular file; put back"):
        Journal(state, START_NS, JournalOptions())
    assert time.monotonic() - began < WITHIN_S


@pytest.mark.timeout(30)
@pytest.mark.parametrize("put", [fifo, directory, device])
@pytest.mark.parametrize("name", FILE_NAMES)
def test_reading_when_something_else_lies_in_place_of_a_file_then_it_is_refused_at_once(
    state: Path, name: str, put: Callable[[Path], None]
) -> None:
    put_in_the_way(put, state / name)
    for read in (JournalReader, missing):
        with pytest.raises(JournalUnusable, match=IN_THE_WAY[put]):
            read(state)


@pytest.mark.timeout(30)
def test_lock_when_a_fifo_takes_its_place_in_an_empty_directory_then_nobody_waits_for_it(tmp_path: Path) -> None:
    fifo(tmp_path / LOCK_NAME)
    with pytest.raises(JournalUnusable, match="is a FIFO"), held(tmp_path, START_NS):
        raise AssertionError("held")
    assert missing(tmp_path) == "the journal itself"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", STATE_NAMES)
async def test_guard_when_a_fifo_lies_in_place_of_a_file_then_it_says_why_and_still_ends_when_told(
    tmp_path: Path, state: Path, name: str
) -> None:
    put_in_the_way(fifo, state / name)
    guard = AttackedGuard(tmp_path)
    try:
        await guard.logged(f"{name}: is a FIFO, expected a regular file")
        assert await guard.end() < ENDS_WITHIN_S
    finally:
        guard.kill()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("command", ["verify", "show"])
def test_command_when_a_fifo_lies_in_place_of_the_journal_then_it_says_so(state: Path, command: str) -> None:
    shutil.copytree(state, copy := state.with_name("copy"))
    put_in_the_way(fifo, copy / FILE_NAMES[0])
    arguments = [sys.executable, "-m", "circuit_guard", "journal", command, str(copy)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "is a FIFO, expected a regular file" in done.stdout + done.stderr
