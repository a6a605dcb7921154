"""A replay's outcome for people: the score, what tripped, how fast faults were noticed, why closures were denied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

SHOWN_MAX = 20

ReplayJson = Mapping[str, Any]
"""The JSON object that `replay_files` returns."""


def render(result: ReplayJson) -> RenderableType:
    """Return tables for a terminal. Where closures went wrong, examples follow with their reasons."""
    files = result.get("files", [result])
    rows = [*files, {"file": "total", **result["total"]}] if "total" in result else files
    parts = [_score(rows), _faults(files), _trips(files), _reasons(rows[-1]), _examples(files)]
    return Group(*(part for part in parts if part is not None))


def _score(rows: Iterable[ReplayJson]) -> Table:
    table = _table("Score", "recording")
    for title in ("inputs", "wrongful denied", "genuine allowed", "at once", "trips", "halted"):
        table.add_column(title, justify="right")
    for row in rows:
        wrongful, genuine = row["labelled"]["wrongful"], row["labelled"]["genuine"]
        allowed = genuine["allow"] + genuine["allow_on_retry"]
        halted = row["halted_market_seconds"] / row["market_seconds"] if row["market_seconds"] else 0
        _add_row(
            table,
            _name(row),
            f"{row['inputs']:,}",
            _share(wrongful["deny"], wrongful),
            _share(allowed, genuine),
            _share(genuine["allow"], genuine),
            str(len(row["trips"])),
            f"{halted:.1%}",
        )
    return table


def _faults(files: Iterable[ReplayJson]) -> Table | None:
    table = _table("Faults", "recording", "fault", "markets", "noticed after", "checks before")
    for file in files:
        for fault in file["faults"]:
            noticed = "not noticed"
            if fault["detected_at"] is not None:
                elapsed = datetime.fromisoformat(fault["detected_at"]) - datetime.fromisoformat(fault["at"])
                noticed = f"{elapsed.total_seconds():.1f} s"
            markets = ", ".join(fault["markets"])
            _add_row(table, _name(file), fault["kind"], markets, noticed, str(fault["checks_before_detection"]))
    return table if table.row_count else None


def _trips(files: Iterable[ReplayJson]) -> Table | None:
    table = _table("Breakers opened (denying)", "recording", "at", "scope", "reason", "severity")
    trips = [(file, trip) for file in files for trip in file["trips"]]
    for file, trip in trips[:SHOWN_MAX]:
        _add_row(table, _name(file), trip["at"], trip["scope"], trip["reason"], trip["severity"])
    if len(trips) > SHOWN_MAX:
        table.caption = f"and {len(trips) - SHOWN_MAX} more, see the JSON"
    return table if table.row_count else None


def _reasons(row: ReplayJson) -> Table | None:
    table = _table("Why closures were denied", "reason", "answers")
    for reason, count in row["decisions"]["denied_by_reason"].items():
        _add_row(table, reason, str(count))
    return table if table.row_count else None


def _examples(files: Iterable[ReplayJson]) -> Table | None:
    table = _table("Answers that disagree with the truth", "recording", "at", "check", "truth", "outcome", "reasons")
    examples = [(file, example) for file in files for example in file["examples"]]
    for file, example in examples[:SHOWN_MAX]:
        reasons = ", ".join(example["reasons"])
        outcome = example["outcome"].replace("_", " ")
        _add_row(table, _name(file), example["at"], example["request_id"], example["label"], outcome, reasons)
    return table if table.row_count else None


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", title_style="bold")


def _add_row(table: Table, *cells: str) -> None:
    """Add a row as it is: names in a recording are no markup."""
    table.add_row(*map(escape, cells))


def _name(row: ReplayJson) -> str:
    return str(row["file"]).rpartition("/")[2]


def _share(part: int, outcomes: Mapping[str, int]) -> str:
    return f"{part}/{sum(outcomes.values())}"
