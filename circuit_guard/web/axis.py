"""Axes: which part of the values is drawn, where the lines of the grid are, and what is written beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor, isfinite, log10

MARGIN_SHARE = 0.08
FAR_SPANS = 6
"""A published value further away than so many times what was allowed is drawn at the edge, not where it belongs."""
TIME_STEPS_S = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


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


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if isfinite(value)]
