"""`journal` and `checkpoint`: what the guard keeps in its state directory."""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from circuit_guard.cli import options, record_lines, state_dump
from circuit_guard.cli.output import CommandError, ExitCode, display, print_json, screen, table
from circuit_guard.core import formatting, halts
from circuit_guard.core.breaker import Breaker
from circuit_guard.core.formatting import format_time
from circuit_guard.core.halts import Halt
from circuit_guard.core.inputs import StateRow
from circuit_guard.core.market import MarketState
from circuit_guard.core.policy import Policy, TwoActorAct
from circuit_guard.core.types import SECOND_NS
from circuit_guard.errors import shown
from circuit_guard.journal.checkpoint import Checkpoint
from circuit_guard.journal.errors import CheckpointGone, StateDirectoryHeld
from circuit_guard.journal.export import export_json_lines, export_parquet, json_line
from circuit_guard.journal.journal import adopt as adopt_journal
from circuit_guard.journal.journal import missing
from circuit_guard.journal.journal import prune as prune_journal
from circuit_guard.journal.options import DAY_NS, HOUR_NS, JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader, VerifyReport
from circuit_guard.journal.record import Chain, CheckpointContent, JournalAdopted, Kind, Record
from circuit_guard.recording.format import EXPECTED_TIME, parse_time_ns

app = typer.Typer(help="Prove, read, export and prune what the guard has recorded.", no_args_is_help=True)
checkpoint = typer.Typer(
    help="Look at the checkpoints in a state directory, and take values out of them.", no_args_is_help=True
)

LAST = 50
LOOK_BACK_FIRST = 1000
LATE_NS = 60 * SECOND_NS
"""A checkpoint is recorded some time after the instant it is of; everything else is in the order of time."""
EXPORTS = {".jsonl": export_json_lines, ".parquet": export_parquet}
MEGABYTE = 1_000_000
_HEAD = re.compile(f"(?P<chain>{'|'.join(Chain)})=(?P<hash>[0-9a-fA-F]{{64}})")

CHECKPOINT_EXPORTS = (".json", state_dump.CSV_SUFFIX)

Directory = Annotated[Path, typer.Argument(metavar="DIRECTORY", help="The state directory of a guard.")]
Id = Annotated[int, typer.Argument(metavar="ID", min=1, help="The checkpoint, as `checkpoint list` numbers it.")]
Kinds = Annotated[
    list[Kind] | None, typer.Option("--kind", case_sensitive=False, help="Only records of this kind; may be repeated.")
]


@app.command("verify")
def verify(
    directory: Directory,
    head: Annotated[
        list[str] | None,
        typer.Option(
            "--head", metavar="CHAIN=HASH", help="A head you noted before, which must still be there; one per chain."
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Prove that nothing in a journal was changed, removed or moved. A guard may be writing it.

    Exit code 1: a record is not as it was written, and the message names the first; or no record has a head you noted.
    2: the journal cannot be read.
    """
    noted = _heads(head or [])
    with JournalReader(directory) as reader:
        report = reader.verify(noted)
    if json:
        print_json({"directory": str(directory), "ok": report.ok, **asdict(report)})
    elif report.ok:
        _print_proof(directory, report)
    if report.ok:
        return
    unreadable = report.bad_sequence is None and None not in report.noted.values()
    code = ExitCode.BAD_INPUT if unreadable else ExitCode.DENIED
    if json:
        raise typer.Exit(code)
    raise CommandError(report.problem, code)


def _print_proof(directory: Path, report: VerifyReport) -> None:
    console = screen()
    console.print(f"{directory}: as it was written", style="green")
    span = f" from {report.first_sequence} to {report.last_sequence}" if report.records else ""
    console.print(f"{report.records} records{span}, {report.checkpoints} of them checkpoints")
    for chain, sequence in report.noted.items():
        console.print(f"The head you noted for {chain} is that of record {sequence}")
    console.print("Note these heads somewhere that people who can write this file cannot write to:")
    for chain, head in report.heads.items():
        console.print(f"  {chain:<8}  {head}")


@app.command("show")
def show(
    directory: Directory,
    last: Annotated[
        int | None, typer.Option("--last", min=1, metavar="N", help=f"Only the last N; without it and --since, {LAST}.")
    ] = None,
    kind: Kinds = None,
    market: Annotated[
        str | None, typer.Option("--market", metavar="M", help="Only records of this market, or of GLOBAL.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Only from this time on: 2026-01-19T04:30:00Z."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line for a machine.")] = False,
) -> None:
    """Print records, one per line. A guard may be writing the journal."""
    since_ns = _time("--since", since)
    last = LAST if last is None and since_ns is None else last
    with JournalReader(directory) as reader:
        records = _matching(reader, last, tuple(kind or Kind), market, since_ns)
        console = screen()
        count = 0
        for count, record in enumerate(records, start=1):  # noqa: B007  # the last count is wanted
            if json:
                sys.stdout.write(json_line(record) + "\n")
            else:
                console.print(record_lines.of_record(record))
    if not count:
        screen(stderr=True).print("no record matches")


@app.command("export")
def export(
    directory: Directory,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write: .jsonl or .parquet.")],
    kind: Kinds = None,
) -> None:
    """Write records to a file for other programs. The chain is verified as it is read; if that fails, no file is
    written.
    """
    write = EXPORTS.get(output.suffix)
    if write is None:
        raise typer.BadParameter(f"--output was {output}, expected a name that ends in {' or '.join(EXPORTS)}")
    with JournalReader(directory) as reader:
        count = write(reader.records(kinds=tuple(kind or Kind)), output)
    screen().print(f"{output}: {count} records", style="green")


@app.command("prune")
def prune(
    directory: Directory,
    bytes_max: Annotated[
        int, typer.Option("--bytes-max", min=0, metavar="BYTES", help="The journal.bytes_max of the guard's settings.")
    ] = JournalOptions().bytes_max,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete records that need not be kept, and free the space. A running guard does that itself.

    Age counts from the last record. Exit code 1: a guard holds the directory; the message says which.
    """
    with JournalReader(directory) as reader:
        newest_ns = max((record.at_ns for record in _from(reader, _end(reader) - LOOK_BACK_FIRST)), default=0)
    kept = JournalOptions(bytes_max=bytes_max)
    hours, days, megabytes = kept.inputs_kept_ns // HOUR_NS, kept.audit_kept_ns // DAY_NS, bytes_max / MEGABYTE
    rule = f"inputs of more than {hours} h while it is larger than {megabytes:,.0f} MB, all else after {days} days"
    if not yes:
        typer.confirm(f"Drop from {directory} {rule}, before {format_time(newest_ns)}?", abort=True, err=True)
    file = directory / JOURNAL_NAME
    before = file.stat().st_size
    try:
        blocks = prune_journal(directory, time.time_ns(), newest_ns, kept)
    except StateDirectoryHeld as held:
        raise CommandError(str(held), ExitCode.DENIED) from held
    sizes = f"{before / MEGABYTE:,.1f} MB before, {file.stat().st_size / MEGABYTE:,.1f} MB now"
    screen().print(f"{directory}: {blocks} blocks of records dropped; {sizes}", style="green")


@app.command("adopt")
def adopt(
    directory: Directory,
    actor: options.Actor,
    reason: options.Reason,
    second: Annotated[
        str, typer.Option("--second", metavar="NAME", help="The second actor, where the policy wants two to resume.")
    ] = "",
) -> None:
    """Take a journal as it is, though its end, or all of it, is missing. Halts, latches and baselines may be forgotten.

    First try to bring back the directory as it was. After it, halt again what was halted, and rebaseline what was not
    to be trusted. The journal keeps who did this, why, and what was missing. Exit code 1: a guard holds the directory,
    nothing is missing, or a second actor is.
    """
    if not (problem := missing(directory)):
        raise CommandError(f"{directory}: nothing is missing, so there is nothing to adopt", ExitCode.DENIED)

    def seconded(policy: Policy | None) -> str:
        if policy is not None and TwoActorAct.RESUME in policy.two_actors and second in ("", actor):
            expected = "another actor than --actor: the policy wants two actors to resume"
            raise CommandError(f"--second was {second or 'not given'}, expected {expected}", ExitCode.DENIED)
        return second

    now_ns = time.time_ns()
    try:
        adopt_journal(directory, now_ns, JournalAdopted(now_ns, actor, "", reason, problem), seconded=seconded)
    except StateDirectoryHeld as held:
        raise CommandError(str(held), ExitCode.DENIED) from held
    screen().print(f"{directory}: adopted as it is. Missing was: {problem}", style="yellow")
    screen().print("Halt again what was halted before a guard starts on it.")


def _matching(
    reader: JournalReader, last: int | None, kinds: tuple[Kind, ...], market: str | None, since_ns: int | None
) -> Iterator[Record] | deque[Record]:
    """Return the records asked for, looking back only as far as it takes to find them."""
    end = _end(reader)

    def matching(start: int) -> Iterator[Record]:
        for record in reader.records(start, kinds):
            if (market is None or record.scope == market) and (since_ns is None or record.at_ns >= since_ns):
                yield record

    for start in _starts(end):
        older = next(_from(reader, start), None)
        reached = start == 1 or (since_ns is not None and older is not None and older.at_ns < since_ns - LATE_NS)
        if last is None and reached:
            return matching(start)
        if last is not None:
            found = deque(matching(start), maxlen=last)
            if reached or len(found) == last:
                return found
    return deque()


def _starts(end: int) -> Iterator[int]:
    """Return where to start reading: further and further back, at last at the first record."""
    span = LOOK_BACK_FIRST
    while span < end:
        yield end - span + 1
        span *= 8
    yield 1


def _from(reader: JournalReader, sequence: int) -> Iterator[Record]:
    return reader.records(max(sequence, 1))


def _end(reader: JournalReader) -> int:
    return max(bounds.last.sequence for bounds in reader.bounds().values())


def _heads(options: list[str]) -> dict[Chain, bytes]:
    """Return the hashes of options such as `audit=d2f2...`."""
    heads: dict[Chain, bytes] = {}
    for option in options:
        match = _HEAD.fullmatch(option)
        if match is None:
            expected = "recorder=HASH or audit=HASH, a hash of 64 hexadecimal digits as `journal verify` prints it"
            raise typer.BadParameter(f"--head was {shown(option)}, expected {expected}")
        if Chain(match["chain"]) in heads:
            raise typer.BadParameter(f"--head {match['chain']} was given twice, expected one head per chain")
        heads[Chain(match["chain"])] = bytes.fromhex(match["hash"])
    return heads


def _time(option: str, text: str | None) -> int | None:
    at_ns = None if text is None else parse_time_ns(text)
    if text is not None and at_ns is None:
        raise typer.BadParameter(f"{option} was {text}, expected {EXPECTED_TIME}")
    return at_ns


@checkpoint.command("list")
def list_checkpoints(directory: Directory, json: options.Json = False) -> None:
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


@checkpoint.command("show")
def show_checkpoint(directory: Directory, number: Id, json: options.Json = False) -> None:
    """Print what a checkpoint holds of each market.

    Exit code 2: there is no checkpoint with this number, or its state is no longer kept.
    """
    kept, content = _read(directory, number)
    state = content.state
    markets = {name: content.state.markets[name] for name in sorted(content.policy.markets)}
    if json:
        whole = {"breaker": _breaker_json(state.global_breaker), **_halts_json(state.global_halts)}
        head = {**_head(kept), "policy_revision": content.policy.revision, "global": whole}
        print_json({**head, "markets": [_market_json(name, market) for name, market in markets.items()]})
        return
    name = f", {kept.name}" if kept.name else ""
    display(Text(f"checkpoint {number}{name}, of {format_time(kept.at_ns)}", style="bold"))
    display(f"SHA-256 {kept.digest}, policy {content.policy.revision}")
    halted = f", {halts.said(state.global_halts)}" if state.global_halts else ""
    display(f"GLOBAL breaker {_breaker_words(state.global_breaker)}{halted}")
    rows = []
    for name, market in markets.items():
        stands = (market.phase.effective(), _breaker_words(market.breaker), _actors(market.halts))
        rows.append((name, *stands, *(value or "none" for value in _trusted_values(market).values()), _as_of(market)))
    columns = ("MARKET", "PHASE", "BREAKER", "HALT", "MARK", "INDEX", "FUNDING INDEX", "AS OF")
    display(table(screen(), *columns, rows=rows))


@checkpoint.command("export")
def export_checkpoint(
    directory: Directory,
    number: Id,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write: .json or .csv.")],
) -> None:
    """Write the trusted values of a checkpoint as a dump, which `maintenance validate` reads."""
    if output.suffix.lower() not in CHECKPOINT_EXPORTS:
        raise typer.BadParameter(
            f"--output was {output}, expected a name that ends in {' or '.join(CHECKPOINT_EXPORTS)}"
        )
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
        screen(stderr=True).print(f"left out, because none of their values is trusted yet: {', '.join(left_out)}")


def _read(directory: Path, number: int) -> tuple[Checkpoint, CheckpointContent]:
    with JournalReader(directory) as reader:
        kept = reader.checkpoint(number)
    if kept is None:
        expected = f"one of the journal: circuit-guard checkpoint list {directory} shows them"
        raise CommandError(f"the checkpoint was {number}, expected {expected}", ExitCode.BAD_INPUT)
    if kept.text is None:
        problem = "its state was dropped by retention"
        raise CheckpointGone(number, problem, "name another one of about that time")
    return kept, kept.content()


def _as_of_ns(market: MarketState) -> int:
    """Return when the latest of the trusted values was published, 0 where there is none."""
    return max(market.trusted.mark_seen_ns, market.trusted.funding_seen_ns)


def _as_of(market: MarketState) -> str:
    return format_time(_as_of_ns(market)) if _as_of_ns(market) else ""


def _head(kept: Checkpoint) -> dict[str, object]:
    return {
        "id": kept.sequence,
        "at": format_time(kept.at_ns),
        "name": kept.name,
        "covers": kept.covers,
        "digest": kept.digest,
    }


def _market_json(name: str, market: MarketState) -> dict[str, object]:
    return {
        "market": name,
        "phase": market.phase.effective().value,
        "breaker": _breaker_json(market.breaker),
        **_halts_json(market.halts),
        **_trusted_values(market),
        "as_of": _as_of(market) or None,
    }


def _trusted_values(market: MarketState) -> dict[str, str | None]:
    """Return the trusted values as text, by their names in a dump."""
    values = {name: getattr(market.trusted, name) for name in state_dump.VALUES}
    return {name: None if value is None else str(value) for name, value in values.items()}


def _breaker_json(breaker: Breaker) -> dict[str, object]:
    return {"state": breaker.state.value, "latched": breaker.latched, "since": format_time(breaker.since_ns)}


def _actors(standing: Sequence[Halt]) -> str:
    return formatting.scopes([halt.actor for halt in standing])


def _halts_json(standing: Sequence[Halt]) -> dict[str, object]:
    """Return the longest of the halts by itself, and the others."""
    found = list(map(_halt_json, standing))
    return {"halt": found[0] if found else None, "other_halts": found[1:]}


def _halt_json(halt: Halt) -> dict[str, object]:
    expires = None if halt.expires_ns is None else format_time(halt.expires_ns)
    since = format_time(halt.since_ns)
    return {
        "actor": halt.actor,
        "identity": halt.identity,
        "reason": halt.reason,
        "since": since,
        "expires": expires,
    }


def _breaker_words(breaker: Breaker) -> str:
    return formatting.breaker(breaker.state, latched=breaker.latched)
