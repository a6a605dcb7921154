"""The documentation has everything that on-call can meet: each alert, reason, metric and command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from circuit_guard.cli.main import command_line
from circuit_guard.core.reasons import REASONS
from tests.prometheus.described import ROOT, alerts, exported

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ALL = "\n".join(page.read_text() for page in PAGES)


def sections(text: str) -> dict[str, str]:
    """Return what stands under each heading of the third level."""
    parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)
    return {name.strip("`"): body for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def assert_in_order(section: str) -> None:
    """Expect what it means, then numbered steps, then what not to do, then who may lift it, and nothing else."""
    section = section.split("\n## ")[0].strip()
    order = r"[A-Z](?:[^\n]|\n(?!\n))+\n\nDo this:\n\n1\. .+?(\n\nDo not: .+?)?\n\nWho may lift it: [^\n].+\."
    assert re.fullmatch(order, section, flags=re.DOTALL), section
    for part in ("Do this:", "Do not:", "Who may lift it:"):
        assert section.count(part) <= 1, f"{part} stands there twice"
    steps = re.findall(r"^(\d+)\. ", section, flags=re.MULTILINE)
    assert steps == [str(number) for number in range(1, len(steps) + 1)]


def anchors(text: str) -> set[str]:
    """Return the anchor of each heading, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands() -> Iterator[str]:
    """Return every command, with its group before it."""
    groups = [("", typer.main.get_command(command_line()))]
    while groups:
        before, group = groups.pop()
        assert isinstance(group, TyperGroup)
        for name, command in group.commands.items():
            if isinstance(command, TyperGroup):
                groups.append((f"{before}{name} ", command))
            else:
                yield f"{before}{name}"


@pytest.mark.parametrize("name", sorted(alerts()))
def test_runbook_when_an_alert_exists_then_it_says_what_to_do(name: str) -> None:
    section = sections(RUNBOOK)[name]
    assert_in_order(section)
    severity = alerts()[name]["labels"]["severity"]
    assert section.strip().lower().startswith(f"{severity}, "), f"its severity is {severity}"


@pytest.mark.parametrize("reason", REASONS)
def test_runbook_when_a_reason_exists_then_it_says_what_to_do_in_a_few_lines(reason: str) -> None:
    section = sections(RUNBOOK)[reason].split("\n## ")[0].strip()
    assert_in_order(section)
    assert 4 <= len([line for line in section.splitlines() if line]) <= 9


def test_runbook_when_an_alert_or_a_reason_is_gone_then_so_is_its_section() -> None:
    assert set(sections(RUNBOOK)) == set(alerts()) | set(REASONS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_when_it_links_to_a_heading_then_the_heading_is_there(page: Path) -> None:
    missing = []
    for name, anchor in re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", page.read_text()):
        target = page.parent / name if name else page
        if anchor not in anchors(target.read_text()):
            missing.append(f"{name}#{anchor}")
    assert missing == []


def test_alerts_when_they_link_to_the_runbook_then_the_heading_is_there() -> None:
    linked = {alert["annotations"]["runbook_url"].partition("#")[2] for alert in alerts().values()}
    assert linked <= anchors(RUNBOOK)


def test_reference_when_a_metric_is_exported_then_it_is_there() -> None:
    reference = (ROOT / "docs" / "reference.md").read_text()
    bases = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exported() if name.startswith("circuit_guard_")}
    assert len(bases) > 40
    assert [name for name in sorted(bases) if f"| `{name}` |" not in reference] == []


@pytest.mark.parametrize("command", sorted(commands()))
def test_docs_when_a_command_exists_then_some_page_shows_it(command: str) -> None:
    assert re.search(rf"(circuit-guard |`){command}\b", ALL), f"no page shows circuit-guard {command}"
