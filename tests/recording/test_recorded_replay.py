"""A journal made from a recording: as a guard would have left it, and the same each time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from circuit_guard.config.policy import PolicyFile
from circuit_guard.errors import RecordingError
from circuit_guard.journal.errors import JournalUnusable
from circuit_guard.journal.reader import JournalReader
from circuit_guard.journal.record import Kind
from circuit_guard.recording.file import write_recording
from circuit_guard.recording.format import Header
from circuit_guard.recording.replay import CHECKPOINT_INTERVAL_NS, record_replay, replay_file
from tests.report.recorded import BUNDLED


async def test_journal_when_made_then_it_proves_and_the_score_is_that_of_the_replay(
    tmp_path: Path, policy_file: PolicyFile
) -> None:
    result = await record_replay(BUNDLED, policy_file, tmp_path)

    replayed = replay_file(BUNDLED, policy_file)
    assert (result.digest, result.wrongful) == (replayed.digest, replayed.wrongful)
    with JournalReader(tmp_path) as reader:
        assert reader.verify().ok
        checkpoints = reader.checkpoints()
        decisions = sum(1 for _ in reader.records(kinds=(Kind.DECISION,)))
    assert decisions == sum(result.decisions.values())
    apart = [later.at_ns - earlier.at_ns for earlier, later in pairwise(checkpoints)]
    assert len(checkpoints) == 16
    assert max(apart) < 1.1 * CHECKPOINT_INTERVAL_NS


@pytest.mark.system
async def test_journal_when_made_twice_then_its_heads_are_the_same(tmp_path: Path, policy_file: PolicyFile) -> None:
    heads = []
    for name in ("one", "other"):
        await record_replay(BUNDLED, policy_file, tmp_path / name)
        with JournalReader(tmp_path / name) as reader:
            heads.append({chain: bounds.last for chain, bounds in reader.bounds().items()})
    assert heads[0] == heads[1]


async def test_recording_when_it_holds_nothing_then_no_journal_is_made(tmp_path: Path, policy_file: PolicyFile) -> None:
    write_recording(tmp_path / "empty.jsonl", Header(), [])

    with pytest.raises(RecordingError, match="holds nothing but its header"):
        await record_replay(tmp_path / "empty.jsonl", policy_file, tmp_path / "state")
    assert not (tmp_path / "state").exists()


async def test_directory_when_it_has_a_journal_then_that_is_left_alone(tmp_path: Path, policy_file: PolicyFile) -> None:
    (tmp_path / "journal.db").write_text("mine")

    with pytest.raises(JournalUnusable, match="there is a journal already; name another directory"):
        await record_replay(BUNDLED, policy_file, tmp_path)
    assert (tmp_path / "journal.db").read_text() == "mine"
