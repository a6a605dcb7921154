"""The benchmark of docs/performance.md runs, and prints its table and its targets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = (
    "guard, one check",
    "floor, one check",
    "guard, batch of 1,000",
    "floor, batch of 1,000",
    "core, a check",
    "observations taken",
    "corrupt observation to the first denial",
)
TARGETS = 8


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_benchmark_when_quick_then_it_measures_everything_and_judges_every_target() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", "--quick"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    for row in ROWS:
        assert any(line.startswith(f"| {row}") for line in table), f"{row} is missing:\n{done.stdout}"
    judged = [line for line in done.stdout.splitlines() if line.startswith(("- reached: ", "- MISSED: "))]
    assert len(judged) == TARGETS
    assert any(line.startswith("- reached: a corrupt observation denies the very next check") for line in judged)
