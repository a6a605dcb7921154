"""Envelopes: the interval of values a quantity may honestly have now, given what was last trusted.

They widen with time by what is physically possible, never by what was observed (DESIGN 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import ClassVar, NamedTuple

from circuit_guard.core.parameters import Parameters, Relation, choice, number, seconds, share
from circuit_guard.core.types import SECOND_NS, short_seconds, show

ROUNDING_SHARE = Decimal("1e-9")
"""Publishers round: a difference below a billionth of the price is none."""

ROUNDING_SHARE_MAX = Decimal("1e-6")
"""A digit larger than this share of the price is no rounding."""

DAY_NS = 86_400 * SECOND_NS
INDEX_TO_MARK_MAX = 2
"""An index price beyond twice the mark price is not believed where it would widen a bound."""


class GapMode(StrEnum):
    """Whether a funding index moves over a gap in the feed: `accrue` it may, `freeze` it may not."""

    ACCRUE = "accrue"
    FREEZE = "freeze"


class FundingAccrual(StrEnum):
    """How an exchange's funding index moves: all the time, only when funding is settled, or there is none to judge."""

    CONTINUOUS = "continuous"
    STEPWISE = "stepwise"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class FundingParameters(Parameters):
    """How far funding can move the funding index. Only accrual moves it."""

    TABLE: ClassVar[str] = "funding"
    RELATIONS: ClassVar[tuple[Relation, ...]] = (
        Relation("funding.period_min_s", "at most", "funding.period_s", "period_s is the longest period believed"),
    )

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
    period_min_ns: int = seconds(
        0,
        "An observation may carry the funding period in force, from this long up to period_s, and a cap up to "
        "rate_max. 0: no other period than period_s.",
        least=0,
        most=604_800,
    )
    accrual: FundingAccrual = choice(
        FundingAccrual.CONTINUOUS,
        "continuous: the index moves all the time. stepwise: it steps where funding is settled, every period_s, and "
        "stands still between. none: no index is published, or it says nothing; only rates are judged.",
    )
    settle_offset_ns: int = seconds(
        0, "stepwise: the first settlement of a day is this long after midnight UTC.", least=0, most=86_399
    )
    settle_tolerance_ns: int = seconds(
        60, "stepwise: the step may be published this much before or after its settlement.", least=0, most=3600
    )
    settle_share: Decimal = number(
        "0.5",
        "stepwise: a step may miss what the premium predicts by this fraction of it. From 1 on, funding that is "
        "settled twice at once is not seen.",
        most=10,
    )

    @property
    def rates_only(self) -> bool:
        """Whether no funding index is judged."""
        return self.accrual is FundingAccrual.NONE


class Terms(NamedTuple):
    """What an exchange publishes of its funding: the period in force, and its cap on the rate; None: the policy's."""

    period_ns: int | None = None
    rate_max: Decimal | None = None

    def out_of_bounds(self, policy: FundingParameters) -> Iterator[tuple[str, str, str]]:
        """Yield each that the policy does not admit: its field, its value, and what was expected."""
        shortest_ns, longest_ns = policy.period_min_ns or policy.period_ns, policy.period_ns
        if self.period_ns is not None and not shortest_ns <= self.period_ns <= longest_ns:
            expected = f"{short_seconds(shortest_ns)} to {short_seconds(longest_ns)}, as the policy bounds it"
            yield "funding_period_s", short_seconds(self.period_ns), expected
        elif self.period_ns is not None and not _is_calendar(policy, self.period_ns):
            expected = "a period that fits into 24 h, and is more than twice the tolerance of a settlement"
            yield "funding_period_s", short_seconds(self.period_ns), expected
        if self.rate_max is not None and not (self.rate_max.is_finite() and 0 < self.rate_max <= policy.rate_max):
            yield "funding_rate_max", str(self.rate_max)[:40], f"above 0 and at most {show(policy.rate_max)}"


def _is_calendar(policy: FundingParameters, period_ns: int) -> bool:
    """Return whether settlements can lie so far apart; where funding accrues all the time there are none."""
    fits = DAY_NS % period_ns == 0 and 2 * policy.settle_tolerance_ns < period_ns
    return fits or policy.accrual is not FundingAccrual.STEPWISE


NO_TERMS = Terms()


@lru_cache(maxsize=4096)
def in_force(policy: FundingParameters, terms: Terms) -> FundingParameters:
    """Return the parameters with what the exchange publishes, where the policy admits that."""
    if next(terms.out_of_bounds(policy), None) is not None:
        return policy
    return replace(policy, period_ns=terms.period_ns or policy.period_ns, rate_max=terms.rate_max or policy.rate_max)


def fastest(policy: FundingParameters) -> FundingParameters:
    """Return the terms that move an index fastest: with the shortest period that a publisher may claim."""
    return replace(policy, period_ns=policy.period_min_ns) if policy.period_min_ns else policy


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
    return funding_reach(policy, price).within(_counted(policy, accrual_ns), policy.period_ns)


def accrued_max(policy: FundingParameters, elapsed_ns: int) -> Decimal:
    """Return how far the true funding index can have moved at a price of 1: at the cap all the time."""
    return policy.rate_max * _counted(policy, elapsed_ns) / policy.period_ns


def _counted(policy: FundingParameters, elapsed_ns: int) -> int:
    """Return for how long funding can accrue within a time: stepwise for each whole period that is settled in it."""
    if policy.accrual is FundingAccrual.CONTINUOUS:
        return elapsed_ns
    return 0 if policy.accrual is FundingAccrual.NONE else (1 + elapsed_ns // policy.period_ns) * policy.period_ns


def funding_envelope(policy: FundingParameters, trusted: Decimal, price: Decimal, accrual_ns: int) -> Interval:
    """Return where a funding index can honestly be after `accrual_ns` of accrual since it was `trusted`."""
    bound = funding_bound(policy, price, accrual_ns)
    return Interval(trusted - bound, trusted + bound)


def rounding_of(price: Decimal, *published: Decimal) -> Decimal:
    """Return one unit of the last digit published: two rounded values differ by up to that more than the true ones."""
    digit = min(map(_last_digit, published))
    return min(digit, abs(price) * ROUNDING_SHARE_MAX)


@lru_cache(maxsize=4096)
def _last_digit(published: Decimal) -> Decimal:
    """Return one unit of the last digit of a number that is not zero; zeros at its end are not counted."""
    return Decimal(1).scaleb(int(published.normalize().as_tuple().exponent))


def funding_price(index_price: Decimal | None, mark_price: Decimal | None) -> Decimal | None:
    """Return the price to bound funding with: the trusted index price, or the trusted mark price; None without either.

    An index price far above the mark price would widen the bound, so it is not believed there.
    """
    if index_price is None or mark_price is None:
        known = mark_price if index_price is None else index_price
        return None if known is None else abs(known)
    return min(abs(index_price), INDEX_TO_MARK_MAX * abs(mark_price))
