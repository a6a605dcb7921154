"""`recording`: check recordings, and make them from candles or from the bundled incident's generator."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from circuit_guard.cli.output import CommandError, ExitCode, screen
from circuit_guard.core.inputs import Observation, PhaseCommand, Reference
from circuit_guard.errors import RecordingError
from circuit_guard.recording.candles import CandleOptions, from_candles
from circuit_guard.recording.file import read_recording, write_recording
from circuit_guard.recording.format import Fault, LabelledCheck, format_time, parse_decimal

app = typer.Typer(help="Check recordings, and make them.", no_args_is_help=True)

GAPS_SHOWN_MAX = 10
KINDS: dict[type, str] = {
    Observation: "observations",
    Reference: "references",
    PhaseCommand: "phases",
    LabelledCheck: "checks",
    Fault: "faults",
}

Output = Annotated[Path, typer.Option("--output", "-o", help="The recording to write; gzipped if it ends in .gz.")]


@app.command("check")
def check(file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording, plain or gzipped.")]) -> None:
    """Read a recording to its end. Exit code 1: a line cannot be used; the message says which and why."""
    counts: Counter[str] = Counter()
    times_ns: list[int] = []
    try:
        recording = read_recording(file)
        for entry in recording.entries():
            counts[KINDS[type(entry)]] += 1
            times_ns = [times_ns[0] if times_ns else entry.at_ns, entry.at_ns]
    except RecordingError as error:
        raise CommandError(str(error), ExitCode.DENIED) from error
    console = screen()
    console.print(f"{file}: valid", style="green")
    if recording.header.description:
        console.print(recording.header.description)
    console.print(", ".join(f"{counts[kind]} {kind}" for kind in KINDS.values()))
    if times_ns:
        console.print(" to ".join(map(format_time, times_ns)))


@app.command("from-candles")
def candles(
    prices: Annotated[
        Path, typer.Argument(metavar="PRICES", help="CSV or Parquet with market, t, open, high, low, close; t in UTC.")
    ],
    output: Output,
    funding: Annotated[Path | None, typer.Option(help="CSV or Parquet with market, t, rate.")] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE=FILE",
            help="Candles of an independent venue; give three. Without it, derived ones.",
        ),
    ] = None,
    step: Annotated[int, typer.Option(min=1, max=3600, metavar="SECONDS", help="Time between observations.")] = 5,
    funding_index_start: Annotated[str, typer.Option(metavar="INDEX", help="The funding index at the start.")] = "0",
    funding_period: Annotated[
        int, typer.Option(min=60, max=604_800, metavar="SECONDS", help="The period that a funding rate is for.")
    ] = 28_800,
    max_funding_rate: Annotated[str, typer.Option(metavar="RATE", help="The cap on a funding rate.")] = "0.05",
) -> None:
    """Make a recording from your own price history, to replay it under a policy."""
    made = from_candles(
        prices,
        funding,
        CandleOptions(
            step_s=step,
            funding_index_start=_decimal("--funding-index-start", funding_index_start),
            funding_period_s=funding_period,
            max_funding_rate=_decimal("--max-funding-rate", max_funding_rate),
            references=dict(map(_reference, reference or ())),
        ),
    )
    count = write_recording(output, made.header, made.entries)
    console = screen()
    console.print(f"{output}: {count} entries, {len(made.header.markets)} markets", style="green")
    for gap in made.gaps[:GAPS_SHOWN_MAX]:
        console.print(f"no candles of {gap.market} from {format_time(gap.from_ns)} to {format_time(gap.until_ns)}")
    if len(made.gaps) > GAPS_SHOWN_MAX:
        console.print(f"and {len(made.gaps) - GAPS_SHOWN_MAX} more gaps")
    if not reference:
        console.print("References are derived from the same candles: this recording cannot show a divergence.")


@app.command("incident")
def incident(
    output: Output,
    seed: Annotated[int | None, typer.Option(min=0, help="Another incident; without it, the bundled one.")] = None,
) -> None:
    """Generate the bundled incident again. Equal seeds give equal recordings."""
    from circuit_guard.evaluation.incident import SEED, write_incident  # a guard does not load the evaluation

    seed = SEED if seed is None else seed
    count = write_incident(output, seed)
    screen().print(f"{output}: {count} entries, seed {seed}", style="green")


def _decimal(option: str, text: str) -> Decimal:
    value = parse_decimal(text)
    if value is None:
        raise typer.BadParameter(f"{option} was {text}, expected a decimal such as 0.05")
    return value


def _reference(text: str) -> tuple[str, Path]:
    source, separator, path = text.partition("=")
    if not source or not separator or not path:
        raise typer.BadParameter(f"--reference was {text}, expected SOURCE=FILE, for instance okx=okx.csv")
    return source, Path(path)
