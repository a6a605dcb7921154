"""`replay`: run recordings through the core under a policy, and score the answers."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from circuit_guard.cli import options
from circuit_guard.cli.output import display, print_json, screen
from circuit_guard.policy_file import read_policy_file
from circuit_guard.replay.fields import JsonObject
from circuit_guard.replay.replayer import RETRY_FOR_S, replay_files
from circuit_guard.replay.report import render

RETRY_FOR_S_MAX = 3600
GARBAGE_THRESHOLD = 200_000
"""A replay makes millions of short-lived values and no cycles: looking for those more often only costs time."""


def replay(
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help="Recordings, plain or gzipped.")],
    policy: Annotated[Path, typer.Option("--policy", help="The policy file.")],
    retry_for: Annotated[
        int,
        typer.Option(min=0, max=RETRY_FOR_S_MAX, metavar="SECONDS", help="A denied check is asked again each second."),
    ] = RETRY_FOR_S,
    json: options.Json = False,
) -> None:
    """Run recordings through the guard's core.

    Each from a cold start, with a score of the answers. Equal recordings and policies give equal digests.

    Exit code 2: a file cannot be used; the message says where.
    """
    gc.set_threshold(GARBAGE_THRESHOLD)
    result = _replayed(files, policy, retry_for)
    if json:
        print_json(result)
    else:
        display(render(result))


def _replayed(files: list[Path], policy: Path, retry_for_s: int) -> JsonObject:
    """Replay with a progress bar on standard error, where that is a terminal."""
    policy_file, console = read_policy_file(policy), screen(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks = {path: progress.add_task(path.name, total=None) for path in files}

        def show(path: Path, done: int, size: int) -> None:
            progress.update(tasks[path], completed=done, total=size)

        return replay_files(files, policy_file, retry_for_s, show)
