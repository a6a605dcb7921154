"""The references of one market: the latest price of each source, their median, and the hull of that median.

The hull is of the median, not of all prices: a single venue's wick would carry the latter (Deribit 2019, BitMEX 2019).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, NamedTuple

from circuit_guard.core.average import PriceSum, begun
from circuit_guard.core.envelope import Interval
from circuit_guard.core.hours import Closed, HoursParameters, is_closed
from circuit_guard.core.inputs import Reference
from circuit_guard.core.parameters import (
    Parameters,
    Relation,
    choice,
    count,
    name,
    named_tables,
    names,
    number,
    seconds,
    share,
    widths,
)
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.price import EXACT, PriceParameters
from circuit_guard.core.types import FOR_EVER_NS, SECOND_NS

PAIR = 2
"""One reference alone may be the one that is wrong: it counts only near what the last quorum said."""

TREND_EVERY_NS = 10 * SECOND_NS

SPLITS_KEPT = 60
"""How many distances of a source from the reference price are kept, one every ten seconds. What half of them exceed is
no wick."""

OWN_WIDENS_NS = 60 * SECOND_NS
"""Without an accepted mark price the room round the own average grows each minute ..."""
OWN_WIDENS_TIMES = 4
"""... up to this many times: what is further off, an operator has to confirm."""

"""Later than anything."""


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What a source publishes, where that is not simply the market's price. The name of its table is its own."""

    source: str
    multiplier: Decimal = number(
        "1",
        "Its price times this is one of the market: 1000 where the market's contract is 1000 tokens and the source has "
        "the price of one.",
        over=0,
        most=10**12,
    )
    quoted_in: str = name(
        "",
        "The market of this policy whose reference price converts what the source is quoted in, for example USDC-USD. "
        "Without a fresh quorum there the source does not count. Empty: quoted as the market is.",
    )
    origin: str = name(
        "", "Sources with the same origin are one voice, their median: two of one index provider are no second opinion."
    )
    min_change: Decimal = share(
        "0",
        "It publishes only once the price has moved by this fraction, as oracles do. Where most fresh voices are such, "
        "tolerances grow by it.",
        zero=True,
    )
    heartbeat_ns: int = seconds(
        0,
        "It publishes a price that stands still only this often: so much older it still counts.",
        least=0,
        most=86_400,
    )


PLAIN = SourceFacts("")
"""A source that publishes the price of the market, in its quote currency, as it moves."""


class Average(StrEnum):
    """What the mark price is a plain average of the index over: nothing, the time since a change, or the last while."""

    NONE = "none"
    GROWING = "growing"
    ROLLING = "rolling"


class WithoutReferences(StrEnum):
    """What is judged while there is no quorum of references: nothing can be, or the market's own price stands in."""

    DENIED = "denied"
    OWN_PRICE = "own_price"


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
        "The sources that may publish references for the market. Empty: any source may. In production name them, "
        'for example ["binance", "bybit", "okx"].',
        most=1000,
    )
    sources_max: int = count(16, "How many different sources a market may have; more are refused.", most=1000)
    age_max_ns: int = seconds(10, "An older reference does not count. Venues publish at least once per second.")
    quorum: int = count(3, "How many fresh references a median needs. Two that agree can be wrong together.", most=1000)
    outlier_share: Decimal = share("0.20", "A reference this far from the median of the others is reported.")
    pair_share: Decimal = share(
        "0.04",
        "With two fresh references a price has to lie between them; with one, next to it. If two are further "
        "apart than this, or one is further than this from the last quorum, they count as no reference and "
        "closures are denied. Wider: a lying reference has more room. Narrower: genuine closures are held when "
        "venues really split, or in a crash while other venues are down.",
    )
    facts: tuple[SourceFacts, ...] = named_tables(
        SourceFacts,
        "Facts of single sources, a table each: [classes.default.references.facts.NAME].",
        most=1000,
    )
    without: WithoutReferences = choice(
        WithoutReferences.DENIED,
        "denied: without a quorum of references nothing is warm. own_price: for a market that no other venue has; the "
        "average of its own accepted mark prices stands in. What is wrong by less than own_share passes, at any size "
        "if it comes slowly: see policy explain.",
    )
    average: Average = choice(
        Average.NONE,
        "For a delisting, in a change: how the mark price is then an average. growing: of the index since the change. "
        "rolling: of the index over the last average_s. The guard then averages the reference price alike, and judges "
        "mark prices and settlements by that. none: the mark price follows the index.",
    )
    average_ns: int = seconds(1800, "rolling: how much of the past the average spans.", most=86_400)
    own_share: Decimal = share(
        "0.05",
        "own_price: how far the mark price may be from that average; while nothing is accepted, 10 % of this more each "
        "minute, up to four times this. Wider: a larger jump passes. Narrower: fast moves are held.",
    )
    own_average_ns: int = seconds(
        60,
        "own_price: the time constant of that average. An honest move of own_share in less than this is denied; a "
        "wrong mark walks own_share in each of these unseen.",
        least=1,
    )


@dataclass(frozen=True, slots=True)
class HullParameters(Parameters):
    """The hull is the range of reference prices within the window."""

    TABLE: ClassVar[str] = "divergence"

    hull_widths: Decimal = widths(
        2,
        "Every tolerance round the hull grows by this many widths of the hull (DESIGN 4). So it is wide in a "
        "crash and narrow in calm.",
    )
    trend_ns: int = seconds(
        600,
        "How much history decides whether a fall is still going on. Closures in such a fall are never an "
        "unexplained burst.",
        most=86_400,
    )
    window_ns: int = seconds(
        30, "How much history the hull spans. In a crash references lag the mark price by seconds (DESIGN 4)."
    )
    lasted_ns: int = seconds(
        2,
        "A reference price that lasted for less than this in total widens the hull only while it is current. So "
        "a short wick leaves no room behind.",
        least=0,
    )
    spread_widths: Decimal = number(
        "2.5",
        "Every tolerance grows by this many spreads. The spread is the distance from the reference price to the "
        "second nearest reference, as a median over the window. Venues really split in a crash. One venue's wick "
        "does not move the spread.",
        most=100,
    )
    split_max: Decimal = share(
        "0.02",
        "In a crash venues can stay apart for long. So a venue that has been away from the reference price for "
        "most of the last 10 min widens the tolerance by its distance, up to this share of the price. A single "
        "lying source gains that room after 5 min. 0: no venue widens it.",
        zero=True,
    )
    smoothing_ns: int = seconds(
        0,
        "For exchanges whose mark price is an exponential average: its time constant. The guard then averages "
        "the reference price in the same way. 0: no average.",
        least=0,
    )


class Quote(NamedTuple):
    """The latest price of one source."""

    price: Decimal
    event_time_ns: int
    seen_ns: int
    """The older of event time and receipt: what its age is measured from."""


class Voice(NamedTuple):
    """What one origin says now, and how far its price may have moved before it says so."""

    price: Decimal
    threshold: Decimal


class Rate(NamedTuple):
    """What converts a quote currency, and until when it is fresh."""

    price: Decimal
    until_ns: int


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
    prices: PriceParameters = EXACT
    own: bool = False
    """Whether the market's own average stands in for a quorum: nothing here is independent of the exchange."""
    spot: Decimal | None = None
    """What the references say now, where the reference price is an average over minutes; None where it is no other."""

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
        near = apart is not None and self.price is not None and apart <= self.prices.reach(share, self.price)
        return self.quorum or (self.count >= PAIR and near)

    def limits(self, base: Decimal, widths: Decimal) -> Interval | None:
        """Return where a price may be: no further from the anchors than a fraction of them, and in the direction of a
        move so many times that move. A leader goes ahead of the references, not against them.
        """
        if self.anchors is None:
            return None
        low, high = self.anchors.low - self.room[0], self.anchors.high + self.room[1]
        below, above = self.prices.reach(base, low), self.prices.reach(base, high)
        return Interval(low - below - self.fall * widths, high + above + self.rise * widths)

    def limits_of_trades(self, base: Decimal, widths: Decimal) -> Interval | None:
        """Return where a price may be that is no mark price: near the reference price, or what it is an average of."""
        limits = self.limits(base, widths)
        if limits is None or self.spot is None:
            return limits
        reach = self.prices.reach(base, self.spot)
        return limits.including(self.spot - reach).including(self.spot + reach)


def _between(fresh: list[Decimal], before: Interval | None, policy: MarketPolicy) -> Interval | None:
    """Return what is between references that are no quorum; None where they part too far.

    One alone needs a second voice: the hull of the last quorum, `before`. It may be far from where prices are by now,
    so it only says how far the one is believed.
    """
    share, prices = policy.of(ReferenceParameters).pair_share, policy.of(PriceParameters)
    if len(fresh) >= PAIR:
        found = Interval(min(fresh), max(fresh))
        return found if found.high - found.low <= prices.reach(share, found.low) else None
    near = bool(fresh) and before is not None and fresh[0] in prices.widened(before, share)
    return Interval(fresh[0], fresh[0]) if near else None


def _capped(
    rise: Decimal, fall: Decimal, price: Decimal, before: Interval, policy: MarketPolicy
) -> tuple[Decimal, Decimal]:
    """Return how far the only reference has moved, but no more than leaves limits near the last quorum: one that lies
    must not make room by moving up and down.
    """
    room = policy.of(PriceParameters).widened(before, policy.of(ReferenceParameters).pair_share)
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


def facts_of(source: str, policy: MarketPolicy) -> SourceFacts:
    """Return what the policy says of a source."""
    facts = policy.of(ReferenceParameters).facts
    return next((one for one in facts if one.source == source), PLAIN) if facts else PLAIN


def averages(policy: MarketPolicy) -> bool:
    """Return whether the mark price is an average now, or a change makes it one."""
    if policy.of(ReferenceParameters).average is not Average.NONE:
        return True
    return any(_average_of(change.groups) is not Average.NONE for change in policy.changes)


def average_since_ns(now_ns: int, policy: MarketPolicy) -> int:
    """Return from when on the mark price in force at a time is an average of the index."""
    rule, since_ns = policy.of(ReferenceParameters), 0
    if rule.average is Average.ROLLING:
        return now_ns - rule.average_ns
    before = Average.NONE
    for change in policy.changes:
        if change.from_ns <= now_ns:
            given = _average_of(change.groups)
            since_ns, before = change.from_ns if given is not before else since_ns, given
    return since_ns


def _average_of(groups: Mapping[type[Parameters], Parameters]) -> Average:
    given = groups.get(ReferenceParameters)
    return given.average if isinstance(given, ReferenceParameters) else Average.NONE


def stands_alone(now_ns: int, policy: MarketPolicy) -> bool:
    """Return whether the market's own average stands in where references have no quorum."""
    if policy.of(ReferenceParameters).without is WithoutReferences.OWN_PRICE:
        return True
    return policy.of(HoursParameters).closed is Closed.OWN_PRICE and is_closed(policy, now_ns)


def own_share(silent_ns: int, policy: MarketPolicy) -> Decimal:
    """Return how far a mark price may be from the market's own average, so long after one was accepted."""
    rule = policy.of(ReferenceParameters)
    widened = rule.own_share * (1 + Decimal(silent_ns // OWN_WIDENS_NS) / 10)
    return min(widened, OWN_WIDENS_TIMES * rule.own_share)


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
    rates: dict[str, Rate] = field(default_factory=dict)
    """What converts quote currencies, by the market that says it."""
    own_price: Decimal | None = None
    """The average of the market's own accepted mark prices, where that stands in for references."""
    own_since_ns: int = 0
    own_ns: int = 0
    """Since when it is kept, and when a mark price was accepted last."""
    scaled_ns: int = 0
    """When the market's scale changed last: a price from before it does not count."""
    summed: PriceSum | None = None
    """What the average of the median is taken from, where the mark price is one or will be."""

    def record(self, reference: Reference, others: list[Decimal], policy: MarketPolicy) -> None:
        """Take one accepted reference, and the median it makes with the fresh `others`. Only a quorum makes history."""
        now_ns, event_time_ns = reference.at_ns, reference.event_time_ns
        quote = Quote(reference.price, event_time_ns, min(now_ns, event_time_ns))
        self.quotes[reference.source] = quote
        price = self.converted(reference.source, reference.price, now_ns, policy)
        if price is not None:
            recent = self.recent.setdefault(reference.source, deque())
            recent.append(quote._replace(price=price))
            while recent[0].seen_ns < now_ns - policy.of(HullParameters).window_ns and len(recent) > 1:
                recent.popleft()
        prices = (
            self.fresh_prices(now_ns, policy) if policy.of(ReferenceParameters).facts else [*others, reference.price]
        )
        self._expire(now_ns - policy.of(HullParameters).window_ns)
        if len(prices) >= policy.of(ReferenceParameters).quorum:
            middle = median(list(prices))
            price = self._averaged(middle, now_ns, policy)
            centre = price if policy.of(ReferenceParameters).average is Average.NONE else middle
            if not self.points or self.points[-1].price != price:
                self.points.append(MedianPoint(now_ns, price))
            self.last_quorum_price, self.last_quorum_ns = price, now_ns
            self.lasted = self._lasted(now_ns, policy)
            if not self.trend or now_ns - self.trend[-1][0] >= TREND_EVERY_NS:
                self._note_trend(price, now_ns, policy.of(HullParameters).trend_ns)
                self._note_split(centre, now_ns, policy)
            self._note_spread(prices, centre, now_ns, policy)
        if len(self.quotes) > policy.of(ReferenceParameters).sources_max:
            oldest = min(self.quotes, key=lambda source: self.quotes[source].seen_ns)
            del self.quotes[oldest]
            self.recent.pop(oldest, None)
            self.apart.pop(oldest, None)

    def converted(self, source: str, price: Decimal, now_ns: int, policy: MarketPolicy) -> Decimal | None:
        """Return a source's price as one of the market; None where nothing fresh converts its quote currency."""
        facts = facts_of(source, policy)
        if facts.quoted_in:
            rate = self.rates.get(facts.quoted_in)
            return None if rate is None or rate.until_ns <= now_ns else price * facts.multiplier * rate.price
        return price * facts.multiplier if facts is not PLAIN else price

    def rate(self, now_ns: int, policy: MarketPolicy) -> Rate | None:
        """Return the reference price as what converts others, and until when it has a quorum; None without one."""
        quorum = policy.of(ReferenceParameters).quorum
        fresh = self.fresh_prices(now_ns, policy)
        if len(fresh) < quorum:
            return None
        ends_ns: dict[str, int] = {}
        for source in self.quotes:
            origin = facts_of(source, policy).origin or source
            ends_ns[origin] = max(ends_ns.get(origin, 0), self._ends_ns(source, policy))
        return Rate(median(fresh), sorted(ends_ns.values())[-quorum])

    def follow_own(self, mark: Decimal, now_ns: int, policy: MarketPolicy) -> None:
        """Let the market's own average follow a mark price that was accepted."""
        rule = policy.of(ReferenceParameters)
        when_closed = policy.of(HoursParameters).closed is Closed.OWN_PRICE
        if rule.without is not WithoutReferences.OWN_PRICE and not when_closed:
            return
        if self.own_price is None:
            self.own_price, self.own_since_ns = mark, now_ns
        else:
            weight = (Decimal(self.own_ns - now_ns) / rule.own_average_ns).exp()
            self.own_price = mark + (self.own_price - mark) * weight
        self.own_ns = now_ns
        if not self.trend or now_ns - self.trend[-1][0] >= TREND_EVERY_NS:
            self._note_trend(self.own_price, now_ns, policy.of(HullParameters).trend_ns)

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
        below, above = [Decimal(0)], [Decimal(0)]
        for source, quote in self.quotes.items():
            if not self._ends_ns(source, policy):
                self.apart.pop(source, None)
                continue
            kept = self.apart.setdefault(source, deque())
            own = self.converted(source, quote.price, now_ns, policy)
            fresh = own is not None and self._ends_ns(source, policy) > now_ns
            kept.append((own - price) / abs(price) if own is not None and fresh else Decimal(0))
            if len(kept) > SPLITS_KEPT:
                kept.popleft()
            if len(kept) >= SPLITS_KEPT // 2:
                lasting = sorted(kept)
                below.append(-lasting[SPLITS_KEPT // 2 - 1])
                above.append(lasting[-SPLITS_KEPT // 2])
        self.split = (max(below), max(above))

    def _trend(self) -> Decimal:
        """Return how far the reference price has moved over the last minutes; 0 without a quorum."""
        prices = [price for _, price in self.trend]
        last = self.last_quorum_price if self.own_price is None else self.own_price
        if not prices or last is None:
            return Decimal(0)
        prices.append(last)
        return max(prices) - min(prices)

    def _averaged(self, price: Decimal, now_ns: int, policy: MarketPolicy) -> Decimal:
        """Return what the mark price is held against: the median, or the average of it that the policy names."""
        self._sum(price, now_ns, policy)
        if self.summed is None or policy.of(ReferenceParameters).average is Average.NONE:
            return self._smooth(price, now_ns, policy.of(HullParameters).smoothing_ns)
        self.smoothed = self.summed.since(average_since_ns(now_ns, policy))
        return self.smoothed

    def _sum(self, price: Decimal, now_ns: int, policy: MarketPolicy) -> None:
        """Keep the sum of the median as far back as an average may reach."""
        if not averages(policy):
            self.summed = None
        elif self.summed is None:
            self.summed = begun(price, now_ns)
        else:
            rule = policy.of(ReferenceParameters)
            self.summed.follow(price, now_ns)
            if rule.average is Average.GROWING:
                self.summed.begin(average_since_ns(now_ns, policy))
            else:
                self.summed.forget(now_ns - rule.average_ns)

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
        """Return the prices young enough to count, one an origin, leaving out that of one source if named."""
        rule = policy.of(ReferenceParameters)
        if rule.facts:
            return [voice.price for voice in self._voices(now_ns, policy, without)]
        oldest_ns, named = now_ns - rule.age_max_ns, rule.sources
        return [
            quote.price
            for source, quote in self.quotes.items()
            if quote.seen_ns >= oldest_ns and source != without and (not named or source in named)
        ]

    def _voices(self, now_ns: int, policy: MarketPolicy, without: str = "") -> list[Voice]:
        """Return what each origin says that is fresh and, where it has to be, converted."""
        left_out = facts_of(without, policy).origin or without
        heard: dict[str, list[Decimal]] = {}
        shares: dict[str, Decimal] = {}
        for source, quote in self.quotes.items():
            facts = facts_of(source, policy)
            origin = facts.origin or source
            price = self.converted(source, quote.price, now_ns, policy)
            if origin != left_out and price is not None and self._ends_ns(source, policy) > now_ns:
                heard.setdefault(origin, []).append(price)
                shares[origin] = max(shares.get(origin, Decimal(0)), facts.min_change)
        said = {origin: median(prices) for origin, prices in heard.items()}
        return [Voice(price, abs(price) * shares[origin]) for origin, price in said.items()]

    def _ends_ns(self, source: str, policy: MarketPolicy) -> int:
        """Return the first instant at which a source's price no longer counts; 0 for one that the policy took out."""
        named = policy.of(ReferenceParameters).sources
        if named and source not in named:
            return 0
        age_max_ns = policy.of(ReferenceParameters).age_max_ns + facts_of(source, policy).heartbeat_ns
        return self.quotes[source].seen_ns + age_max_ns + 1

    def view(self, now_ns: int, policy: MarketPolicy) -> ReferenceView:
        """Return what the references say now. Changes nothing."""
        fresh = self.fresh_prices(now_ns, policy)
        rule, prices = policy.of(ReferenceParameters), policy.of(PriceParameters)
        last = (self._trend(), self.last_quorum_price, self.last_quorum_ns, prices)
        if len(fresh) >= rule.quorum:
            price = median(fresh) if self.smoothed is None else self.smoothed
            recent = (
                self.last_quorum_ns is not None and now_ns - self.last_quorum_ns <= policy.of(HullParameters).window_ns
            )
            lasted = self.lasted if recent and self.lasted is not None else Interval(price, price)
            hull = lasted.including(price)
            within = min(max(price, lasted.low), lasted.high)
            rise, fall = within - lasted.low, lasted.high - within
            threshold = self._threshold(now_ns, policy)
            averaging = rule.average is not Average.NONE and self.smoothed is not None
            between = None if averaging else Interval(min(fresh), max(fresh))
            below, above = self._room(price, policy.of(HullParameters)) if recent else (Decimal(0), Decimal(0))
            room = (below + threshold, above + threshold)
            spot = median(fresh) if averaging else None
            return ReferenceView(
                len(fresh), True, price, hull, self._since_ns(), hull, rise, fall, between, room, *last, spot=spot
            )
        if self.own_price is not None and stands_alone(now_ns, policy):
            return self._own_view(self.own_price, len(fresh), now_ns, policy)
        middle = median(fresh) if fresh else None
        rise, fall = self._moved(now_ns, policy)
        before = self._last_hull()
        anchors = _between(fresh, before, policy)
        if len(fresh) < PAIR and anchors is not None and before is not None:
            rise, fall = _capped(rise, fall, fresh[0], before, policy)
        room = (self._threshold(now_ns, policy),) * 2
        return ReferenceView(len(fresh), False, middle, None, FOR_EVER_NS, anchors, rise, fall, None, room, *last)

    def _threshold(self, now_ns: int, policy: MarketPolicy) -> Decimal:
        """Return how far the reference price can be from the true one because sources wait for a change."""
        if not policy.of(ReferenceParameters).facts:
            return Decimal(0)
        voices = self._voices(now_ns, policy)
        if not any(voice.threshold for voice in voices):
            return Decimal(0)
        middle = median([voice.price for voice in voices])
        low = median([voice.price - voice.threshold for voice in voices])
        return max(middle - low, median([voice.price + voice.threshold for voice in voices]) - middle)

    def _own_view(self, price: Decimal, fresh: int, now_ns: int, policy: MarketPolicy) -> ReferenceView:
        """Return the market's own average in the place of a reference price; with room on both sides."""
        prices, here = policy.of(PriceParameters), Interval(price, price)
        room = prices.reach(own_share(now_ns - self.own_ns, policy), price)
        last = (self._trend(), price, self.own_ns, prices)
        none = Decimal(0)
        return ReferenceView(
            fresh, True, price, here, self.own_since_ns, here, none, none, None, (room, room), *last, own=True
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
        window_ns = policy.of(HullParameters).window_ns
        ages_ns = [self._ends_ns(source, policy) for source in self.quotes]
        ages_ns += [rate.until_ns for rate in self.rates.values()]
        if self.own_price is not None:
            ages_ns.append(now_ns + OWN_WIDENS_NS - max(now_ns - self.own_ns, 0) % OWN_WIDENS_NS)
        if self.last_quorum_ns is not None:
            ages_ns.append(self.last_quorum_ns + window_ns + 1)
        return min((at_ns for at_ns in ages_ns if at_ns > now_ns), default=FOR_EVER_NS)

    def _moved(self, now_ns: int, policy: MarketPolicy) -> tuple[Decimal, Decimal]:
        """Return how far every fresh source has risen and fallen within the window."""
        rises, falls = [], []
        for source, recent in self.recent.items():
            if (
                self._ends_ns(source, policy) > now_ns
                and self.converted(source, recent[-1].price, now_ns, policy) is not None
            ):
                prices = [quote.price for quote in recent]
                rises.append(prices[-1] - min(prices))
                falls.append(max(prices) - prices[-1])
        return min(rises, default=Decimal(0)), min(falls, default=Decimal(0))

    def _lasted(self, now_ns: int, policy: MarketPolicy) -> Interval:
        """Return where the median has been within the window, without what it exceeded for less than `lasted_ns`."""
        rule = policy.of(HullParameters)
        begun_ns = [since_ns for since_ns, _ in self.points]
        begun_ns[0] = max(begun_ns[0], now_ns - rule.window_ns)  # only the oldest can have begun before the window
        spans = [
            (price, end_ns - since_ns)
            for (_, price), since_ns, end_ns in zip(self.points, begun_ns, [*begun_ns[1:], now_ns], strict=True)
        ]
        spans.sort()
        low = _exceeded(spans, rule.lasted_ns)
        spans.reverse()
        high = _exceeded(spans, rule.lasted_ns)
        return Interval(min(low, high), max(low, high))

    def _expire(self, start_ns: int) -> None:
        """Drop the points superseded before the window; the one in force at its start stays, if there was a quorum."""
        if self.last_quorum_ns is None or self.last_quorum_ns < start_ns:
            self.points.clear()
        while len(self.points) > 1 and self.points[1].since_ns <= start_ns:
            self.points.popleft()
