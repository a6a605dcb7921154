"""The documentation says what the code does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from circuit_guard.cli.main import command_line
from circuit_guard.core.rulebook import RULES

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def test_reference_when_reasons_or_metrics_change_then_it_is_written_anew() -> None:
    script = [sys.executable, "scripts/generate_reference.py", "--check"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_when_it_links_to_a_file_then_the_file_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_readme_when_it_shows_a_command_then_the_command_exists() -> None:
    known = set(typer.main.get_command(command_line()).commands)  # type: ignore[attr-defined]
    shown = {word for page in PAGES for word in re.findall(r"circuit-guard ([a-z]+)", page.read_text())}
    assert shown <= known
    assert {"serve", "replay", "status", "demo"} <= shown


def test_design_when_a_rule_exists_then_its_table_names_it() -> None:
    design = (ROOT / "docs" / "design.md").read_text()
    assert [rule for rule in RULES if f"| {rule} |" not in design] == []
