"""Write docs/reference.md from the code: every reason and every metric. `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

from prometheus_client import CollectorRegistry

from circuit_guard.core.reasons import REASONS, Reason
from circuit_guard.core.types import Lift
from circuit_guard.telemetry.families import Families

REFERENCE = Path(__file__).parent.parent / "docs" / "reference.md"

LIFTS = {
    Lift.FRESH_DATA: "the next good data",
    Lift.EVIDENCE: "good data that last",
    Lift.CALLER: "the caller, by asking with other values",
    Lift.EXCHANGE: "the exchange, by entering another phase",
    Lift.OPERATOR: "an operator",
}

HEAD = """# Reasons and metrics

Written by `scripts/generate_reference.py` from the code; a test fails when it is out of date.

## Reasons

A reason is a stable code on the wire, in the log and as a metric label. A finding of severity LATCH is always lifted by
an operator (`circuit-guard reset`), whatever the table says.

| reason | rule | meaning | ended by |
| --- | --- | --- | --- |
"""


METRICS_HEAD = """

## Metrics

| metric | type | labels | meaning |
| --- | --- | --- | --- |
"""


def reference() -> str:
    """Return the whole page."""
    rows = [
        f"| `{reason}` | {REASONS[reason].rule} | {REASONS[reason].sentence} | {LIFTS[REASONS[reason].lift]} |"
        for reason in Reason
    ]
    return (
        HEAD
        + "\n".join(rows)
        + "\n\n## Metrics\n\n| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n"
        + metrics()
    )


def metrics() -> str:
    """Return the rows of the metrics table."""
    families = Families(CollectorRegistry())
    rows = []
    for metric in vars(families).values():
        described = getattr(metric, "describe", None)
        if described is None:
            continue
        for family in described():
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            rows.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(sorted(rows)) + "\n"


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
