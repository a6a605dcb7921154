"""Funding that is settled at fixed instants: the index stands still between them, and steps once at each.

An instant lies every period from UTC midnight plus an offset on. An exchange may publish the step a little before or
after it (`settle_tolerance`), so near an instant the index may be on either side. What a trusted index holds is
therefore known by two times: every settlement up to `low_ns`, and none after `high_ns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from circuit_guard.core.envelope import FundingParameters, Interval

ZERO = Decimal(0)
FLOOR_SHARE = Decimal("2e-5")
"""A rate goes on moving between its last publication and the settlement: a step may miss by this share of the price."""


class Steps(NamedTuple):
    """Where a stepwise index stands, and what its next step is predicted from."""

    low_ns: int
    high_ns: int
    premium_low: Decimal | None = None
    premium_high: Decimal | None = None
    """The hull of the premiums that may be the one settled next, in quote currency per 1 base unit."""
    opened: Decimal = ZERO
    """How much of the bound they leave open, 0 to 1: nothing was published for so long."""
    before: Decimal | None = None
    moved_ns: int = 0
    """What the index was before its last step, and when that was seen."""
    stood: Decimal | None = None
    """What the index stands at: what it was after its last step, or at first. Roundings do not move it, so they do not
    add up; None: the index trusted last."""

    def widened(self, premium: Decimal | None, opened: Decimal) -> Steps:
        """Return the steps with another premium that may be the one settled."""
        known = [one for one in (self.premium_low, self.premium_high, premium) if one is not None]
        low, high = (min(known), max(known)) if known else (None, None)
        return self._replace(premium_low=low, premium_high=high, opened=max(self.opened, opened))


def begun(at_ns: int, funding: FundingParameters) -> Steps:
    """Return where an index stands that is true at an instant: a settlement nearby may be in it or not."""
    return Steps(at_ns - funding.settle_tolerance_ns, at_ns + funding.settle_tolerance_ns)


def settlements(funding: FundingParameters, after_ns: int, until_ns: int) -> int:
    """Return how many instants of settlement lie after one time and up to another."""
    offset_ns, period_ns = funding.settle_offset_ns, funding.period_ns
    return max((until_ns - offset_ns) // period_ns - (after_ns - offset_ns) // period_ns, 0)


def next_settlement(funding: FundingParameters, after_ns: int) -> int:
    """Return the first instant of settlement after a time, in ns since 1970."""
    offset_ns, period_ns = funding.settle_offset_ns, funding.period_ns
    return ((after_ns - offset_ns) // period_ns + 1) * period_ns + offset_ns


@dataclass(frozen=True, slots=True)
class Due:
    """What may be settled in an index at one instant: from `least` to `most` settlements since it was trusted.

    `bound` is the furthest that one of them moves it, `rounding` what publishers round by, `latest` the premium
    published now.
    """

    steps: Steps
    funding: FundingParameters
    until_ns: int
    least: int
    most: int
    bound: Decimal
    floor: Decimal
    rounding: Decimal
    latest: Decimal | None = None

    def stood(self, trusted: Decimal) -> Decimal:
        """Return what the index stands at, which a step counts from; `trusted` is the index trusted last."""
        return trusted if self.steps.stood is None else self.steps.stood

    def predicted(self, count: int) -> Interval | None:
        """Return how far that many settlements move the index as the premiums have it; None: none was published."""
        low, high = self.steps.premium_low, self.steps.premium_high
        if count == 0:
            return Interval(ZERO, ZERO)
        return None if low is None or high is None else Interval(low * count, high * count)

    def tolerance(self, count: int) -> Decimal:
        """Return what a step of that many settlements may miss its prediction by."""
        predicted = self.predicted(count)
        largest = ZERO if predicted is None else max(abs(predicted.low), abs(predicted.high))
        opened = self.steps.opened * self.bound
        return largest * self.funding.settle_share + (self.floor + opened) * count + self.rounding

    def reached(self, count: int) -> Interval:
        """Return how far that many settlements can have moved the index."""
        predicted, furthest = self.predicted(count), self.bound * count + self.rounding
        if predicted is None:
            return Interval(-furthest, furthest)
        tolerance = self.tolerance(count)
        return Interval(max(predicted.low - tolerance, -furthest), min(predicted.high + tolerance, furthest))

    def counts(self, step: Decimal) -> list[int]:
        """Return how many settlements a step can be; empty where it is none."""
        return [count for count in range(self.least, self.most + 1) if self._is(step, count)]

    def _is(self, step: Decimal, count: int) -> bool:
        return abs(step) <= self.rounding if count == 0 else step in self.reached(count)

    def distance(self, step: Decimal) -> Decimal:
        """Return how far a step is from the nearest that is predicted; 0 where no premium says anything."""
        known = (self.predicted(count) for count in {self.least, self.most})
        return min(ZERO if one is None else one.distance(step) for one in known)

    def followed(self) -> Steps:
        """Return where the index stands after an observation that is accepted and gives none."""
        if self.most or self.latest is None:
            return self.steps
        return self.steps._replace(premium_low=self.latest, premium_high=self.latest, opened=ZERO)

    def trusted(self, index: Decimal, before: Decimal, now_ns: int) -> Steps:
        """Return where the index stands once a value of it is trusted that was `before`."""
        stood, tolerance_ns, latest = self.stood(before), self.funding.settle_tolerance_ns, self.latest
        step = index - stood
        earliest_ns, latest_ns = self.until_ns - tolerance_ns, self.until_ns + tolerance_ns
        counts = self.counts(step)
        if not counts:
            return begun(self.until_ns, self.funding)._replace(premium_low=latest, premium_high=latest)
        low_ns = earliest_ns
        if counts[0] == self.most and not (self.most and self._may_be_late(step)):
            low_ns = latest_ns
        elif self._may_be_late(step):
            low_ns = self.steps.low_ns
        high_ns = max(latest_ns if counts[-1] == self.most else earliest_ns, self.steps.high_ns)
        known = self.steps._replace(low_ns=min(max(low_ns, self.steps.low_ns), high_ns), high_ns=high_ns)
        if abs(step) > self.rounding:
            known = known._replace(before=before, moved_ns=now_ns, stood=index)
        else:
            known = known._replace(stood=stood)
        if settlements(self.funding, high_ns, latest_ns) or latest is None:
            return known
        return known._replace(premium_low=latest, premium_high=latest, opened=ZERO)

    def _may_be_late(self, step: Decimal) -> bool:
        """Return whether the index stands still although a premium says it steps, be it by next to nothing."""
        low, high = self.steps.premium_low, self.steps.premium_high
        if abs(step) > self.rounding or self.steps.opened or low is None or high is None:
            return False
        return max(abs(low), abs(high)) > self.rounding


def due_by(until_ns: int, steps: Steps, funding: FundingParameters, price: Decimal, rounding: Decimal) -> Due:
    """Return what may be settled in the index by an instant, at a price."""
    earliest_ns, latest_ns = until_ns - funding.settle_tolerance_ns, until_ns + funding.settle_tolerance_ns
    if settlements(funding, steps.high_ns, latest_ns):
        steps = steps._replace(low_ns=steps.high_ns)
    least = settlements(funding, steps.high_ns, earliest_ns)
    most = settlements(funding, steps.low_ns, latest_ns)
    bound = funding.slack * funding.rate_max * abs(price)
    return Due(steps, funding, until_ns, least, most, bound, abs(price) * FLOOR_SHARE, rounding)
