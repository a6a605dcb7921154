"""`evaluate`: lay faults into honest recordings, have the guard and the rules of others judge them, and compare."""

from __future__ import annotations

import gc
import os
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from circuit_guard.cli import options
from circuit_guard.cli.bundled import bundled
from circuit_guard.cli.output import CommandError, ExitCode, display, print_json, screen
from circuit_guard.config.policy import read_policy_file
from circuit_guard.evaluation.faults import KINDS
from circuit_guard.evaluation.jobs import GARBAGE_THRESHOLD, Plan
from circuit_guard.evaluation.jobs import evaluate as run
from circuit_guard.evaluation.outcome import Evaluation
from circuit_guard.evaluation.table import render

ALL = "all"
PLOT_SUFFIXES = (".png", ".svg")
SEEDS_MAX = 100_000


def evaluate(
    recordings: Annotated[list[Path], typer.Argument(metavar="RECORDINGS", help="Recordings without a fault.")],
    faults: Annotated[
        str, typer.Option("--faults", metavar="KINDS", help=f"Kinds of faults, with commas: {', '.join(KINDS)}.")
    ] = ALL,
    seeds: Annotated[
        int, typer.Option(min=1, max=SEEDS_MAX, help="How often each fault is laid into each recording.")
    ] = 5,
    policy: Annotated[Path | None, typer.Option(help="The policy file; the bundled one if not given.")] = None,
    against: Annotated[Path | None, typer.Option(help="Another policy file: what would it change?")] = None,
    plot: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Also draw it: a .png or .svg file; may be repeated.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; as many as processors if not given.")] = None,
    json: options.Json = False,
) -> None:
    """Lay faults into honest recordings, and count what guards let through and what they hold.

    Each recording and seed gives 16 minutes of at most 8 markets with accounts on them. Every fault is laid into these,
    and judged by the guard and by the published rules of others. Equal arguments give equal figures, whatever --jobs.
    """
    kinds = _kinds(faults)
    plots = plot or []
    for path in plots:
        _require_plotting(path)
    gc.set_threshold(GARBAGE_THRESHOLD)
    plan = Plan(
        tuple(recordings),
        kinds,
        seeds,
        read_policy_file(policy or bundled("policy.toml")),
        None if against is None else read_policy_file(against),
        jobs or os.cpu_count() or 1,
    )
    evaluation = _evaluated(plan)
    for path in plots:
        _draw(evaluation, path)
    if json:
        print_json(evaluation.as_json())
    else:
        display(render(evaluation))


def _kinds(text: str) -> tuple[str, ...]:
    if text == ALL:
        return KINDS
    kinds = tuple(dict.fromkeys(kind.strip() for kind in text.split(",")))
    for kind in kinds:
        if kind not in KINDS:
            near = get_close_matches(kind, KINDS, n=1)
            expected = f"did you mean {near[0]}?" if near else f"expected {ALL} or some of {', '.join(KINDS)}"
            raise CommandError(f"--faults has {kind or 'an empty name'}, {expected}", ExitCode.BAD_INPUT)
    return kinds


def _require_plotting(path: Path) -> None:
    """Refuse before anything runs what could only fail after it has run."""
    if path.suffix not in PLOT_SUFFIXES:
        expected = " or ".join(PLOT_SUFFIXES)
        raise CommandError(f"--plot was {path}, expected a file that ends in {expected}", ExitCode.BAD_INPUT)
    if not path.absolute().parent.is_dir():
        raise CommandError(f"--plot was {path}, expected a file in a directory that exists", ExitCode.BAD_INPUT)
    if find_spec("matplotlib") is None:
        message = "--plot needs matplotlib, which is not installed: pip install 'circuit-guard[plot]'"
        raise CommandError(message, ExitCode.BAD_INPUT)


def _evaluated(plan: Plan) -> Evaluation:
    """Run the plan with a progress bar on standard error, where that is a terminal."""
    console = screen(stderr=True)
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        return run(plan, lambda done, count: progress.update(task, completed=done, total=count))


def _draw(evaluation: Evaluation, path: Path) -> None:
    from circuit_guard.evaluation.plot import plot  # matplotlib is optional

    try:
        plot(evaluation, path)
    except OSError as error:
        message = f"{path}: cannot be written ({error.strerror}), expected a writable file"
        raise CommandError(message, ExitCode.BAD_INPUT) from error
