"""`evaluate`: put faults into honest recordings, let the guard and the rules of others judge them, and compare.

The evaluation is imported where it runs: a guard does not load it.
"""

from __future__ import annotations

import gc
import os
from difflib import get_close_matches
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn

from circuit_guard.cli import options
from circuit_guard.cli.output import CommandError, ExitCode, bundled, display, print_json, progress
from circuit_guard.config.policy import read_policy_file

ALL = "all"
FAULTS = (
    "none, reset, reset_then_growth, restore_jump, swap, stale_restore, double_application, sign_flip, "
    "rate_over_cap, rollback, mark_swap, cross_contamination, mark_zero, scale_1000, decimals, freeze, "
    "mark_bias, slow_walk, thin_post_only_book, single_venue_wick_followed, references_corrupt_x10, "
    "references_silent, references_late_10s, two_writers, partial_write, future_stamp, stale_stamps, "
    "guard_restart, reset_while_guard_down, caller_corrupt, caller_stale, caller_margin_table, "
    "index_walk, premium_and_index, rejected_lineage, mark_against_crash, unreferenced_half, references_split, "
    "venue_down_restart, dust_in_trouble, odd_stamps_after_trip"
)
"""The kinds of faults, for the help; a test compares them with the catalogue, which is imported where it runs."""
PLOT_SUFFIXES = (".png", ".svg")
SEEDS_MAX = 100_000


class Dispersion(StrEnum):
    """Choices of `--dispersion`; a test compares them with those of the evaluation, which is imported where it runs."""

    RECORDED = "recorded"
    REAL = "real"


def evaluate(
    recordings: Annotated[list[Path], typer.Argument(metavar="RECORDINGS", help="Recordings without faults.")],
    faults: Annotated[
        str, typer.Option("--faults", metavar="KINDS", help=f"Kinds of faults, separated by commas: {FAULTS}.")
    ] = ALL,
    seeds: Annotated[
        int, typer.Option(min=1, max=SEEDS_MAX, help="How often each fault is put into each recording.")
    ] = 5,
    policy: Annotated[Path | None, typer.Option(help="The policy file; without it, the bundled one.")] = None,
    against: Annotated[Path | None, typer.Option(help="Another policy file, to see what it would change.")] = None,
    plot: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Also draw the figures into a .png or .svg file; may be repeated."),
    ] = None,
    dispersion: Annotated[
        Dispersion,
        typer.Option(help="How far venues part in the honest data: as recorded, or as real ones were measured to."),
    ] = Dispersion.RECORDED,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; without it, as many as processors.")] = None,
    json: options.Json = False,
) -> None:
    """Put faults into honest recordings, and count what guards let through and what they hold.

    Each recording and seed gives 16 minutes of at most 8 markets with accounts. Every fault is put into these, and the
    guard and the published rules of others judge the result. Equal arguments give equal figures, whatever --jobs is.
    """
    from circuit_guard.evaluation.dispersion import Dispersion as Parting
    from circuit_guard.evaluation.jobs import GARBAGE_THRESHOLD, Plan
    from circuit_guard.evaluation.jobs import evaluate as run
    from circuit_guard.evaluation.table import render

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
        Parting(dispersion.value),
    )
    with progress(MofNCompleteColumn()) as bar:
        task = bar.add_task("evaluating", total=None)
        evaluation = run(plan, lambda done, count: bar.update(task, completed=done, total=count))
    if plots:
        from circuit_guard.evaluation.plot import plot as draw  # matplotlib is optional
    for path in plots:
        try:
            draw(evaluation, path)
        except OSError as error:
            message = f"{path}: cannot be written ({error.strerror}), expected a writable file"
            raise CommandError(message, ExitCode.BAD_INPUT) from error
    if json:
        print_json(evaluation.as_json())
    else:
        display(render(evaluation))


def _kinds(text: str) -> tuple[str, ...]:
    from circuit_guard.evaluation.faults import KINDS

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
