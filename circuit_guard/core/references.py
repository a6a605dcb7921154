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
from circuit_guard.core.parameters import Parameters, Relation, count, names, number, seconds, share, widths
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.types import SECOND_NS

PAIR = 2
"""One reference alone may be the one that is wrong: it counts only near what the last quorum said."""

TREND_EVERY_NS = 10 * SECOND_NS

SPLITS_KEPT = 60
"""How many distances of a source from the reference price are kept, one every ten seconds. What half of them exceed is
no wick."""
MOST_SPLITS = SPLITS_KEPT // 2 + 1
"""More than half: a source that is below for half of the time and above for the other half makes no room."""

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
    pair_share: Decimal = share(
        "0.04",
        "Fewer than a quorum: a price has to be between two, or next to one that is left. Two that are further apart "
        "than this, or one that is further from where the last quorum was, say nothing and closures are denied. Wider: "
        "one that lies has more room. Narrower: venues that really split, or a crash while others are down, hold "
        "genuine closures.",
    )


@dataclass(frozen=True, slots=True)
class HullParameters(Parameters):
    """The hull: the interval in which the reference price has been within the window."""

    TABLE: ClassVar[str] = "divergence"

    hull_widths: Decimal = widths(
        2,
        "Every tolerance round the hull grows by this many of its own widths: wide in a crash, narrow in calm (DESIGN "
        "4).",
    )
    trend_ns: int = seconds(
        600,
        "How much history says whether a fall goes on: the unexplained burst does not speak of closures in one.",
        most=86_400,
    )
    window_ns: int = seconds(
        30, "How much history the hull spans. In a crash references lag the mark price by seconds (DESIGN 4)."
    )
    lasted_ns: int = seconds(
        2,
        "A reference price that lasted for less than this in all counts only while it is in force: the wick of a "
        "moment leaves no room behind.",
        least=0,
    )
    spread_widths: Decimal = number(
        "2.5",
        "Every tolerance grows by this many spreads: how far the second nearest reference has been from the reference "
        "price, in the median over the window. Venues really split in a crash; one venue's wick does not move this.",
        most=100,
    )
    split_max: Decimal = share(
        "0.02",
        "A venue that has been away from the reference price for most of the last 10 min makes room as far as it was, "
        "at most this share of the price: in a crash venues part for long. A source that lies alone makes that room "
        "after 5 min. 0: none does.",
        zero=True,
    )
    smoothing_ns: int = seconds(
        0,
        "For exchanges whose mark price is an exponential average: its time constant. The reference price is then "
        "averaged alike. 0: it is not.",
        least=0,
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
    hull_since_ns: int
    """Since when the hull is known, at most a little longer than the window; later than anything without a quorum."""
    anchors: Interval | None
    """What a price is compared with: the hull, or without a quorum what is between the fresh ones; None where none is
    fresh, where those are too far apart, or where the only one is too far from the last quorum."""
    rise: Decimal
    """How far the reference price has risen from where it was lowest within the window, for as long as it lasted."""
    fall: Decimal
    """How far it has fallen from where it was highest."""
    range: Interval | None
    """What is between the lowest and the highest fresh one; None without a quorum."""
    room: tuple[Decimal, Decimal]
    """How far below and above the anchors a price may be because independent venues are apart: now, by
    `spread_widths`, or for long, by `split_max`."""
    trend: Decimal
    """How far the reference price has moved within the last minutes, `divergence.trend_s`."""
    last_quorum_price: Decimal | None
    last_quorum_ns: int | None

    @property
    def width(self) -> Decimal:
        """How far the reference price has moved within the window, up and down."""
        return self.rise + self.fall

    def between(self, price: Decimal | None) -> bool:
        """Return whether a price lies between the fresh references of a quorum: at least one is on either side."""
        return price is not None and self.range is not None and price in self.range

    def agree(self, share: Decimal) -> bool:
        """Return whether there is a quorum, or at least two that are no further apart than a fraction of the price."""
        apart = None if self.anchors is None else self.anchors.high - self.anchors.low
        near = apart is not None and self.price is not None and apart <= abs(self.price) * share
        return self.quorum or (self.count >= PAIR and near)

    def limits(self, base: Decimal, widths: Decimal) -> Interval | None:
        """Return where a price may be: no further from the anchors than a fraction of them, and in the direction of a
        move so many times that move. A leader goes ahead of the references, not against them.
        """
        if self.anchors is None:
            return None
        low, high = self.anchors.low - self.room[0], self.anchors.high + self.room[1]
        return Interval(low - abs(low) * base - self.fall * widths, high + abs(high) * base + self.rise * widths)


def _between(fresh: list[Decimal], before: Interval | None, policy: MarketPolicy) -> Interval | None:
    """Return what is between references that are no quorum; None where they part too far.

    One alone needs a second voice: the hull of the last quorum, `before`. It may be far from where prices are by now,
    so it only says how far the one is believed.
    """
    share = policy.of(ReferenceParameters).pair_share
    if len(fresh) >= PAIR:
        found = Interval(min(fresh), max(fresh))
        return found if found.high - found.low <= abs(found.low) * share else None
    near = bool(fresh) and before is not None and fresh[0] in before.widened(share)
    return Interval(fresh[0], fresh[0]) if near else None


def _capped(
    rise: Decimal, fall: Decimal, price: Decimal, before: Interval, policy: MarketPolicy
) -> tuple[Decimal, Decimal]:
    """Return how far the only reference has moved, but no more than leaves limits near the last quorum: one that lies
    must not make room by moving up and down.
    """
    room = before.widened(policy.of(ReferenceParameters).pair_share)
    hull_widths = policy.of(HullParameters).hull_widths or Decimal(1)
    return min(rise, (room.high - price) / hull_widths), min(fall, (price - room.low) / hull_widths)


def _exceeded(spans: list[tuple[Decimal, int]], lasted_ns: int) -> Decimal:
    """Return the first price, in the order given, up to which the price has been for so long in all."""
    total_ns = 0
    for price, span_ns in spans:
        total_ns += span_ns
        if total_ns >= lasted_ns:
            return price
    return spans[-1][0]


@dataclass(slots=True)
class ReferenceBook:
    """The mutable record behind `ReferenceView`."""

    quotes: dict[str, Quote] = field(default_factory=dict)
    recent: dict[str, deque[Quote]] = field(default_factory=dict)
    """What each source has said within the window, oldest first."""
    points: deque[MedianPoint] = field(default_factory=deque)
    last_quorum_price: Decimal | None = None
    last_quorum_ns: int | None = None
    smoothed: Decimal | None = None
    """The exponential average of the median, where the policy has one."""
    lasted: Interval | None = None
    """Where the median has been within the window before the last quorum, without what did not last."""
    spreads: deque[tuple[int, Decimal]] = field(default_factory=deque)
    """Once a second, how far the second nearest reference was from the reference price; oldest first."""
    spread: Decimal = Decimal(0)
    """Their median."""
    trend: deque[tuple[int, Decimal]] = field(default_factory=deque)
    """The reference price every ten seconds, oldest first."""
    apart: dict[str, deque[Decimal]] = field(default_factory=dict)
    """Every ten seconds, how far each source was from the reference price, as a share of it; oldest first."""
    split: tuple[Decimal, Decimal] = (Decimal(0), Decimal(0))
    """How far a source was below and above the reference price for most of that time."""
    last_median: Decimal | None = None
    """The median that it follows since the last quorum."""

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
            price = self._smooth(median([*others, reference.price]), now_ns, policy.of(HullParameters).smoothing_ns)
            if not self.points or self.points[-1].price != price:
                self.points.append(MedianPoint(now_ns, price))
            self.last_quorum_price, self.last_quorum_ns = price, now_ns
            self.lasted = self._lasted(now_ns, policy)
            if not self.trend or now_ns - self.trend[-1][0] >= TREND_EVERY_NS:
                self._note_trend(price, now_ns, policy.of(HullParameters).trend_ns)
                self._note_split(price, now_ns, policy)
            self._note_spread([*others, reference.price], price, now_ns, policy)
        if len(self.quotes) > policy.of(ReferenceParameters).sources_max:
            oldest = min(self.quotes, key=lambda source: self.quotes[source].seen_ns)
            del self.quotes[oldest], self.recent[oldest]
            self.apart.pop(oldest, None)

    def _note_spread(self, prices: list[Decimal], price: Decimal, now_ns: int, policy: MarketPolicy) -> None:
        """Note how far apart the references are. The nearest is the reference price itself, or about that."""
        if len(prices) < PAIR or (self.spreads and now_ns - self.spreads[-1][0] < SECOND_NS):
            return
        self.spreads.append((now_ns, sorted(abs(one - price) for one in prices)[1]))
        while self.spreads[0][0] < now_ns - policy.of(HullParameters).window_ns:
            self.spreads.popleft()
        self.spread = median([apart for _, apart in self.spreads])

    def _note_trend(self, price: Decimal, now_ns: int, trend_ns: int) -> None:
        self.trend.append((now_ns, price))
        while self.trend[0][0] < now_ns - trend_ns:
            self.trend.popleft()

    def _note_split(self, price: Decimal, now_ns: int, policy: MarketPolicy) -> None:
        """Note how far each source is from the reference price, and how far away one has been for long."""
        if not price:
            return
        oldest_ns = now_ns - policy.of(ReferenceParameters).age_max_ns
        below, above = [Decimal(0)], [Decimal(0)]
        for source, quote in self.quotes.items():
            kept = self.apart.setdefault(source, deque())
            kept.append((quote.price - price) / abs(price) if quote.seen_ns >= oldest_ns else Decimal(0))
            if len(kept) > SPLITS_KEPT:
                kept.popleft()
            if len(kept) >= MOST_SPLITS:
                lasting = sorted(kept)
                below.append(-lasting[MOST_SPLITS - 1])
                above.append(lasting[-MOST_SPLITS])
        self.split = (max(below), max(above))

    def _trend(self) -> Decimal:
        """Return how far the reference price has moved over the last minutes; 0 without a quorum."""
        prices = [price for _, price in self.trend]
        if not prices or self.last_quorum_price is None:
            return Decimal(0)
        prices.append(self.last_quorum_price)
        return max(prices) - min(prices)

    def _smooth(self, price: Decimal, now_ns: int, constant_ns: int) -> Decimal:
        """Return the average of the median: between two references the one before was in force."""
        if not constant_ns or self.last_quorum_ns is None or self.last_median is None:
            self.smoothed = price if constant_ns else None
        else:
            weight = (Decimal(self.last_quorum_ns - now_ns) / constant_ns).exp()
            before = price if self.smoothed is None else self.smoothed
            self.smoothed = self.last_median + (before - self.last_median) * weight
        self.last_median = price if constant_ns else None
        return price if self.smoothed is None else self.smoothed

    def fresh_prices(self, now_ns: int, policy: MarketPolicy, without: str = "") -> list[Decimal]:
        """Return the prices young enough to count, leaving out one source if named."""
        oldest_ns = now_ns - policy.of(ReferenceParameters).age_max_ns
        return [
            quote.price for source, quote in self.quotes.items() if quote.seen_ns >= oldest_ns and source != without
        ]

    def view(self, now_ns: int, policy: MarketPolicy) -> ReferenceView:
        """Return what the references say now. Changes nothing."""
        fresh = self.fresh_prices(now_ns, policy)
        last = (self._trend(), self.last_quorum_price, self.last_quorum_ns)
        if len(fresh) >= policy.of(ReferenceParameters).quorum:
            price = median(fresh) if self.smoothed is None else self.smoothed
            lasted = self.lasted or Interval(price, price)
            hull = lasted.including(price)
            within = min(max(price, lasted.low), lasted.high)
            rise, fall = within - lasted.low, lasted.high - within
            between, room = Interval(min(fresh), max(fresh)), self._room(price, policy.of(HullParameters))
            return ReferenceView(
                len(fresh), True, price, hull, self._since_ns(), hull, rise, fall, between, room, *last
            )
        middle = median(fresh) if fresh else None
        rise, fall = self._moved(now_ns, policy)
        before = self._last_hull()
        anchors = _between(fresh, before, policy)
        if len(fresh) < PAIR and anchors is not None and before is not None:
            rise, fall = _capped(rise, fall, fresh[0], before, policy)
        return ReferenceView(
            len(fresh), False, middle, None, FOR_EVER_NS, anchors, rise, fall, None, (Decimal(0), Decimal(0)), *last
        )

    def _room(self, price: Decimal, rule: HullParameters) -> tuple[Decimal, Decimal]:
        """Return the room below and above that venues which are apart make."""
        spread, limit = self.spread * rule.spread_widths, rule.split_max
        below, above = (max(spread, min(share, limit) * abs(price)) for share in self.split)
        return below, above

    def _since_ns(self) -> int:
        return self.points[0].since_ns if self.points else FOR_EVER_NS

    def _last_hull(self) -> Interval | None:
        """Return the hull of the last quorum, however long ago it was; None before the first."""
        price = self.last_quorum_price
        return None if price is None else (self.lasted or Interval(price, price)).including(price)

    def changes_ns(self, now_ns: int, policy: MarketPolicy) -> int:
        """Return the first instant after `now_ns` at which time alone may change the view."""
        window_ns, age_max_ns = policy.of(HullParameters).window_ns, policy.of(ReferenceParameters).age_max_ns
        ages_ns = [quote.seen_ns + age_max_ns + 1 for quote in self.quotes.values()]
        if self.last_quorum_ns is not None:
            ages_ns.append(self.last_quorum_ns + window_ns + 1)
        return min((at_ns for at_ns in ages_ns if at_ns > now_ns), default=FOR_EVER_NS)

    def _moved(self, now_ns: int, policy: MarketPolicy) -> tuple[Decimal, Decimal]:
        """Return how far every fresh source has risen and fallen within the window."""
        oldest_ns = now_ns - policy.of(ReferenceParameters).age_max_ns
        rises, falls = [], []
        for recent in self.recent.values():
            if recent[-1].seen_ns >= oldest_ns:
                prices = [quote.price for quote in recent]
                rises.append(prices[-1] - min(prices))
                falls.append(max(prices) - prices[-1])
        return min(rises, default=Decimal(0)), min(falls, default=Decimal(0))

    def _lasted(self, now_ns: int, policy: MarketPolicy) -> Interval:
        """Return where the median has been within the window, without what it exceeded for less than `lasted_ns`."""
        rule = policy.of(HullParameters)
        start_ns = now_ns - rule.window_ns
        ends_ns = [*[point.since_ns for point in self.points][1:], now_ns]
        spans = sorted(
            (point.price, end_ns - max(point.since_ns, start_ns))
            for point, end_ns in zip(self.points, ends_ns, strict=True)
            if end_ns >= start_ns
        )
        low, high = _exceeded(spans, rule.lasted_ns), _exceeded(spans[::-1], rule.lasted_ns)
        return Interval(min(low, high), max(low, high))

    def _expire(self, start_ns: int) -> None:
        """Drop the points superseded before the window; the one in force at its start stays, if there was a quorum."""
        if self.last_quorum_ns is None or self.last_quorum_ns < start_ns:
            self.points.clear()
        while len(self.points) > 1 and self.points[1].since_ns <= start_ns:
            self.points.popleft()
