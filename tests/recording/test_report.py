"""The report for people says what the JSON says."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from rich.console import Console

from circuit_guard.config.policy import PolicyFile
from circuit_guard.recording.format import Label
from circuit_guard.recording.replay import replay_files
from circuit_guard.recording.report import render
from tests.recording.feed import Feed

BUNDLED = Path(__file__).parents[2] / "examples" / "incident.jsonl.gz"


def rendered(paths: list[Path], policy_file: PolicyFile) -> str:
    screen = StringIO()
    Console(width=200, file=screen).print(render(replay_files(paths, policy_file)))
    return screen.getvalue()


def row_of(text: str, *starts: str) -> list[str]:
    """Return the cells of the first row that begins with these."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    return next(row for row in rows if tuple(row[: len(starts)]) == starts)


def test_report_when_one_file_then_shows_score_faults_trips_and_reasons(policy_file: PolicyFile) -> None:
    text = rendered([BUNDLED], policy_file)
    assert row_of(text, "incident.jsonl.gz")[1:6] == ["4,090", "54/54", "25/25", "25/25", "3"]
    assert row_of(text, "incident.jsonl.gz", "funding_reset")[2:] == ["BTC-USD-PERP, BERA-USD-PERP", "0.2 s", "0"]
    assert row_of(text, "incident.jsonl.gz", "2026-01-19T04:33:00.228Z")[3:] == ["funding_jump", "LATCH"]
    assert "Why closures were denied" in text
    assert "disagree with the truth" not in text
    assert "total" not in text


def test_report_when_answers_disagree_with_the_truth_then_shows_examples(
    tmp_path: Path, policy_file: PolicyFile
) -> None:
    cold = Feed().run(1).check("[red]r-1[/]", Label.GENUINE).fault("never", 1).write(tmp_path, "cold.jsonl")
    warm = Feed().run(60).check("r-2", Label.GENUINE).write(tmp_path, "warm.jsonl")
    text = rendered([cold, warm], policy_file)
    assert row_of(text, "cold.jsonl", "2026-01-19T04:30:00.5Z")[2:5] == ["[red]r-1[/]", "genuine", "deny"]
    assert row_of(text, "total")[3] == "1/2"
    assert row_of(text, "cold.jsonl", "never")[3] == "not noticed"


def test_report_when_there_is_nothing_to_score_then_still_renders(tmp_path: Path, policy_file: PolicyFile) -> None:
    text = rendered([Feed().run(1).write(tmp_path)], policy_file)
    assert row_of(text, "recording.jsonl")[1:] == ["4", "0/0", "0/0", "0/0", "0", "0.0%"]
