"""`recording` checks and makes recordings; `replay` runs them, or a journal, through the core."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from circuit_guard import __version__
from circuit_guard.cli import options
from circuit_guard.cli.output import CommandError, ExitCode, display, print_json, progress, screen
from circuit_guard.config.policy import read_policy_file
from circuit_guard.core.formatting import format_time
from circuit_guard.core.inputs import Observation, PhaseCommand, Reference
from circuit_guard.errors import RecordingError
from circuit_guard.recording.candles import CandleOptions, from_candles
from circuit_guard.recording.file import read_recording, write_recording
from circuit_guard.recording.format import Fault, JsonObject, LabelledCheck, parse_decimal
from circuit_guard.recording.journal_replay import JournalReplay, replay_journal
from circuit_guard.recording.replay import RETRY_FOR_S, record_replay, replay_files
from circuit_guard.recording.report import render

app = typer.Typer(help="Check recordings, and make them.", no_args_is_help=True)

GAPS_SHOWN_MAX = 10
RETRY_FOR_S_MAX = 3600
OF_RECORDINGS = "FILES, --policy, --retry-for and --journal-out"
GARBAGE_THRESHOLD = 200_000
"""A replay makes millions of short-lived values and no cycles; collecting more often only costs time."""
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
        Path,
        typer.Argument(
            metavar="PRICES", help="CSV (.gz too) or Parquet with market, t, open, high, low, close; t in UTC."
        ),
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
        int | None,
        typer.Option(
            min=60,
            max=604_800,
            metavar="SECONDS",
            help="The period that a funding rate is for. Without it, how far apart the rates are.",
        ),
    ] = None,
    max_funding_rate: Annotated[str, typer.Option(metavar="RATE", help="The cap on a funding rate.")] = "0.05",
    market: Annotated[
        str | None, typer.Option(metavar="NAME", help="The market of files that have no column for it.")
    ] = None,
) -> None:
    """Make a recording from your own price history, to replay it under a policy.

    It prints what the files leave open and how it was taken.
    """
    made = from_candles(
        prices,
        funding,
        CandleOptions(
            step_s=step,
            funding_index_start=_decimal("--funding-index-start", funding_index_start),
            funding_period_s=funding_period,
            max_funding_rate=_decimal("--max-funding-rate", max_funding_rate),
            references=dict(map(_reference, reference or ())),
            market=market,
        ),
    )
    count = write_recording(output, made.header, made.entries)
    console = screen()
    console.print(f"{output}: {count} entries, {len(made.header.markets)} markets", style="green")
    for sentence in made.assumed:
        console.print(sentence)
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


def replay(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILES", help="Recordings, plain or gzipped.", show_default=False)
    ] = None,
    policy: Annotated[Path | None, typer.Option("--policy", help="The policy file, for recordings.")] = None,
    retry_for: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=RETRY_FOR_S_MAX,
            metavar="SECONDS",
            help=f"How long to ask again, once per second, about a denied check; without it, {RETRY_FOR_S} s.",
        ),
    ] = None,
    journal_out: Annotated[
        Path | None,
        typer.Option(metavar="DIRECTORY", help="Write the journal of one recording here, as a guard would."),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option("--journal", metavar="DIRECTORY", help="Replay the journal of this state directory instead."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Run recordings, or a journal, through the guard's core.

    Recordings: each starts cold and gets a score of the answers. Equal recordings and policies give equal digests.

    --journal: the recorded inputs and policies must give every recorded decision again, bit for bit.

    Exit code 1: a decision of the journal comes out different. 2: a file cannot be used; the message says where.
    """
    gc.set_threshold(GARBAGE_THRESHOLD)
    if journal is not None:
        if files or policy is not None or retry_for is not None or journal_out is not None:
            raise typer.BadParameter(f"give --journal alone: {OF_RECORDINGS} are for recordings")
        _replay_journal(journal, json)
        return
    if not files:
        raise typer.BadParameter("give FILES, recordings to replay, or --journal DIRECTORY")
    if policy is None:
        raise typer.BadParameter("recordings need --policy FILE; a journal has its own")
    result = _replayed(files, policy, RETRY_FOR_S if retry_for is None else retry_for, journal_out)
    if json:
        print_json(result)
    else:
        display(render(result))


def _replayed(files: list[Path], policy: Path, retry_for_s: int, journal_out: Path | None) -> JsonObject:
    policy_file = read_policy_file(policy)
    if journal_out is None:
        with progress() as bar:
            tasks = {path: bar.add_task(path.name, total=None) for path in files}
            return replay_files(
                files,
                policy_file,
                retry_for_s,
                lambda path, done, size: bar.update(tasks[path], completed=done, total=size),
            )
    if len(files) > 1:
        raise typer.BadParameter(f"--journal-out takes one recording, FILES were {len(files)}: a journal is one run")
    recorded = asyncio.run(record_replay(files[0], policy_file, journal_out, retry_for_s))
    return {"file": str(files[0]), "journal": str(journal_out), **recorded.as_json()}


def _replay_journal(directory: Path, json: bool) -> None:
    """Print how the decisions compare, and end with exit code 1 where they differ."""
    with progress() as bar:
        task = bar.add_task(str(directory), total=None)
        result = replay_journal(directory, lambda done, count: bar.update(task, completed=done, total=count))
    if json:
        print_json({"journal": str(directory), **result.as_json()})
    else:
        _print_comparison(screen(), directory, result)
    if not result.identical:
        raise typer.Exit(ExitCode.DENIED)


def _print_comparison(console: Console, directory: Path, result: JournalReplay) -> None:
    verdict, style = ("identical", "green") if result.identical else ("DIFFERENT", "bold red")
    console.print(f"{directory}: {verdict}", style=style)
    console.print(f"records {result.covers + 1} to {result.last_sequence}: {result.inputs} inputs run again")
    console.print(f"{result.decisions} decisions compared, {result.different} different, {result.missing} missing")
    console.print(f"digest of the decisions {result.digest}")
    if result.cut_off:
        console.print(f"{result.cut_off} inputs are the last before a stop; their decisions were not recorded")
    if result.dropped:
        console.print(f'{result.dropped} of the missing were dropped under overflow = "drop"; the journal says so')
    if removed := result.missing - result.dropped:
        console.print(f"{removed} are missing unexplained: removed, or dropped just before the process was killed")
    if first := result.first_difference:
        console.print(f"first difference: record {first.sequence}, {first.field}", style="bold")
        console.print(f"  recorded  {first.recorded}")
        console.print(f"  replayed  {first.replayed}")
    foreign = [version for version in result.versions if version != __version__]
    if foreign:
        wrote = ", ".join(foreign)
        console.print(f"Written by circuit_guard {wrote}, run by {__version__}: versions may decide differently.")
