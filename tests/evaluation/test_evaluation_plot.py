"""The picture of an evaluation: every guard has a point and a label, and none hides another."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from circuit_guard.evaluation.outcome import Evaluation, GuardResult, PolicyUsed, Tally

matplotlib = pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")

from circuit_guard.evaluation.plot import LABEL_GAP, heights, plot, points  # noqa: E402 - needs the extra


def guard(name: str, stopped: int, held: int) -> GuardResult:
    """Return a guard that stopped so many of 100 wrongful closures, and held so many of 100 genuine ones."""
    tally = Tally(
        runs=1, wrongful=100, wrongful_beyond=100, wrongful_outside=100 - stopped, genuine=100, genuine_denied=held
    )
    return GuardResult(name, {"reset": tally})


def evaluation(*guards: GuardResult) -> Evaluation:
    used = (PolicyUsed("ours", "policy.toml", "1"),)
    return Evaluation(("one.jsonl",), ("reset",), 1, used, guards, {})


SEVERAL = evaluation(guard("ours", 100, 0), guard("loose", 0, 0), guard("looser", 0, 0), guard("tight", 90, 60))


def test_points_when_guards_have_the_same_figures_then_they_share_a_label() -> None:
    drawn = points(SEVERAL)

    assert [(point.guards, point.recall, point.held, point.ours) for point in drawn] == [
        (("ours",), 1.0, 0.0, True),
        (("tight",), 0.9, 0.6, False),
        (("loose", "looser"), 0.0, 0.0, False),
    ]


def test_points_when_a_guard_was_asked_nothing_then_it_has_none() -> None:
    assert points(evaluation(GuardResult("idle", {"none": Tally(runs=1, bad_debt=Decimal(0))}))) == []


@pytest.mark.parametrize("recalls", [[50] * 9, [0] * 9, [100] * 9, [100, 99, 98, 2, 1, 0]])
def test_labels_when_points_are_close_then_no_label_covers_another(recalls: list[int]) -> None:
    drawn = points(evaluation(*(guard(f"g{n}", recall, 5 * n) for n, recall in enumerate(recalls))))

    placed = heights(drawn)

    assert len(placed) == len(recalls)
    assert all(upper - lower >= LABEL_GAP - 1e-9 for upper, lower in pairwise(placed))
    assert placed[-1] >= 0


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plot_when_written_twice_then_it_is_the_same_file(tmp_path: Path, suffix: str) -> None:
    one, two = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"

    plot(SEVERAL, one)
    plot(SEVERAL, two)

    assert one.read_bytes() == two.read_bytes()
    assert one.stat().st_size > 5_000


def test_plot_when_it_is_svg_then_its_text_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"

    plot(SEVERAL, path)

    text = path.read_text()
    for label in ("ours", "tight", "loose, looser", "genuine closures still held after 12 s", "recall"):
        assert label in text


def test_plot_when_the_folder_is_missing_then_that_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        plot(SEVERAL, tmp_path / "none" / "plot.svg")
