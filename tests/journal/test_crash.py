"""kill -9 at any instant: whatever somebody was told is durable is there afterwards, and the next process goes on."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from circuit_guard.core.facts import HaltChanged
from circuit_guard.journal.codec import decode
from circuit_guard.journal.reader import JournalReader
from circuit_guard.journal.record import Kind
from tests.journal.conftest import Opened

pytestmark = pytest.mark.system

KILLS = 10
ROOT = Path(__file__).parents[2]


def test_writer_when_killed_again_and_again_then_nothing_durable_is_lost(tmp_path: Path) -> None:
    acknowledged: dict[int, str] = {}
    for kill in range(KILLS):
        lines = random.Random(kill).randint(1, 120)  # noqa: S311  # any instant will do
        acknowledged |= written_until_killed(tmp_path, lines)
        with JournalReader(tmp_path) as reader:
            report = reader.verify()
            assert report.ok, report.problem
            assert report.last_sequence >= max(acknowledged, default=0)
            halts = [decode(record.payload) for record in reader.records(kinds=(Kind.FACT,))]
            assert {halt.reason for halt in halts if isinstance(halt, HaltChanged)} >= set(acknowledged.values())
    with Opened(tmp_path)(block_records=100) as journal:
        assert journal.status().last_sequence >= max(acknowledged)
    assert len(acknowledged) > 10 * KILLS


def written_until_killed(directory: Path, lines: int) -> dict[int, str]:
    """Let a process write until it has printed so many lines, kill it, and return all that it was told is durable."""
    command = [sys.executable, "-m", "tests.journal.crash_writer", str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        printed = [writer.stdout.readline() for _ in range(lines)]
        writer.kill()
        printed += writer.stdout.read().splitlines()
    told = [line.split(maxsplit=2) for line in printed if line.startswith("durable") and "halt" in line]
    return {int(sequence): reason.strip() for _, sequence, reason in told}
