"""The picture of an evaluation: what each guard stops, against what it holds that should have gone ahead.

matplotlib is an optional dependency, the extra `plot`.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circuit_guard.evaluation.outcome import Evaluation

OURS, OTHERS = "#0b6e4f", "#5b6770"
MERGED_WITHIN = 0.004
"""Points nearer than this share of the axes are one point to the eye and share a label."""
LABEL_GAP = 0.052
"""Height of a label line, as a share of the axes."""
LABEL_X = 1.03
LABEL_LINE_MAX = 50
"""Characters; a longer label leaves no room for the axes."""


class Point(NamedTuple):
    """Guards with the same figures: the shares of genuine closures held, and of wrongful ones stopped."""

    held: float
    recall: float
    guards: tuple[str, ...]
    ours: bool

    @property
    def label(self) -> list[str]:
        """Return the guards as lines of a label."""
        return wrap(", ".join(self.guards), LABEL_LINE_MAX)


def points(evaluation: Evaluation) -> list[Point]:
    """Return what is drawn, from the top down: guards whose points would lie on each other are one."""
    ours = {used.guard for used in evaluation.policies}
    merged: defaultdict[tuple[int, int], list[Point]] = defaultdict(list)
    for guard in evaluation.guards:
        summed = guard.total()
        recall, held = summed.recall, summed.genuine_held
        if recall is None or held is None:
            continue
        place = (round(held / MERGED_WITHIN), round(recall / MERGED_WITHIN))
        merged[place].append(Point(held, recall, (guard.guard,), guard.guard in ours))
    drawn = [
        Point(same[0].held, same[0].recall, tuple(point.guards[0] for point in same), any(p.ours for p in same))
        for same in merged.values()
    ]
    return sorted(drawn, key=lambda point: (-point.recall, point.held))


def plot(evaluation: Evaluation, path: Path) -> None:
    """Write the picture, PNG or SVG by the path's suffix. Equal evaluations give equal SVG files. Raises OSError."""
    with mpl.rc_context({"svg.hashsalt": "circuit_guard", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(9.5, 5.5), layout="constrained")
        axes = figure.add_subplot()
        drawn = points(evaluation)
        _scale(axes, drawn)
        for point, height in zip(drawn, heights(drawn), strict=True):
            _draw(axes, point, height)
        kinds, recordings = len(evaluation.kinds), len(evaluation.recordings)
        counts = f"kinds of faults: {kinds}, recordings: {recordings}, seeds: {evaluation.seeds}"
        axes.set_title(f"{counts}\ndispersion: {evaluation.dispersion.value}", loc="left")
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=160, metadata=metadata)


def _scale(axes: Axes, drawn: list[Point]) -> None:
    furthest = max((point.held for point in drawn), default=0.0)
    axes.set_xlim(-0.02 * max(furthest, 0.05), max(furthest, 0.05) * 1.05)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("genuine closures still held after 12 s")
    axes.set_ylabel("wrongful closures outside the limit stopped (recall)")
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.1%}")
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#e6e8ea", linewidth=0.8)
    axes.set_axisbelow(True)


def heights(drawn: list[Point]) -> list[float]:
    """Return where each label's middle is, as a share of the axes: beside its point, or under the label above."""
    low, high = -0.03, 1.03
    heights: list[float] = []
    above = 0
    for point in drawn:
        wanted = (point.recall - low) / (high - low)
        gap = LABEL_GAP * (above + len(point.label)) / 2
        heights.append(min(wanted, heights[-1] - gap) if heights else wanted)
        above = len(point.label)
    lift = max(0.0, 0.01 - heights[-1]) if heights else 0.0
    return [height + lift for height in heights]


def _draw(axes: Axes, point: Point, height: float) -> None:
    colour = OURS if point.ours else OTHERS
    axes.scatter([point.held], [point.recall], s=70 if point.ours else 40, color=colour, zorder=3, clip_on=False)
    axes.annotate(
        "\n".join(point.label),
        (point.held, point.recall),
        xytext=(LABEL_X, height),
        textcoords="axes fraction",
        va="center",
        color=colour,
        weight="bold" if point.ours else "normal",
        arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.5, "shrinkB": 4},
        annotation_clip=False,
    )
