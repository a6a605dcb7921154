"""The scenarios: the specification of the core that a risk officer can review."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.core.scenario_language import rewritten

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=[path.stem for path in SCENARIOS])
def test_scenario_when_run_then_the_answers_are_those_of_the_file(path: Path) -> None:
    now = rewritten(path.read_text())
    if os.environ.get("UPDATE_SCENARIOS") == "1":
        path.write_text(now)
    assert now == path.read_text()
