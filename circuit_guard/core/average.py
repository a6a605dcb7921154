"""The plain average of a price over a stretch of time: what exchanges settle a delisting at.

Between two samples the earlier price was in force. What is kept is the sum of price times time up to some instants, so
an average over any stretch is a difference of two sums, divided.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from circuit_guard.core.types import SECOND_NS

KEPT_EVERY_NS = 10 * SECOND_NS
"""Where a stretch begins between two instants kept, the price is taken as even between them."""
KEPT_AROUND = 2
"""The instants kept on either side of where a stretch begins."""


class Summed(NamedTuple):
    """The price times the time it was in force, in ns, summed up to an instant."""

    at_ns: int
    total: Decimal


@dataclass(slots=True)
class PriceSum:
    """The sum of a price over time, since it is kept."""

    now: Summed
    price: Decimal
    kept: deque[Summed] = field(default_factory=deque)
    """The sums up to earlier instants, oldest first."""

    def follow(self, price: Decimal, now_ns: int) -> None:
        """Take the price that is in force from now on."""
        if not self.kept or self.now.at_ns - self.kept[-1].at_ns >= KEPT_EVERY_NS:
            self.kept.append(self.now)
        self.now = Summed(now_ns, self.now.total + self.price * (now_ns - self.now.at_ns))
        self.price = price

    def forget(self, start_ns: int) -> None:
        """Forget what no stretch from `start_ns` on needs."""
        while len(self.kept) > 1 and self.kept[1].at_ns <= start_ns:
            self.kept.popleft()

    def begin(self, start_ns: int) -> None:
        """Forget what no stretch from this one instant on needs, however long it becomes."""
        self.forget(start_ns)
        while len(self.kept) > KEPT_AROUND:
            self.kept.pop()

    def since(self, start_ns: int) -> Decimal:
        """Return the average from an instant until the last sample; from when it is kept on, if that is later."""
        points = [*self.kept, self.now]
        start_ns = max(start_ns, points[0].at_ns)
        if start_ns >= self.now.at_ns:
            return self.price
        before, after = next((one, other) for one, other in pairwise(points) if other.at_ns > start_ns)
        share = Decimal(start_ns - before.at_ns) / (after.at_ns - before.at_ns)
        total = before.total + (after.total - before.total) * share
        return (self.now.total - total) / (self.now.at_ns - start_ns)


def begun(price: Decimal, now_ns: int) -> PriceSum:
    """Return the sum of a price that is in force from now on."""
    return PriceSum(Summed(now_ns, Decimal(0)), price)
