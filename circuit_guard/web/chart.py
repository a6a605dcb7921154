"""Charts: from samples to the paths of an SVG. Pure; the template only writes down what is computed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, pairwise
from math import ceil, floor, isfinite, isnan, log10

from circuit_guard.web.history import Sample

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 4.0, 716.0, 34.0, 334.0
"""The corners of the drawing inside the picture, in its own units. Above are the marks' labels, below the times."""
GAP_S = 15.0
"""Values further apart than this are not joined by a line: in between nothing was known."""
TIME_SPAN_MIN_S = 60.0
VALUE_TICKS, TIME_TICKS = 4, 6
CROSS, ASIDE = 4.0, 6.0
MIDDLE, TIME_LABEL_ROOM = 360.0, 40.0
"""A label is put on that side of its line where there is more room; two are not put into one half."""

MARGIN_SHARE = 0.08
FAR_SPANS = 6
"""A published value further away than this many times the allowed range is drawn at the edge."""
TIME_STEPS_S = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass(frozen=True, slots=True)
class Area:
    """An interval that is drawn: its name in the legend, its style, and the fields of its ends."""

    label: str
    style: str
    low: str
    high: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What one chart shows: a published value against the intervals it may be in, the widest first."""

    title: str
    field: str
    value_label: str
    areas: tuple[Area, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment that is drawn as a vertical line. `style` is trip, reset or halt; it also chooses the form."""

    at_s: float
    style: str
    label: str


@dataclass(frozen=True, slots=True)
class Label:
    """A text in the picture. `anchor` is start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True, slots=True)
class Chart:
    """All that a template needs. Paths are SVG path data; what is empty is not drawn."""

    subject: Subject
    areas: tuple[tuple[Area, str], ...]
    line: str
    crosses: str
    """What was published and rejected."""
    edge_labels: tuple[Label, ...]
    """The values of rejected observations that are too far away to be drawn where they belong."""
    marks: tuple[tuple[Mark, Label], ...]
    values: tuple[Label, ...]
    times: tuple[Label, ...]


MARK_PRICE = Subject(
    "Mark price",
    "mark",
    "published mark price",
    (
        Area("may be (what the references explain)", "limits", "limit_low", "limit_high"),
        Area("hull of the reference price", "hull", "hull_low", "hull_high"),
        Area("band of POST_ONLY and RECOVERING", "band", "band_low", "band_high"),
    ),
)
FUNDING_INDEX = Subject(
    "Funding index",
    "funding_index",
    "published funding index",
    (Area("envelope (what funding can have done)", "limits", "envelope_low", "envelope_high"),),
)


def draw(subject: Subject, samples: Sequence[Sample], marks: Sequence[Mark]) -> Chart | None:
    """Return the chart of the samples, oldest first, with the marks in their time. None where nothing is known."""
    values = [(sample, float(getattr(sample, subject.field))) for sample in samples]
    ends = [getattr(sample, end) for sample in samples for area in subject.areas for end in (area.low, area.high)]
    y = spanning(ends, (value for _, value in values), BOTTOM, TOP)
    if y is None:
        return None
    x = Axis(samples[0].at_s, max(samples[-1].at_s, samples[0].at_s + TIME_SPAN_MIN_S), LEFT, RIGHT)
    shown = [mark for mark in marks if mark.at_s in x]
    rejected = [(sample.at_s, value) for sample, value in values if sample.rejected and isfinite(value)]
    return Chart(
        subject,
        tuple((area, path) for area in subject.areas if (path := _area(area, samples, x, y))),
        _line([(sample.at_s, value) for sample, value in values if not sample.rejected], x, y),
        "".join(f"M{_at(x(at_s) - CROSS, y(value) - CROSS)}l8 8m0-8l-8 8" for at_s, value in rejected),
        tuple(_edge_labels(rejected, x, y)),
        tuple(_labelled(shown, x)),
        tuple(Label(LEFT, y(value), text) for value, text in value_ticks(y, VALUE_TICKS)),
        tuple(_time_label(x(at_s), text) for at_s, text in time_ticks(x, TIME_TICKS)),
    )


def described(subject: Subject, samples: Sequence[Sample], marks: Sequence[Mark]) -> str:
    """Return in words what the picture shows, for those who do not see it."""
    values = [(sample, float(getattr(sample, subject.field))) for sample in samples]
    trusted = [value for sample, value in values if not sample.rejected and isfinite(value)]
    rejected = [value for sample, value in values if sample.rejected and isfinite(value)]
    parts = []
    if trusted:
        low, high = min(trusted), max(trusted)
        parts.append(f"Trusted values between {low:,.12g} and {high:,.12g}, the last {trusted[-1]:,.12g}.")
    if rejected:
        count = f"{len(rejected)} rejected value{'' if len(rejected) == 1 else 's'}"
        parts.append(f"{count}, the first {rejected[0]:,.12g}, the last {rejected[-1]:,.12g}.")
    parts += [f"Marked: {mark.label}." for mark in marks if samples[0].at_s <= mark.at_s <= samples[-1].at_s]
    return " ".join(parts) or "Nothing is known yet."


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear map from values between `low` and `high` to coordinates between `start` and `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value; of one beyond an end that end's, so that nothing leaves the picture."""
        clamped = min(max(value, self.low), self.high)
        return self.start + (clamped - self.low) / (self.high - self.low) * (self.end - self.start)

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def spanning(allowed: Iterable[float], published: Iterable[float], start: float, end: float) -> Axis | None:
    """Return an axis for what was allowed and, where it is not far from that, what was published.

    A value that is far outside (a reset to zero) is not allowed to flatten everything else: it will be drawn at the
    edge. None where there is nothing to draw.
    """
    inside, outside = _finite(allowed), _finite(published)
    if not inside and not outside:
        return None
    base = inside or outside
    low, high = min(base), max(base)
    reach = FAR_SPANS * (high - low)
    near = [value for value in outside if low - reach <= value <= high + reach]
    low, high = min([low, *near]), max([high, *near])
    margin = (high - low) * MARGIN_SHARE or abs(high) * 0.001 or 1.0
    return Axis(low - margin, high + margin, start, end)


def value_ticks(axis: Axis, count: int) -> list[tuple[float, str]]:
    """Return at most `count` + 1 round values on the axis with their labels, all with the same decimals."""
    rough = (axis.high - axis.low) / count
    magnitude = 10.0 ** floor(log10(rough))
    step = next(step * magnitude for step in (1, 2, 5, 10) if step * magnitude >= rough)
    decimals = max(0, -floor(log10(step) + 1e-9))
    first = ceil(axis.low / step)
    values = [number * step for number in range(first, floor(axis.high / step) + 1)]
    return [(value, f"{value:,.{decimals}f}") for value in values]


def time_ticks(axis: Axis, count: int) -> list[tuple[float, str]]:
    """Return at most `count` round instants on the axis (seconds since the epoch) with their times of day in UTC."""
    wide = axis.high - axis.low
    step = next((step for step in TIME_STEPS_S if wide / step <= count), TIME_STEPS_S[-1])
    form = "%H:%M:%S" if step < TIME_STEPS_S[4] else "%H:%M"
    instants: Sequence[int] = range(ceil(axis.low / step) * step, floor(axis.high) + 1, step)
    return [(at_s, f"{datetime.fromtimestamp(at_s, UTC):{form}}") for at_s in instants]


def _line(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    """Return a line through the points, broken where nothing was known for long."""
    known = [(at_s, value) for at_s, value in points if isfinite(value)]
    if not known:
        return ""
    path = [f"M{_at(x(known[0][0]), y(known[0][1]))}"]
    for (before_s, _), (at_s, value) in pairwise(known):
        path.append(f"{'M' if at_s - before_s > GAP_S else 'L'}{_at(x(at_s), y(value))}")
    return "".join(path)


def _area(area: Area, samples: Sequence[Sample], x: Axis, y: Axis) -> str:
    """Return the interval as closed shapes, one for each stretch of time in which it was known."""
    shapes = []
    for unknown, stretch in groupby(samples, key=lambda sample: isnan(getattr(sample, area.low))):
        run = list(stretch)
        if unknown or len(run) == 1:
            continue
        upper = [_at(x(sample.at_s), y(getattr(sample, area.high))) for sample in run]
        lower = [_at(x(sample.at_s), y(getattr(sample, area.low))) for sample in reversed(run)]
        shapes.append(f"M{'L'.join([*upper, *lower])}Z")
    return "".join(shapes)


def _edge_labels(rejected: Sequence[tuple[float, float]], x: Axis, y: Axis) -> Iterator[Label]:
    """Yield the first value beyond each edge of the picture, and on which side it went."""
    for beyond, arrow, height in (
        ([point for point in rejected if point[1] < y.low], "\N{DOWNWARDS ARROW}", BOTTOM - 14),
        ([point for point in rejected if point[1] > y.high], "\N{UPWARDS ARROW}", TOP + 24),
    ):
        if beyond:
            at_s, value = beyond[0]
            yield _beside(x(at_s), height, f"{arrow} {value:,.12g} (off the scale)")


def _labelled(marks: Sequence[Mark], x: Axis) -> Iterator[tuple[Mark, Label]]:
    """Yield the marks with their labels; where two would overlap a trip's is written, or else the later one's."""
    written: list[float] = []
    for mark in sorted(marks, key=lambda mark: (mark.style != "trip", -mark.at_s)):
        at = x(mark.at_s)
        free = all(abs(at - other) >= MIDDLE for other in written)
        if free:
            written.append(at)
        yield mark, _beside(at, TOP - 12, mark.label if free else "")


def _beside(at: float, height: float, text: str) -> Label:
    return Label(at + ASIDE, height, text) if at < MIDDLE else Label(at - ASIDE, height, text, "end")


def _time_label(at: float, text: str) -> Label:
    """Return a label under its instant that sticks out on neither side."""
    anchor = "start" if at < LEFT + TIME_LABEL_ROOM else "end" if at > RIGHT - TIME_LABEL_ROOM else "middle"
    return Label(at, HEIGHT - 8, text, anchor)


def _at(x: float, y: float) -> str:
    return f"{x:.1f} {y:.1f}"


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if isfinite(value)]
