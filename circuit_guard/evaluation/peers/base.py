"""What the peers share: the last published values, and the latest price of each reference.

Their thresholds are percents, so they compute in floats; NaN fails every comparison that would find something.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import ClassVar

from circuit_guard.core.inputs import Check, Observation, Reference
from circuit_guard.core.types import SECOND_NS
from circuit_guard.evaluation.judge import Answer, Told

MINUTE_NS = 60 * SECOND_NS
DAY_NS = 86_400 * SECOND_NS


class References:
    """The latest price of each source, by market."""

    def __init__(self) -> None:
        self._quotes: defaultdict[str, dict[str, tuple[int, float]]] = defaultdict(dict)

    def take(self, reference: Reference) -> None:
        """Take a price."""
        self._quotes[reference.market][reference.source] = (reference.event_time_ns, float(reference.price))

    def prices(self, market: str, since_ns: int) -> list[float]:
        """Return the prices whose own time stamp is not before `since_ns`."""
        return [price for event_time_ns, price in self._quotes[market].values() if event_time_ns >= since_ns]


class Peer:
    """A judge by somebody else's rules; by itself one that allows everything."""

    name: ClassVar[str]
    source: ClassVar[str]
    """Where the rule and its numbers are published."""
    hears_references: ClassVar[bool] = False

    def __init__(self) -> None:
        self.now_ns = 0
        self.references = References()

    def tell(self, told: Told) -> bool:
        """Take what was published, or that time has passed. Return False for an observation that breaks the rule."""
        self.now_ns = told.at_ns
        if isinstance(told, Observation):
            return not self.observe(told)
        if isinstance(told, Reference):
            self.references.take(told)
        return True

    def ask(self, check: Check) -> Answer:
        """Deny where the rule holds the closure."""
        self.now_ns = check.at_ns
        reason = self.holds(check)
        return Answer(allowed=False, doubts=True, reasons=(reason,)) if reason else Answer(allowed=True)

    def halted(self, market: str) -> bool:
        """Return whether the rule has paused the market."""
        del market
        return False

    def observe(self, observation: Observation) -> str:
        """Take an observation, and return what the rule finds wrong with it; empty for nothing."""
        del observation
        return ""

    def holds(self, check: Check) -> str:
        """Return why the rule holds a closure; empty where it does not."""
        del check
        return ""


class Nothing(Peer):
    """No protection at all: what the exchange of 19 January 2026 had before its liquidation engine."""

    name = "nothing"
    source = "no rule"


def is_major(market: str) -> bool:
    """Return whether rules that know two classes of markets put it into the first: BTC and ETH."""
    return market.startswith(("BTC-", "ETH-"))


def mark_of(check: Check) -> float | None:
    """Return the mark price that the engine computed with; None if it did not say."""
    return None if check.basis.mark_price is None else float(check.basis.mark_price)


def deviation(price: float, index: float) -> float:
    """Return how far a price is from an index, as a share of the index."""
    return abs(price - index) / abs(index) if index else float("inf")


def median_of(prices: list[float]) -> float | None:
    """Return the median, None without prices."""
    return median(prices) if prices else None
