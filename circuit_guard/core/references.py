"""The references of one market: the latest price of each source, their median, and the hull of that median.

The hull is of the median, not of all prices: a single venue's wick would carry the latter (Deribit 2019, BitMEX 2019).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, NamedTuple

from circuit_guard.core.envelope import Interval
from circuit_guard.core.inputs import Reference
from circuit_guard.core.parameters import Parameters, Relation, count, names, seconds, share, widths
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.types import show

FOR_EVER_NS = 2**63 - 1
"""Later than anything."""


@dataclass(frozen=True, slots=True)
class ReferenceParameters(Parameters):
    """Which references count, and how many fresh ones are a quorum."""

    TABLE: ClassVar[str] = "references"
    RELATIONS: ClassVar[tuple[Relation, ...]] = (
        Relation(
            "references.age_max_s", "at most", "divergence.window_s", "the hull must span all references that count"
        ),
        Relation("references.quorum", "at most", "references.sources_max", "more sources are never taken in"),
    )

    sources: frozenset[str] = names(
        "The sources that may publish references for the market. Empty admits any; name them in production, for "
        "example "
        '["binance", "bybit", "okx"].',
        most=1000,
    )
    sources_max: int = count(16, "How many different sources a market may have; more are refused.", most=1000)
    age_max_ns: int = seconds(10, "An older reference does not count. Venues publish at least once per second.")
    quorum: int = count(3, "Fresh references that make a median. Two that agree can be wrong together.", most=1000)
    outlier_share: Decimal = share("0.20", "A reference this far from the median of the others is reported.")


@dataclass(frozen=True, slots=True)
class HullParameters(Parameters):
    """The hull: the interval in which the reference price has been within the window."""

    TABLE: ClassVar[str] = "divergence"

    hull_widths: Decimal = widths(
        2,
        "Every tolerance round the hull grows by this many of its own widths: wide in a crash, narrow in calm (DESIGN "
        "4).",
    )
    window_ns: int = seconds(
        30, "How much history the hull spans. In a crash references lag the mark price by seconds (DESIGN 4)."
    )


class Quote(NamedTuple):
    """The latest price of one source."""

    price: Decimal
    event_time_ns: int
    seen_ns: int
    """The older of event time and receipt: what its age is measured from."""


class MedianPoint(NamedTuple):
    """The median in force from `since_ns` until the next point."""

    since_ns: int
    price: Decimal


def median(prices: list[Decimal]) -> Decimal:
    """Return the median; of an even number the mean of the middle two."""
    prices.sort()
    middle = len(prices) // 2
    return prices[middle] if len(prices) % 2 else (prices[middle - 1] + prices[middle]) / 2


class Anchors(NamedTuple):
    """The prices that a judged price has to stay near: it may not be far below `lower` nor far above `upper`.

    With a quorum they are the ends of the hull. Without one no median can be told from a wick, so a price must be near
    every fresh reference: `lower` is then the highest of them, and `upper` the lowest.
    """

    lower: Decimal
    upper: Decimal


class Nowhere(NamedTuple):
    """No price is near every reference: near the highest begins at `low`, above `high`, where the rest ends."""

    low: Decimal
    high: Decimal

    def __contains__(self, value: object) -> bool:
        return False

    def distance(self, value: Decimal) -> Decimal:
        """Return how far outside the value lies, at most."""
        return max(self.low - value, value - self.high, Decimal(0))

    def __str__(self) -> str:
        return f"{show(self.low)} .. {show(self.high)}"


@dataclass(slots=True)
class ReferenceView:
    """What the references say at one instant."""

    count: int
    """How many sources are fresh."""
    quorum: bool
    price: Decimal | None
    """The reference price: the median of the fresh ones; None without any."""
    hull: Interval | None
    """What the reference price has been within the window; None without a quorum."""
    anchors: Anchors | None
    """What a price is compared with; None without any fresh reference."""
    width: Decimal
    """How far the reference price has moved within the window. Without a quorum: as far as every fresh source has."""
    last_quorum_price: Decimal | None
    last_quorum_ns: int | None

    def limits(self, base: Decimal, widths: Decimal) -> Interval | Nowhere | None:
        """Return where a price may be: no further from the anchors than a fraction of them plus so many widths."""
        if self.anchors is None:
            return None
        lower, upper, own = self.anchors.lower, self.anchors.upper, self.width * widths
        low, high = lower - abs(lower) * base - own, upper + abs(upper) * base + own
        return Interval(low, high) if low <= high else Nowhere(low, high)


@dataclass(slots=True)
class ReferenceBook:
    """The mutable record behind `ReferenceView`."""

    quotes: dict[str, Quote] = field(default_factory=dict)
    recent: dict[str, deque[Quote]] = field(default_factory=dict)
    """What each source has said within the window, oldest first."""
    points: deque[MedianPoint] = field(default_factory=deque)
    last_quorum_price: Decimal | None = None
    last_quorum_ns: int | None = None

    def record(self, reference: Reference, others: list[Decimal], policy: MarketPolicy) -> None:
        """Take one accepted reference, and the median it makes with the fresh `others`. Only a quorum makes history."""
        now_ns, event_time_ns = reference.at_ns, reference.event_time_ns
        quote = Quote(reference.price, event_time_ns, min(now_ns, event_time_ns))
        self.quotes[reference.source] = quote
        recent = self.recent.get(reference.source)
        if recent is None:
            recent = self.recent[reference.source] = deque()
        recent.append(quote)
        while recent[0].seen_ns < now_ns - policy.of(HullParameters).window_ns:
            recent.popleft()
        self._expire(now_ns - policy.of(HullParameters).window_ns)
        if len(others) + 1 >= policy.of(ReferenceParameters).quorum:
            price = median([*others, reference.price])
            if not self.points or self.points[-1].price != price:
                self.points.append(MedianPoint(now_ns, price))
            self.last_quorum_price, self.last_quorum_ns = price, now_ns
        if len(self.quotes) > policy.of(ReferenceParameters).sources_max:
            oldest = min(self.quotes, key=lambda source: self.quotes[source].seen_ns)
            del self.quotes[oldest], self.recent[oldest]

    def fresh_prices(self, now_ns: int, policy: MarketPolicy, without: str = "") -> list[Decimal]:
        """Return the prices young enough to count, leaving out one source if named."""
        oldest_ns = now_ns - policy.of(ReferenceParameters).age_max_ns
        return [
            quote.price for source, quote in self.quotes.items() if quote.seen_ns >= oldest_ns and source != without
        ]

    def view(self, now_ns: int, policy: MarketPolicy) -> ReferenceView:
        """Return what the references say now. Changes nothing."""
        fresh = self.fresh_prices(now_ns, policy)
        seen = self._since(now_ns - policy.of(HullParameters).window_ns)
        last = (self.last_quorum_price, self.last_quorum_ns)
        if len(fresh) >= policy.of(ReferenceParameters).quorum:
            price = median(fresh)
            seen.append(price)
            hull = Interval(min(seen), max(seen))
            anchors = Anchors(hull.low, hull.high)
            return ReferenceView(len(fresh), True, price, hull, anchors, hull.high - hull.low, *last)
        width = max(max(seen) - min(seen) if seen else Decimal(0), self._moved(now_ns, policy))
        far_ends = Anchors(max(fresh), min(fresh)) if fresh else None
        return ReferenceView(len(fresh), False, median(fresh) if fresh else None, None, far_ends, width, *last)

    def changes_ns(self, now_ns: int, policy: MarketPolicy) -> int:
        """Return the first instant after `now_ns` at which time alone may change the view."""
        window_ns, age_max_ns = policy.of(HullParameters).window_ns, policy.of(ReferenceParameters).age_max_ns
        ages_ns = [quote.seen_ns + age_max_ns + 1 for quote in self.quotes.values()]
        if self.last_quorum_ns is not None:
            ages_ns.append(self.last_quorum_ns + window_ns + 1)
        superseded_ns = [point.since_ns + window_ns for point in self.points]
        return min((at_ns for at_ns in (*ages_ns, *superseded_ns) if at_ns > now_ns), default=FOR_EVER_NS)

    def _moved(self, now_ns: int, policy: MarketPolicy) -> Decimal:
        """Return how far every fresh source has moved within the window: a single one's wick moves only itself."""
        ranges = [
            max(quote.price for quote in recent) - min(quote.price for quote in recent)
            for recent in self.recent.values()
            if recent[-1].seen_ns >= now_ns - policy.of(ReferenceParameters).age_max_ns
        ]
        return min(ranges, default=Decimal(0))

    def _since(self, start_ns: int) -> list[Decimal]:
        """Return the medians that were in force at some time since then."""
        if self.last_quorum_ns is None or self.last_quorum_ns < start_ns:
            return []
        points = self.points
        later = next((n for n in range(1, len(points)) if points[n].since_ns > start_ns), len(points))
        return [points[n].price for n in range(max(later - 1, 0), len(points))]

    def _expire(self, start_ns: int) -> None:
        """Drop the points superseded before the window; the one in force at its start stays, if there was a quorum."""
        if self.last_quorum_ns is None or self.last_quorum_ns < start_ns:
            self.points.clear()
        while len(self.points) > 1 and self.points[1].since_ns <= start_ns:
            self.points.popleft()
