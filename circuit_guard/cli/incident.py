"""`incident report`: what happened in an incident, from the journal, for people and as a ledger."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from circuit_guard.cli import options
from circuit_guard.cli.output import CommandError, ExitCode, print_json, progress, screen
from circuit_guard.core.formatting import counted
from circuit_guard.core.types import SECOND_NS
from circuit_guard.errors import shown
from circuit_guard.journal.permissions import write_private
from circuit_guard.report.document import html, markdown, money, stamp
from circuit_guard.report.evidence import Window
from circuit_guard.report.exports import as_json, ledger
from circuit_guard.report.incident import Incident, figures, read_incident
from circuit_guard.report.sections import compose
from circuit_guard.report.witness import NothingToReport

app = typer.Typer(help="Report what happened in an incident.", no_args_is_help=True)

EXPECTED_TIME = "a time with its zone as ISO 8601, such as 2026-01-19T04:30:00Z or 2026-01-19T05:30:00+01:00"
JOURNAL_VARIABLE = "CIRCUIT_GUARD_JOURNAL__DIRECTORY"
SUFFIXES = {"markdown": ".md", "html": ".html", "ledger": ".csv"}
_FRACTION = re.compile(r"[.,]([0-9]{1,9})(?=[Z+-])")


@app.callback()
def group() -> None:
    """Report what happened in an incident."""


@app.command("report")
def report(
    from_: Annotated[str, typer.Option("--from", metavar="TIME", help="When the window begins, with its zone.")],
    to: Annotated[
        str, typer.Option("--to", metavar="TIME", help="When the window ends: after all values were right again.")
    ],
    journal: Annotated[
        Path,
        typer.Option("--journal", metavar="DIRECTORY", envvar=JOURNAL_VARIABLE, help="The guard's state directory."),
    ] = Path("state"),
    out: Annotated[Path, typer.Option("--out", metavar="DIRECTORY", help="Where to write the three files.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    json: options.Json = False,
) -> None:
    """Write the report of an incident as Markdown and as one HTML page, and a ledger of compensation as CSV.

    Everything comes from the journal; a guard may be writing it at the same time. The window names the files. Exit
    code 1: there is nothing to report, the window is pruned, or a file exists already. 2: a time, the journal or the
    output directory cannot be used.
    """
    window = Window(_time_ns("--from", from_), _time_ns("--to", to))
    if window.to_ns <= window.from_ns:
        raise typer.BadParameter(f"--to was {to}, expected a time after --from, which was {from_}")
    outputs = _outputs(out, window, force)
    try:
        with progress() as bar:
            task = bar.add_task(str(journal), total=None)
            incident = read_incident(journal, window, lambda done, count: bar.update(task, completed=done, total=count))
    except NothingToReport as nothing:
        raise CommandError(f"{journal}: {nothing}", ExitCode.DENIED) from nothing
    document = compose(incident)
    for path, text in zip(outputs.values(), (markdown(document), html(document), ledger(incident)), strict=True):
        try:
            write_private(path, text)
        except OSError as error:
            problem = f"{path}: cannot be written ({error.strerror}); name a writable directory with --out"
            raise CommandError(problem, ExitCode.BAD_INPUT) from error
    if json:
        print_json({**as_json(incident), "files": {kind: str(path) for kind, path in outputs.items()}})
    else:
        _print(incident, document.summary, outputs)


def _time_ns(option: str, text: str) -> int:
    """Return the nanoseconds since 1970 of an instant; a datetime has room for six decimals, a journal for nine."""
    fraction = _FRACTION.search(text)
    try:
        moment = datetime.fromisoformat(_FRACTION.sub("", text, count=1))
    except ValueError:
        raise typer.BadParameter(f"{option} was {shown(text)}, expected {EXPECTED_TIME}") from None
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{option} was {shown(text)}, which names no zone; expected {EXPECTED_TIME}")
    whole_s = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    return whole_s * SECOND_NS + (int(fraction[1].ljust(9, "0")) if fraction else 0)


def _outputs(directory: Path, window: Window, force: bool) -> dict[str, Path]:
    """Return where the files go, before the work is done that they are for."""
    name = f"incident-{stamp(window.from_ns)}-{stamp(window.to_ns)}"
    outputs = {kind: directory / f"{name}{suffix}" for kind, suffix in SUFFIXES.items()}
    if not directory.is_dir():
        raise CommandError(f"--out was {directory}, expected a directory that exists", ExitCode.BAD_INPUT)
    there = [path.name for path in outputs.values() if path.exists()]
    if there and not force:
        raise CommandError(f"{directory} has {', '.join(there)} already; --force replaces them", ExitCode.DENIED)
    return outputs


def _print(incident: Incident, summary: tuple[str, ...], outputs: dict[str, Path]) -> None:
    console = screen()
    for sentence in summary:
        console.print(sentence)
    lost, spared = figures(incident.wrongful_allowed), figures(incident.wrongful_denied)
    for verdict, found, what in (("allowed", lost, "lost"), ("denied", spared, "spared")):
        closures, accounts = counted(found.closures, "closure"), counted(found.accounts, "account")
        console.print(f"wrongful and {verdict}: {closures} of {accounts}, {money(found.loss)} {what}")
    for path in outputs.values():
        console.print(str(path), style="green")
