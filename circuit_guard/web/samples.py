"""What charts are drawn from: one market's values at one instant, and a bounded memory of them."""

from __future__ import annotations

from array import array
from decimal import Decimal
from math import nan
from typing import NamedTuple

from circuit_guard.core.envelope import Interval
from circuit_guard.core.market import Judged, published
from circuit_guard.core.references import Nowhere
from circuit_guard.core.status import MarketStatus
from circuit_guard.core.types import SECOND_NS

SAMPLES_MAX = 300
"""At one in about two seconds the last ten minutes; 31 kB a market."""


class Sample(NamedTuple):
    """Published values and what was allowed, as floats, for drawing only. NaN: not known, or nothing new published."""

    at_s: float
    mark: float
    funding_index: float
    rejected: float
    """1 where the observation with these values was rejected, 0 where it was trusted."""
    hull_low: float
    hull_high: float
    limit_low: float
    limit_high: float
    band_low: float
    band_high: float
    envelope_low: float
    envelope_high: float


WIDTH = len(Sample._fields)


class Ring:
    """The last samples, oldest first; a new one takes the place of the oldest once there are `SAMPLES_MAX`."""

    __slots__ = ("_next", "_values")

    def __init__(self) -> None:
        self._values = array("d")
        self._next = 0

    def append(self, sample: Sample) -> None:
        """Keep a sample."""
        if len(self._values) < SAMPLES_MAX * WIDTH:
            self._values.extend(sample)
            return
        start = self._next * WIDTH
        self._values[start : start + WIDTH] = array("d", sample)
        self._next = (self._next + 1) % SAMPLES_MAX

    def samples(self) -> list[Sample]:
        """Return the samples, oldest first."""
        values, first = self._values, self._next * WIDTH
        starts = [*range(first, len(values), WIDTH), *range(0, first, WIDTH)]
        return [Sample(*values[start : start + WIDTH]) for start in starts]


def sample_of(status: MarketStatus, at_ns: int, judged: Judged | None) -> Sample:
    """Return what a market was at an instant; `judged` is the observation published then, None where none was new."""
    values = published(judged.observation) if judged else None
    return Sample(
        at_s=at_ns / SECOND_NS,
        mark=_number(values.mark_price if values else None),
        funding_index=_number(values.funding_index if values else None),
        rejected=float(judged is not None and not judged.accepted),
        hull_low=_low(status.hull),
        hull_high=_high(status.hull),
        limit_low=_low(status.mark_limits),
        limit_high=_high(status.mark_limits),
        band_low=_low(status.band),
        band_high=_high(status.band),
        envelope_low=_low(status.funding_envelope),
        envelope_high=_high(status.funding_envelope),
    )


def _number(value: Decimal | None) -> float:
    return nan if value is None else float(value)


def _low(interval: Interval | Nowhere | None) -> float:
    return nan if interval is None else float(interval.low)


def _high(interval: Interval | Nowhere | None) -> float:
    return nan if interval is None else float(interval.high)
