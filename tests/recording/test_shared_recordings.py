"""Two of the recordings of real price paths; `make recordings` runs all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from circuit_guard.config.policy import read_policy_file
from circuit_guard.recording.replay import replay_file
from circuit_guard.recording.score import ReplayResult

pytestmark = pytest.mark.system

POLICY = Path(__file__).parents[2] / "config" / "policy.toml"


def replayed(shared_data: Path, name: str) -> ReplayResult:
    path = shared_data / "recordings" / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    return replay_file(path, read_policy_file(POLICY))


def test_crash_of_august_2024_when_replayed_then_every_closure_flows(shared_data: Path) -> None:
    result = replayed(shared_data, "genuine-2024-08-05")
    assert result.genuine == {"allow": 72}
    assert (result.trips, result.halted_market_ns) == ([], 0)


def test_marks_at_zero_when_replayed_then_no_closure_passes(shared_data: Path) -> None:
    result = replayed(shared_data, "fault-mark-zero")
    assert result.wrongful == {"deny": 151}
    [fault] = result.faults
    assert fault.checks_before_detection == 0
