"""`replay`: run recordings through the core under a policy and score the answers, or prove a journal's decisions."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from circuit_guard import __version__
from circuit_guard.cli import options
from circuit_guard.cli.output import ExitCode, display, print_json, progress, screen
from circuit_guard.config.policy import read_policy_file
from circuit_guard.recording.format import JsonObject
from circuit_guard.recording.journal_replay import JournalReplay, replay_journal
from circuit_guard.recording.replay import RETRY_FOR_S, record_replay, replay_files
from circuit_guard.recording.report import render

RETRY_FOR_S_MAX = 3600
OF_RECORDINGS = "FILES, --policy, --retry-for and --journal-out"
GARBAGE_THRESHOLD = 200_000
"""A replay makes millions of short-lived values and no cycles; collecting more often only costs time."""


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
        _show_journal(journal, _replayed_journal(journal), json)
        return
    if not files:
        raise typer.BadParameter("give FILES, recordings to replay, or --journal DIRECTORY")
    if policy is None:
        raise typer.BadParameter("recordings need --policy FILE; a journal has its own")
    retry_for_s = RETRY_FOR_S if retry_for is None else retry_for
    if journal_out is None:
        result = _replayed(files, policy, retry_for_s)
    else:
        result = _recorded(files, policy, retry_for_s, journal_out)
    if json:
        print_json(result)
    else:
        display(render(result))


def _replayed(files: list[Path], policy: Path, retry_for_s: int) -> JsonObject:
    """Replay with a progress bar on standard error, where that is a terminal."""
    policy_file = read_policy_file(policy)
    with progress() as bar:
        tasks = {path: bar.add_task(path.name, total=None) for path in files}

        def show(path: Path, done: int, size: int) -> None:
            bar.update(tasks[path], completed=done, total=size)

        return replay_files(files, policy_file, retry_for_s, show)


def _recorded(files: list[Path], policy: Path, retry_for_s: int, directory: Path) -> JsonObject:
    """Replay one recording into a journal."""
    if len(files) > 1:
        raise typer.BadParameter(f"--journal-out takes one recording, FILES were {len(files)}: a journal is one run")
    result = asyncio.run(record_replay(files[0], read_policy_file(policy), directory, retry_for_s))
    return {"file": str(files[0]), "journal": str(directory), **result.as_json()}


def _replayed_journal(directory: Path) -> JournalReplay:
    with progress() as bar:
        task = bar.add_task(str(directory), total=None)
        return replay_journal(directory, lambda done, count: bar.update(task, completed=done, total=count))


def _show_journal(directory: Path, result: JournalReplay, json: bool) -> None:
    """Print how the decisions compare, and end with exit code 1 where they differ."""
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
