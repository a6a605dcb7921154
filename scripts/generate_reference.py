"""Write docs/reference.md from the code: every reason, every metric, every command. `--check` only compares."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import typer
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from circuit_guard.cli.main import command_line
from circuit_guard.client.metrics import ClientMetrics
from circuit_guard.core.formatting import LIFTED_BY
from circuit_guard.core.reasons import REASONS, rule_of
from circuit_guard.telemetry.families import Families
from circuit_guard.telemetry.plain import Family

REFERENCE = Path(__file__).parent.parent / "docs" / "reference.md"

HEAD = """# Reasons, metrics, commands

Written by `scripts/generate_reference.py` from the code; a test fails when it is out of date.

## Reasons

A reason is a stable code on the wire, in the log and as a metric label. What to do about each is in the
[runbook](runbook.md#the-reasons). A finding of severity LATCH is always lifted by
an operator (`circuit-guard reset`), whatever the table says.

| reason | rule | meaning | ended by |
| --- | --- | --- | --- |
"""

METRICS_HEAD = """

## Metrics

Those of `circuit_guard_client` are exported by the client library, in the process of the liquidation engine.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
"""


COMMANDS_HEAD = """
## Commands

`--help` after each says more: its options, its exit codes.

| command | what it does |
| --- | --- |
"""


def reference() -> str:
    """Return the whole page."""
    rows = [
        f"| `{reason}` | {rule_of(reason)} | {REASONS[reason].sentence} | {LIFTED_BY[REASONS[reason].ends[0]]} |"
        for reason in REASONS
    ]
    return HEAD + "\n".join(rows) + METRICS_HEAD + metrics() + COMMANDS_HEAD + commands()


def metrics() -> str:
    """Return the rows of the metrics table."""
    registry = CollectorRegistry()
    Families(registry)
    ClientMetrics(registry=registry)
    rows = []
    for metric in cast("Iterable[Family | MetricWrapperBase]", registry._collector_to_names):
        label_names = metric.label_names if isinstance(metric, Family) else metric._labelnames
        for family in metric.describe():
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in label_names)
            rows.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(sorted(rows)) + "\n"


def commands() -> str:
    """Return the rows of the table of commands, each group's after one another."""
    return "\n".join(_commands("circuit-guard", typer.main.get_command(command_line()))) + "\n"


def _commands(called: str, command: Any) -> Iterator[str]:
    if not hasattr(command, "commands"):
        sentence = " ".join((command.help or "").partition("\n\n")[0].split())
        yield f"| `{called}` | {sentence} |"
        return
    for name, inner in sorted(command.commands.items()):
        yield from _commands(f"{called} {name}", inner)


def main() -> int:
    """Write the page, or with --check say whether it is up to date."""
    text = reference()
    if "--check" not in sys.argv:
        REFERENCE.write_text(text)
        return 0
    if REFERENCE.read_text() == text:
        return 0
    print(f"{REFERENCE.name} is out of date: run `make reference`")
    return 1


if __name__ == "__main__":
    sys.exit(main())
