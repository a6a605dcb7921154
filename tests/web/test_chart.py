"""Charts: from samples to paths, without a browser."""

from __future__ import annotations

import re
from math import isclose, nan

import pytest

from circuit_guard.web import chart
from circuit_guard.web.chart import (
    FUNDING_INDEX,
    MARK_PRICE,
    Axis,
    Mark,
    described,
    draw,
    spanning,
    time_ticks,
    value_ticks,
)
from circuit_guard.web.history import Sample

T0 = 1_768_780_800.0
"""2026-01-19 00:00:00 UTC."""


def sample(at: float, mark: float = 100.0, **values: float) -> Sample:
    fields = {
        "funding_index": 20_000.0,
        "rejected": 0.0,
        "hull_low": 99.9,
        "hull_high": 100.1,
        "limit_low": 99.0,
        "limit_high": 101.0,
        "band_low": nan,
        "band_high": nan,
        "envelope_low": 19_999.0,
        "envelope_high": 20_001.0,
    }
    return Sample(at_s=T0 + at, mark=mark, **(fields | values))


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]


def drawn(samples: list[Sample], subject: chart.Subject = MARK_PRICE, marks: tuple[Mark, ...] = ()) -> chart.Chart:
    picture = draw(subject, samples, marks)
    assert picture is not None
    return picture


# Axes


def test_axis_when_a_value_is_beyond_an_end_then_it_is_drawn_at_that_end() -> None:
    axis = Axis(10, 20, 256, 34)

    assert [axis(10), axis(15), axis(20)] == [256, 145, 34]
    assert [axis(-1e9), axis(1e9)] == [256, 34]
    assert 10 in axis
    assert 20.1 not in axis


def test_span_when_a_published_value_is_near_then_it_is_inside_and_a_reset_to_zero_is_not() -> None:
    near = spanning([99, 101], [103], 1, 0)
    reset = spanning([99, 101], [0.0], 1, 0)

    assert near is not None
    assert reset is not None
    assert 103 in near
    assert (reset.low, reset.high) == pytest.approx((98.84, 101.16))


@pytest.mark.parametrize(("allowed", "published"), [([], []), ([nan], [nan])])
def test_span_when_nothing_is_known_then_there_is_none(allowed: list[float], published: list[float]) -> None:
    assert spanning(allowed, published, 1, 0) is None


@pytest.mark.parametrize("value", [0.0, 100.0, -3.5])
def test_span_when_all_values_are_one_then_it_still_has_a_height(value: float) -> None:
    axis = spanning([value], [], 1, 0)
    assert axis is not None
    assert axis.low < value < axis.high


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (91_000, 94_200, ["91,000", "92,000", "93,000", "94,000"]),
        (0.5139, 0.5161, ["0.514", "0.515", "0.516"]),
        (-2.3153, -2.3147, ["-2.3152", "-2.3150", "-2.3148"]),
    ],
)
def test_value_ticks_when_labelled_then_they_are_round_and_alike(low: float, high: float, labels: list[str]) -> None:
    assert [label for _, label in value_ticks(Axis(low, high, 1, 0), 4)] == labels


def test_time_ticks_when_labelled_then_they_are_round_times_of_day_in_utc() -> None:
    minutes = time_ticks(Axis(T0 + 5, T0 + 605, 0, 1), 6)
    seconds = time_ticks(Axis(T0, T0 + 60, 0, 1), 6)

    assert [label for _, label in minutes] == ["00:02", "00:04", "00:06", "00:08", "00:10"]
    assert [label for _, label in seconds][:3] == ["00:00:00", "00:00:10", "00:00:20"]


# Lines and areas


def test_line_when_values_rise_then_it_rises_from_left_to_right() -> None:
    line = points(drawn([sample(0, 99.5), sample(30, 100), sample(60, 100.5)]).line)

    assert [x for x, _ in line] == [chart.LEFT, 360.0, chart.RIGHT]
    assert line[0][1] > line[1][1] > line[2][1], "a larger y is further down"


def test_line_when_nothing_was_published_between_two_ticks_then_it_goes_on_and_over_a_gap_it_breaks() -> None:
    slow = drawn([sample(0), sample(5, nan), sample(10)]).line
    silent = drawn([sample(0), sample(5, nan), sample(20)]).line

    assert re.findall("[ML]", slow) == ["M", "L"]
    assert re.findall("[ML]", silent) == ["M", "M"]


def test_area_when_references_were_missing_for_a_while_then_it_has_two_shapes() -> None:
    lost = {"limit_low": nan, "limit_high": nan}
    picture = drawn([sample(0), sample(5), sample(10, **lost), sample(15), sample(20)])
    [limits] = [path for area, path in picture.areas if area.style == "limits"]

    assert limits.count("M") == limits.count("Z") == 2
    assert len(points(limits)) == 8


def test_areas_when_no_band_is_in_force_then_none_is_drawn() -> None:
    banded = {"band_low": 99.95, "band_high": 100.05}

    assert [area.style for area, _ in drawn([sample(0), sample(5)]).areas] == ["limits", "hull"]
    assert [area.style for area, _ in drawn([sample(0, **banded), sample(5, **banded)]).areas][2:] == ["band"]


def test_chart_when_drawn_then_everything_is_inside_the_picture() -> None:
    samples = [sample(n, 100 + n, rejected=float(n > 30), limit_low=99 - n, limit_high=101 + n) for n in range(61)]
    picture = drawn([*samples, sample(61, -1e12, rejected=1.0), sample(62, 1e12, rejected=1.0)])

    every = points(picture.line) + points(picture.crosses) + [p for _, path in picture.areas for p in points(path)]
    assert every
    assert all(0 <= x <= chart.WIDTH and 0 <= y <= chart.HEIGHT for x, y in every)


def test_chart_when_nothing_is_known_then_there_is_none() -> None:
    unknown = {field: nan for field in Sample._fields if field not in ("at_s", "rejected", "mark")}
    assert draw(MARK_PRICE, [sample(0, nan, **unknown)], []) is None


# The moment of the trip


def test_chart_when_a_funding_index_is_reset_then_crosses_lie_at_the_edge_with_the_value() -> None:
    before = [sample(n, funding_index=20_000 + n / 100) for n in range(0, 60, 2)]
    after = [sample(n, funding_index=0.0, rejected=1.0) for n in range(60, 90, 2)]
    picture = drawn([*before, *after], FUNDING_INDEX, (Mark(T0 + 60, "trip", "latched 00:01:00 funding_jump"),))

    assert len(points(picture.line)) == len(before), "the line ends where trust ended"
    assert picture.crosses.count("M") == len(after)
    assert {y for _, y in points(picture.crosses)} == {chart.BOTTOM - chart.CROSS}
    [label] = picture.edge_labels
    assert label.text == "\N{DOWNWARDS ARROW} 0 (off the scale)"
    [(mark, at)] = picture.marks
    assert (mark.style, at.text, at.anchor) == ("trip", "latched 00:01:00 funding_jump", "end")
    assert isclose(at.x + chart.ASIDE, points(picture.crosses)[0][0] + chart.CROSS, abs_tol=0.1)


def test_marks_when_outside_the_time_shown_then_they_are_not_drawn() -> None:
    marks = (Mark(T0 - 1, "trip", "before"), Mark(T0 + 30, "halt", "during"), Mark(T0 + 99, "trip", "after"))
    assert [mark.label for mark, _ in drawn([sample(0), sample(60)], marks=marks).marks] == ["during"]


def test_marks_when_close_together_then_all_have_lines_and_the_trip_keeps_its_label() -> None:
    marks = (Mark(T0 + 20, "halt", "halted"), Mark(T0 + 25, "trip", "tripped"), Mark(T0 + 27, "reset", "closed"))
    written = {mark.style: label.text for mark, label in drawn([sample(0), sample(60)], marks=marks).marks}
    assert written == {"trip": "tripped", "halt": "", "reset": ""}


def test_description_when_values_were_rejected_then_it_says_what_the_picture_shows() -> None:
    samples = [sample(0, 99.5), sample(2, 100.25), sample(4, 0, rejected=1), sample(6, 1, rejected=1)]
    told = described(MARK_PRICE, samples, [Mark(T0 + 4, "trip", "tripped 00:00:04"), Mark(T0 - 9, "trip", "earlier")])
    assert told == (
        "Trusted values between 99.5 and 100.25, the last 100.25. 2 rejected values, the first 0, the last 1. "
        "Marked: tripped 00:00:04."
    )
