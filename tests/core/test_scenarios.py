"""The scenarios: the specification of the core that a risk officer can review."""

from __future__ import annotations

import os
import re
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


def verdicts(text: str) -> list[str]:
    """Return the answers to the checks and orders of a scenario, in order."""
    return re.findall(r"^(?:ALLOW|DENY)\b", text, re.MULTILINE)


@pytest.mark.system
@pytest.mark.parametrize("path", SCENARIOS, ids=[path.stem for path in SCENARIOS])
def test_scenario_when_every_later_rule_runs_too_then_no_answer_turns(path: Path) -> None:
    """A rule that turns a genuine closure from ALLOW to DENY is found here: narrow the rule, not the scenario."""
    assert verdicts(rewritten(path.read_text(), later=True)) == verdicts(path.read_text())
