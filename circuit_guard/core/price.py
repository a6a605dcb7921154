"""The line of prices: how near two of them have to be to count as one.

A tolerance that is a fraction of a price is nothing where the price is zero, and less than a tick where it is small. So
every one of them is taken of at least `scale`, and grows by the ticks and the change that nobody publishes.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from circuit_guard.core.envelope import Interval
from circuit_guard.core.parameters import Parameters, number, share

TICKS = 2
"""Two prices of one thing are each rounded to a tick, and each may stand one tick beside it."""


@dataclass(frozen=True, slots=True)
class PriceParameters(Parameters):
    """What a difference between two prices is measured with, besides fractions of the price."""

    TABLE: ClassVar[str] = "price"

    tick: Decimal = number(
        "0",
        "The smallest step of the market's prices, in quote currency. Two ticks are added to every tolerance that is a "
        "fraction of a price. Give it where a tick is a noticeable fraction, as in low prices and near zero.",
        most=10**12,
    )
    scale: Decimal = number(
        "0",
        "Fractions of a price, and the funding bound, are never taken of less than this, in quote currency. For "
        "markets near zero: 1 % of a price of 0.02 is nothing. A usual price of calm times; larger: a larger wrong "
        "price near zero passes.",
        most=10**12,
    )
    min_change: Decimal = share(
        "0",
        "The exchange publishes a new price only once it has moved by this fraction: it is added to every such "
        "tolerance, and a price that stands still within it is not frozen. For oracles among the references: "
        "references.facts.",
        zero=True,
    )

    def of(self, price: Decimal) -> Decimal:
        """Return what fractions of a price are taken of: its magnitude, or `scale`."""
        return max(abs(price), self.scale)

    def reach(self, share: Decimal, price: Decimal) -> Decimal:
        """Return how far from a price another may be that is within a fraction of it, in quote currency."""
        return (share + self.min_change) * self.of(price) + TICKS * self.tick

    def widened(self, interval: Interval, share: Decimal, widths: Decimal = Decimal(0)) -> Interval:
        """Return the interval grown on both sides by a fraction of each end and so many of its own widths."""
        own = (interval.high - interval.low) * widths
        low, high = interval.low, interval.high
        return Interval(low - self.reach(share, low) - own, high + self.reach(share, high) + own)


EXACT = PriceParameters()
"""Prices that are known to the last digit and far from zero."""
