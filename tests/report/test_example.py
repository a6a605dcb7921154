"""The committed example reports are what the code writes today, and the page about them quotes them."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.report.recorded import ROOT

EXAMPLES = ROOT / "examples" / "incident_report"


@pytest.mark.system
def test_examples_when_the_report_changes_then_they_are_written_anew() -> None:
    script = [sys.executable, "scripts/generate_incident_report.py", "--check"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_page_when_it_shows_a_report_then_the_lines_are_those_of_the_example() -> None:
    page = (ROOT / "docs" / "incident_report.md").read_text()
    example = (EXAMPLES / "shadow" / "report.md").read_text().splitlines()
    [excerpt] = re.findall(r"````markdown\n(.*?)````", page, re.DOTALL)
    lines = [line for line in excerpt.splitlines() if line not in ("", "...")]
    assert len(lines) > 20
    assert [line for line in lines if line not in example] == []
