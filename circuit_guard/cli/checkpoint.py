"""`checkpoint`: what the guard kept of the markets' state."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from circuit_guard.cli import options, state_dump
from circuit_guard.cli.output import CommandError, ExitCode, display, print_json, screen, table
from circuit_guard.core import formatting
from circuit_guard.core.breaker import Breaker
from circuit_guard.core.formatting import format_time
from circuit_guard.core.inputs import StateRow
from circuit_guard.core.market import Halt, MarketState
from circuit_guard.journal.checkpoint import Checkpoint
from circuit_guard.journal.errors import CheckpointGone
from circuit_guard.journal.reader import JournalReader
from circuit_guard.journal.record import CheckpointContent

app = typer.Typer(
    help="Look at the checkpoints in a state directory, and take values out of them.", no_args_is_help=True
)

SUFFIXES = (".json", state_dump.CSV_SUFFIX)

Directory = Annotated[Path, typer.Argument(metavar="DIRECTORY", help="The state directory of a guard.")]
Id = Annotated[int, typer.Argument(metavar="ID", min=1, help="The checkpoint, as `checkpoint list` numbers it.")]


@app.command("list")
def list_(directory: Directory, json: options.Json = False) -> None:
    """Print every checkpoint, oldest first. Named ones are kept longest; the state of others may be dropped."""
    with JournalReader(directory) as reader:
        found = reader.checkpoints()
    if json:
        print_json({"directory": str(directory), "checkpoints": [_head(one) for one in found]})
        return
    if not found:
        screen(stderr=True).print("there is no checkpoint yet")
        return
    rows = ((str(one.sequence), format_time(one.at_ns), one.name, str(one.covers), one.digest) for one in found)
    display(table(screen(), "ID", "AT", "NAME", "AFTER RECORD", "SHA-256", rows=rows))


@app.command("show")
def show(directory: Directory, number: Id, json: options.Json = False) -> None:
    """Print what a checkpoint holds of each market.

    Exit code 2: there is no checkpoint with this number, or its state is no longer kept.
    """
    checkpoint, content = _read(directory, number)
    state = content.state
    markets = {name: content.state.markets[name] for name in sorted(content.policy.markets)}
    if json:
        whole = {"breaker": _breaker(state.global_breaker), "halt": _halt(state.global_halt)}
        head = {**_head(checkpoint), "policy_revision": content.policy.revision, "global": whole}
        print_json({**head, "markets": [_market(name, market) for name, market in markets.items()]})
        return
    name = f", {checkpoint.name}" if checkpoint.name else ""
    display(Text(f"checkpoint {number}{name}, of {format_time(checkpoint.at_ns)}", style="bold"))
    display(f"SHA-256 {checkpoint.digest}, policy {content.policy.revision}")
    halted = f", halted by {halt.actor}: {halt.reason}" if (halt := state.global_halt) else ""
    display(f"GLOBAL breaker {_breaker_words(state.global_breaker)}{halted}")
    rows = []
    for name, market in markets.items():
        stands = (market.phase.effective(), _breaker_words(market.breaker), market.halt.actor if market.halt else "")
        rows.append((name, *stands, *(value or "none" for value in _values(market).values()), _as_of(market)))
    columns = ("MARKET", "PHASE", "BREAKER", "HALT", "MARK", "INDEX", "FUNDING INDEX", "AS OF")
    display(table(screen(), *columns, rows=rows))


@app.command("export")
def export(
    directory: Directory,
    number: Id,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write: .json or .csv.")],
) -> None:
    """Write the trusted values of a checkpoint as a dump, which `maintenance validate` reads."""
    if output.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(f"--output was {output}, expected a name that ends in {' or '.join(SUFFIXES)}")
    _, content = _read(directory, number)
    markets = {name: content.state.markets[name] for name in sorted(content.policy.markets)}
    trusted = {name: market for name, market in markets.items() if _as_of_ns(market)}
    rows = []
    for name, market in trusted.items():
        values = market.trusted
        rows.append(StateRow(name, _as_of_ns(market), values.mark_price, values.index_price, values.funding_index))
    state_dump.write(rows, output)
    screen().print(f"{output}: {formatting.markets(len(trusted))}", style="green")
    if left_out := [name for name in markets if name not in trusted]:
        screen(stderr=True).print(f"left out, because nothing is trusted of them yet: {', '.join(left_out)}")


def _read(directory: Path, number: int) -> tuple[Checkpoint, CheckpointContent]:
    with JournalReader(directory) as reader:
        checkpoint = reader.checkpoint(number)
    if checkpoint is None:
        expected = f"one of the journal: circuit-guard checkpoint list {directory} shows them"
        raise CommandError(f"the checkpoint was {number}, expected {expected}", ExitCode.BAD_INPUT)
    if checkpoint.text is None:
        problem = "its state was dropped by retention"
        raise CheckpointGone(number, problem, "name another one of about that time")
    return checkpoint, checkpoint.content()


def _as_of_ns(market: MarketState) -> int:
    """Return when the latest of the trusted values was published, 0 where there is none."""
    return max(market.trusted.mark_seen_ns, market.trusted.funding_seen_ns)


def _as_of(market: MarketState) -> str:
    return format_time(_as_of_ns(market)) if _as_of_ns(market) else ""


def _head(checkpoint: Checkpoint) -> dict[str, object]:
    return {
        "id": checkpoint.sequence,
        "at": format_time(checkpoint.at_ns),
        "name": checkpoint.name,
        "covers": checkpoint.covers,
        "digest": checkpoint.digest,
    }


def _market(name: str, market: MarketState) -> dict[str, object]:
    return {
        "market": name,
        "phase": market.phase.effective().value,
        "breaker": _breaker(market.breaker),
        "halt": _halt(market.halt),
        **_values(market),
        "as_of": _as_of(market) or None,
    }


def _values(market: MarketState) -> dict[str, str | None]:
    """Return the trusted values as text, by their names in a dump."""
    values = {name: getattr(market.trusted, name) for name in state_dump.VALUES}
    return {name: None if value is None else str(value) for name, value in values.items()}


def _breaker(breaker: Breaker) -> dict[str, object]:
    return {"state": breaker.state.value, "latched": breaker.latched, "since": format_time(breaker.since_ns)}


def _halt(halt: Halt | None) -> dict[str, object] | None:
    if halt is None:
        return None
    expires = None if halt.expires_ns is None else format_time(halt.expires_ns)
    return {"actor": halt.actor, "reason": halt.reason, "since": format_time(halt.since_ns), "expires": expires}


def _breaker_words(breaker: Breaker) -> str:
    return formatting.breaker(breaker.state, latched=breaker.latched)
