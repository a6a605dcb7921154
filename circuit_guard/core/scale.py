"""The scale of a market: what its prices are per. A redenomination, a change of the contract's multiplier and a ticker
split change it at one instant, and with it everything in quote currency per 1 base unit: prices, the funding index, the
premium. What is a fraction (a rate, a distance between prices as a share), a time or an amount of quote currency stays.

Venues, publishers and callers change to a new scale each at a moment of their own. So what they said before it counts
no more: it is not known on which scale they said it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from circuit_guard.core.envelope import Interval
from circuit_guard.core.funding import Anchor, FundingPath, PathPoint
from circuit_guard.core.market import MarketState, readable
from circuit_guard.core.references import ReferenceBook
from circuit_guard.core.settlement import Steps

FACTOR_MAX = Decimal("1e12")
FACTOR_MIN = Decimal("1e-12")
"""No exchange redenominates by more; anything beyond is a slip."""

_OF_TRUSTED = (
    "mark_price",
    "index_price",
    "funding_index",
    "funding_premium",
    "funding_step",
    "confirmed_mark",
    "confirmed_index",
)
_OF_POINT = (
    "reach",
    "low",
    "high",
    "explained_low",
    "explained_high",
    "premium",
    "held_low",
    "held_high",
    "basis",
    "unseen",
)
_OF_STEPS = ("premium_low", "premium_high", "before", "stood")


def is_factor(value: Decimal) -> bool:
    """Return whether prices can become so many times what they were: a finite number above 0 that changes something."""
    return value.is_finite() and value != 1 and FACTOR_MIN <= value <= FACTOR_MAX


def fits(market: MarketState, factor: Decimal) -> bool:
    """Return whether all that is trusted can still be computed with once it is so many times what it was."""
    known = (getattr(market.trusted, name) for name in _OF_TRUSTED)
    return all(readable(value * factor) is not None for value in known if value is not None)


def rescale(market: MarketState, factor: Decimal) -> None:
    """Make everything that is trusted of a market, and every anchor of it, so many times what it was."""
    trusted = market.trusted
    for name in _OF_TRUSTED:
        value = getattr(trusted, name)
        setattr(trusted, name, None if value is None else value * factor)
    _rescale_path(market.funding, factor)
    intervals = [_interval(one, factor) for one in market.discarded]
    market.discarded.clear()
    market.discarded.extend(intervals)
    market.funding_range = market.funding_range and _interval(market.funding_range, factor)
    market.regained = market.regained and _interval(market.regained, factor)
    book = market.references
    book.own_price = None if book.own_price is None else book.own_price * factor


def forget_windows(market: MarketState, at_ns: int) -> None:
    """Forget what was said on the scale before: references and their hull, published prices, accounts asked about.

    How far apart venues are as a share of the price, and what converts their currencies, has no scale and stays.
    """
    before = market.references
    market.references = ReferenceBook(
        apart=before.apart,
        split=before.split,
        rates=before.rates,
        own_price=before.own_price,
        own_since_ns=before.own_since_ns,
        own_ns=before.own_ns,
        scaled_ns=at_ns,
    )
    market.marks.clear()
    market.published_marks.clear()
    market.unconfirmed.clear()
    market.unchanged = None


def _rescale_path(path: FundingPath, factor: Decimal) -> None:
    path.point = _point(path.point, factor)
    path.last = path.last and _anchor(path.last, factor)
    path.nearer = tuple((_anchor(older, factor), _anchor(newer, factor)) for older, newer in path.nearer)
    path.hour = tuple(_anchor(one, factor) for one in path.hour)
    path.rejected = None
    path.steps = path.steps and _steps(path.steps, factor)


def _point(point: PathPoint, factor: Decimal) -> PathPoint:
    return point._replace(**_times(point, _OF_POINT, factor))


def _steps(steps: Steps, factor: Decimal) -> Steps:
    return steps._replace(**_times(steps, _OF_STEPS, factor))


def _anchor(anchor: Anchor, factor: Decimal) -> Anchor:
    return Anchor(_point(anchor.point, factor), anchor.value * factor)


def _times(value: PathPoint | Steps, names: tuple[str, ...], factor: Decimal) -> dict[str, Any]:
    known = ((name, getattr(value, name)) for name in names)
    return {name: one * factor for name, one in known if one is not None}


def _interval(interval: Interval, factor: Decimal) -> Interval:
    return Interval(interval.low * factor, interval.high * factor)
