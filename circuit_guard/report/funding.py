"""What a market's funding index truly was while what was published of it was not to be trusted.

Known are the trusted values before and after. In between the index moves by what funding accrues:

    I(t2) = I(t1) + premium(t1) * (t2 - t1) / period

(DESIGN 3, the prediction that the rule funding_continuity makes), with the premium that was published along with each
observation, as far as no rule doubted that. It is carried from the trusted value that is nearer in time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from circuit_guard.core.envelope import FundingAccrual, FundingParameters, GapMode
from circuit_guard.core.settlement import settlements

INDEX_EXPONENT = Decimal("1e-18")
"""The decimals of a carried index: as many as any published one has."""


@dataclass(frozen=True, slots=True)
class Published:
    """A funding index as it was published at an event time. `premium` is per funding period; None: none to go by."""

    event_ns: int
    funding_index: Decimal
    premium: Decimal | None
    trusted: bool
    """Whether no rule doubted the index."""


class _Step(NamedTuple):
    """A published index, and what funding has accrued up to then since the first one."""

    point: Published
    accrued: Decimal


class FundingHistory:
    """The doubted values of one market, and the trusted ones on both sides of them; the rest need not be kept."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._by_value: list[tuple[Decimal, int]] | None = None

    def add(self, point: Published, funding: FundingParameters) -> None:
        """Take the next observation. One whose event time does not advance says nothing of when it was true."""
        steps = self._steps
        if not steps:
            steps.append(_Step(point, Decimal(0)))
            return
        last = steps[-1].point
        if point.event_ns <= last.event_ns:
            return
        accrued = steps[-1].accrued + _accrued(last, point.event_ns, funding)
        if point.premium is None:
            point = replace(point, premium=last.premium)
        if point.trusted and len(steps) > 1 and last.trusted and steps[-2].point.trusted:
            steps.pop()
        steps.append(_Step(point, accrued))
        self._by_value = None

    def true_index(self, event_ns: int, funding: FundingParameters) -> Decimal | None:
        """Return the funding index that was true at an event time; None where no trusted value is known."""
        place = bisect_right(self._steps, event_ns, key=lambda step: step.point.event_ns)
        before = next((step for step in reversed(self._steps[:place]) if step.point.trusted), None)
        after = next((step for step in self._steps[place:] if step.point.trusted), None)
        known = [step for step in (before, after) if step is not None]
        if not known:
            return None
        nearest = min(known, key=lambda step: abs(step.point.event_ns - event_ns))
        last = self._steps[place - 1] if place else None
        accrued = Decimal(0) if last is None else last.accrued + _accrued(last.point, event_ns, funding)
        return (nearest.point.funding_index + accrued - nearest.accrued).quantize(INDEX_EXPONENT)

    def settled_at(self, cached: Decimal) -> int | None:
        """Return the event time of the doubted index nearest to a value that an account was settled with."""
        if self._by_value is None:
            doubted = (step.point for step in self._steps if not step.point.trusted)
            self._by_value = sorted((point.funding_index, point.event_ns) for point in doubted)
        place = bisect_left(self._by_value, (cached, 0))
        near = self._by_value[max(place - 1, 0) : place + 1]
        return min(near, key=lambda known: abs(known[0] - cached))[1] if near else None


def _accrued(since: Published, until_ns: int, funding: FundingParameters) -> Decimal:
    """Return what the index accrues after an observation; nothing in a gap that freezes it."""
    span_ns = until_ns - since.event_ns
    if funding.accrual is FundingAccrual.STEPWISE and since.premium is not None:
        return since.premium * settlements(funding, since.event_ns, until_ns)
    frozen = funding.rates_only or (funding.gap_mode is GapMode.FREEZE and span_ns > funding.gap_ns)
    return Decimal(0) if frozen or since.premium is None else since.premium * span_ns / funding.period_ns
