"""An evaluation for people: every guard's sum, our own figures by fault, and all guards side by side by fault."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple
from decimal import Decimal
from statistics import median

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from circuit_guard.core.types import SECOND_NS
from circuit_guard.evaluation.dispersion import Dispersion
from circuit_guard.evaluation.outcome import Evaluation, Tally
from circuit_guard.recording.format import Label

EXAMPLES_SHOWN_MAX = 20

COLUMNS = (
    "runs",
    "wrongful",
    "allowed inside limit",
    "quote",
    "outside limit",
    "allowed",
    "quote",
    "genuine",
    "at once",
    "on retry",
    "held",
    "through a halt",
    "noticed",
    "after obs.",
    "after closures",
    "false trips",
    "halted",
    "bad debt",
)


def render(evaluation: Evaluation) -> RenderableType:
    """Return the tables. `outcome.Tally` says what each figure means."""
    parts = [_guards(evaluation), *_by_fault(evaluation), *_side_by_side(evaluation)]
    parts += [table for table in (_differences(evaluation), *_examples(evaluation)) if table is not None]
    return Group(*parts)


def _guards(evaluation: Evaluation) -> Table:
    recordings = ", ".join(evaluation.recordings)
    title = f"All faults, seeds for each: {evaluation.seeds}, dispersion: {_dispersion(evaluation)}, on {recordings}"
    table = _table(title, "guard", COLUMNS)
    for guard in evaluation.guards:
        table.add_row(escape(guard.guard), *_cells(guard.total()))
    return table


def _dispersion(evaluation: Evaluation) -> str:
    if evaluation.dispersion is Dispersion.RECORDED or not evaluation.as_recorded:
        return evaluation.dispersion.value
    kept = ", ".join(evaluation.as_recorded)
    return f"{evaluation.dispersion.value} (as recorded where a window has fewer than three venues: {kept})"


def _by_fault(evaluation: Evaluation) -> Iterator[Table]:
    """Yield a table for each guard that has a policy, one row per fault."""
    for used in evaluation.policies:
        guard = next(guard for guard in evaluation.guards if guard.guard == used.guard)
        table = _table(f"{used.guard} under {used.file}, by fault", "fault", COLUMNS)
        for kind, tally in guard.by_kind.items():
            table.add_row(kind, *_cells(tally))
        yield table


def _side_by_side(evaluation: Evaluation) -> Iterator[Table]:
    shares = (
        (
            "Wrongful closures outside the limit that were allowed, of those asked for",
            "wrongful_outside",
            "wrongful_beyond",
        ),
        ("Genuine closures still denied after 12 s, of those asked for", "genuine_denied", "genuine"),
    )
    for title, part, whole in shares:
        table = _table(title, "fault", tuple(guard.guard for guard in evaluation.guards))
        for kind in evaluation.kinds:
            tallies = (guard.by_kind.get(kind) for guard in evaluation.guards)
            cells = ("" if each is None else f"{getattr(each, part)}/{getattr(each, whole)}" for each in tallies)
            table.add_row(kind, *cells)
        yield table


def _cells(tally: Tally) -> tuple[str, ...]:
    halted = tally.halted_market_ns / tally.market_ns if tally.market_ns else 0
    return (
        str(tally.runs),
        str(tally.wrongful),
        str(tally.wrongful_inside),
        _amount(tally.loss_inside),
        str(tally.wrongful_beyond),
        str(tally.wrongful_outside),
        _amount(tally.loss_outside),
        str(tally.genuine),
        str(tally.genuine_at_once),
        str(tally.genuine_on_retry),
        str(tally.genuine_denied),
        f"{tally.halted_allowed}/{tally.halted_asked}",
        f"{len(tally.observations_before)}/{tally.faults}",
        _spread(tally.observations_before),
        _spread(tally.closures_before),
        str(tally.honest_trips),
        f"{halted:.1%} ({tally.halted_market_ns // SECOND_NS:,} s)",
        _amount(tally.bad_debt),
    )


def _differences(evaluation: Evaluation) -> Table | None:
    columns = ("closures", "allowed only by policy", "allowed only by against", "for instance")
    table = _table("What --against would change", "fault", ("label", *columns))
    for kind, difference in evaluation.differences.items():
        for label, changed in difference.changed.items():
            if not changed.allowed_only_by_policy and not changed.allowed_only_by_against:
                continue
            first = next((example for example in difference.examples if example["label"] == label.value), None)
            shown = f"{first['request_id']} of seed {first['seed']} on {first['recording']}" if first else ""
            table.add_row(kind, label.value, *map(str, astuple(changed)), escape(shown))
    return table if table.row_count else None


def _examples(evaluation: Evaluation) -> Iterator[Table | None]:
    """Yield what the guards with a policy got wrong: wrongful ones allowed first."""
    for used in evaluation.policies:
        guard = next(guard for guard in evaluation.guards if guard.guard == used.guard)
        columns = ("fault", "seed", "at", "check", "truth", "outcome", "true surplus", "limit", "reasons")
        table = _table(f"Answers of {used.guard} that disagree with the truth", "recording", columns)
        examples = sorted(guard.total().examples, key=lambda example: example["label"] == Label.GENUINE)
        for row in examples[:EXAMPLES_SHOWN_MAX]:
            keys = ("recording", "fault", "seed", "at", "request_id", "label", "outcome", "true_surplus", "limit")
            cells = ["" if row[key] is None else str(row[key]) for key in keys]
            table.add_row(*map(escape, [*cells, ", ".join(row["reasons"])]))
        yield table if table.row_count else None


def _table(title: str, first: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _amount(amount: Decimal) -> str:
    return f"{amount:,.0f}"


def _spread(counts: Sequence[int]) -> str:
    return f"{median(counts):g} (max {max(counts)})" if counts else ""
