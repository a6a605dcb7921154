"""Envelopes: the interval of values a quantity may honestly have now, given what was last trusted.

They widen with time by what is physically possible, never by what was observed (DESIGN 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, NamedTuple

from circuit_guard.core.parameters import Parameters, choice, number, seconds, share
from circuit_guard.core.types import show

ROUNDING_SHARE = Decimal("1e-9")
"""Publishers round: a difference below a billionth of the price is none."""

INDEX_TO_MARK_MAX = 2
"""An index price beyond twice the mark price is not believed where it would widen a bound."""


class GapMode(StrEnum):
    """Whether a funding index moves over a gap in the feed: `accrue` it may, `freeze` it may not."""

    ACCRUE = "accrue"
    FREEZE = "freeze"


@dataclass(frozen=True, slots=True)
class FundingParameters(Parameters):
    """How far funding can move the funding index. Only accrual moves it."""

    TABLE: ClassVar[str] = "funding"

    period_ns: int = seconds(
        28_800,
        "The period that rate_max, the published rate and the premium refer to. 8 h on most exchanges.",
        least=60,
        most=604_800,
    )
    rate_max: Decimal = share(
        "0.05",
        "The exchange's own cap on the funding rate, per period_s. Take it from the market's specification. Too "
        "low: honest funding trips. Too high: the guard sees less.",
    )
    gap_mode: GapMode = choice(
        GapMode.ACCRUE,
        "accrue: the index may move during a gap in the feed, within the bound. freeze: it must not move at all.",
    )
    gap_ns: int = seconds(
        30,
        "An interval this long without an observation is a gap. With freeze nothing accrues during it. In both "
        "modes the step over it is not compared with the last premium. Published funding formulas say 30.",
        most=86_400,
    )
    slack: Decimal = number(
        "1.5", "A step beyond slack * rate_max * index price * dt / period_s latches (DESIGN 3).", least=1, most=10
    )
    trip_after_ns: int = seconds(30, "A denial by the funding rules trips once it has lasted this long (DESIGN 4).")


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval of prices or funding indices, in quote currency per 1 base unit."""

    low: Decimal
    high: Decimal

    def __contains__(self, value: Decimal) -> bool:
        return self.low <= value <= self.high

    def distance(self, value: Decimal) -> Decimal:
        """Return how far outside the value lies; 0 inside."""
        return max(self.low - value, value - self.high, Decimal(0))

    def including(self, value: Decimal) -> Interval:
        """Return the interval stretched to reach the value."""
        return Interval(min(self.low, value), max(self.high, value))

    def __str__(self) -> str:
        return f"{show(self.low)} .. {show(self.high)}"


class FundingReach(NamedTuple):
    """How far a funding index can move at one price: in one period, and besides by rounding."""

    per_period: Decimal
    rounding: Decimal

    def within(self, accrual_ns: int, period_ns: int) -> Decimal:
        """Return how far it can move in `accrual_ns`, as `Feed.accrual_ns` counts it."""
        return self.per_period * accrual_ns / period_ns + self.rounding


def funding_reach(policy: FundingParameters, price: Decimal) -> FundingReach:
    """Return how far a funding index can move at a price, in quote currency per 1 base unit."""
    return FundingReach(policy.slack * policy.rate_max * abs(price), abs(price) * ROUNDING_SHARE)


def funding_bound(policy: FundingParameters, price: Decimal, accrual_ns: int) -> Decimal:
    """Return how far a funding index can move in `accrual_ns`: slack * rate cap * price * dt / period (DESIGN 3)."""
    return funding_reach(policy, price).within(accrual_ns, policy.period_ns)


def accrued_max(policy: FundingParameters, elapsed_ns: int) -> Decimal:
    """Return how far the true funding index can have moved at a price of 1: at the cap all the time."""
    return policy.rate_max * elapsed_ns / policy.period_ns


def funding_envelope(policy: FundingParameters, trusted: Decimal, price: Decimal, accrual_ns: int) -> Interval:
    """Return where a funding index can honestly be after `accrual_ns` of accrual since it was `trusted`."""
    bound = funding_bound(policy, price, accrual_ns)
    return Interval(trusted - bound, trusted + bound)


def funding_price(index_price: Decimal | None, mark_price: Decimal | None) -> Decimal | None:
    """Return the price to bound funding with: the trusted index price, or the trusted mark price; None without either.

    An index price far above the mark price would widen the bound, so it is not believed there.
    """
    if index_price is None or mark_price is None:
        known = mark_price if index_price is None else index_price
        return None if known is None else abs(known)
    return min(abs(index_price), INDEX_TO_MARK_MAX * abs(mark_price))
