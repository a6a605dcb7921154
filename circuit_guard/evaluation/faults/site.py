"""Where and when a fault is laid, and the ways to change a feed there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from math import exp, log
from operator import attrgetter
from random import Random

from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.core.types import SECOND_NS
from circuit_guard.evaluation.feed import FaultedFeed, Feed, FeedEntry, Values
from circuit_guard.recording.format import Fault

HOUR_NS = 3_600 * SECOND_NS
FUNDING_PERIOD_NS = 8 * HOUR_NS
PREMIUM_SHARE_MIN = Decimal("0.0001")
"""0.01 % in 8 hours, the interest rate that perpetuals revert to: what an index grows by where nothing is special."""
_DIGITS = Context(prec=28)

Change = Callable[[Observation], Observation]
ReferenceChange = Callable[[Reference], Reference | None]


@dataclass(frozen=True, slots=True)
class Site:
    """One fault's place in a feed, and its source of chance."""

    kind: str
    seed: int
    feed: Feed
    random: Random
    markets: tuple[str, ...]
    at_ns: int
    until_ns: int

    def covers(self, entry: Observation | Reference) -> bool:
        """Return whether an entry is of the fault's markets and of its time."""
        return entry.market in self.markets and self.at_ns <= entry.at_ns < self.until_ns

    def changed(self, change: Change) -> tuple[FeedEntry, ...]:
        """Return the feed with the covered observations changed."""
        return tuple(
            change(entry) if isinstance(entry, Observation) and self.covers(entry) else entry
            for entry in self.feed.entries
        )

    def referred(self, change: ReferenceChange, entries: Iterable[FeedEntry]) -> tuple[FeedEntry, ...]:
        """Return entries with the covered references changed, or without those that become None, in time order."""
        changed = (change(entry) if isinstance(entry, Reference) and self.covers(entry) else entry for entry in entries)
        return in_time_order(entry for entry in changed if entry is not None)

    def faulted(
        self, published: Iterable[FeedEntry], observed: Iterable[FeedEntry] | None = None, *, harmless: bool = False
    ) -> FaultedFeed:
        """Return the feed as it is published, and as the engine observes it where that differs.

        A harmless fault leaves everything that the engine asks genuine.
        """
        told = tuple(published)
        sees = tuple(entry for entry in (told if observed is None else observed) if isinstance(entry, Observation))
        fault = None if harmless else Fault(self.at_ns, self.kind, self.markets, self.until_ns)
        return FaultedFeed(self.kind, self.seed, fault, self.feed, told, sees, self.feed.values, Values.of(sees))

    def until_the_end(self) -> Site:
        """Return the site of a fault that nothing ends."""
        return replace(self, until_ns=self.feed.end_ns + 1)

    def standing(self, market: str, at_ns: int) -> Observation:
        """Return the honest observation in force at a time; the first one where none was yet."""
        own = self.feed.observations[market]
        return own[max(bisect_right(own, at_ns, key=attrgetter("at_ns")) - 1, 0)]

    def true_mark(self, market: str, at_ns: int) -> Decimal:
        """Return the honest mark price in force at a time."""
        return self.feed.values.marks[market].at(at_ns)

    def true_funding(self, market: str, at_ns: int) -> Decimal:
        """Return the honest funding index in force at a time."""
        return self.feed.values.funding_indices[market].at(at_ns)

    def accrual(self, market: str, elapsed_ns: int) -> Decimal:
        """Return what the funding index grows by in a time, at the premium of when the fault begins."""
        at_least = abs(self.true_mark(market, self.at_ns)) * PREMIUM_SHARE_MIN
        premium = self.standing(market, self.at_ns).funding_premium or at_least
        return short(max(abs(premium), at_least).copy_sign(premium) * elapsed_ns / FUNDING_PERIOD_NS)

    def uniform(self, low: float, high: float) -> Decimal:
        """Return a number between two, each as likely, with five digits."""
        return Decimal(f"{self.random.uniform(low, high):.5g}")

    def seconds_ns(self, low: float, high: float) -> int:
        """Return a duration between two numbers of seconds, each order of magnitude as likely."""
        return int(exp(self.random.uniform(log(low), log(high))) * SECOND_NS)

    def sign(self) -> int:
        """Return 1 or -1."""
        return self.random.choice((1, -1))


def short(value: Decimal) -> Decimal:
    """Return a value with no more digits than an exchange would publish."""
    return _DIGITS.plus(value)


def scaled(value: Decimal | None, factor: Decimal) -> Decimal | None:
    """Return a published value times a factor; what was not given stays so."""
    return None if value is None else short(value * factor)


def in_time_order(entries: Iterable[FeedEntry]) -> tuple[FeedEntry, ...]:
    """Return entries by when they are received, as they stand where that is the same."""
    return tuple(sorted(entries, key=attrgetter("at_ns")))
