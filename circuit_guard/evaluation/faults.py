"""The catalogue of corruptions: what past incidents did to the data, each as a pure transform of an honest feed.

To add one: write `name(site)` beside those of its subject, with the incident it comes from, and enter it in CATALOGUE.
While only references are wrong, nothing may trip, and nothing genuine may be held for longer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from operator import attrgetter
from random import Random
from typing import Any

from circuit_guard.core.inputs import Observation, PhaseCommand, Reference
from circuit_guard.core.types import ARITHMETIC, SECOND_NS, Phase
from circuit_guard.evaluation.dispersion import VENUES_MIN, parted
from circuit_guard.evaluation.draws import seconds_ns, short
from circuit_guard.evaluation.feed import FaultedFeed, Feed, FeedEntry, Values, worst_minute_ns
from circuit_guard.recording.format import Fault

HOUR_NS = 3_600 * SECOND_NS
FUNDING_PERIOD_NS = 8 * HOUR_NS
PREMIUM_SHARE_MIN = Decimal("0.0001")
"""0.01 % in 8 hours, the interest rate that perpetuals revert to: what an index grows by where nothing is special."""

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

    def accrual(self, market: str, elapsed_ns: int) -> Decimal:
        """Return what the funding index grows by in a time, at the premium of when the fault begins."""
        at_least = abs(self.feed.values.mark(market, self.at_ns)) * PREMIUM_SHARE_MIN
        premium = self.standing(market, self.at_ns).funding_premium or at_least
        return short(max(abs(premium), at_least).copy_sign(premium) * elapsed_ns / FUNDING_PERIOD_NS)

    def uniform(self, low: float, high: float) -> Decimal:
        """Return a number between two, each as likely, with five digits."""
        return Decimal(f"{self.random.uniform(low, high):.5g}")

    def seconds_ns(self, low: float, high: float) -> int:
        """Return a duration between two numbers of seconds, each order of magnitude as likely."""
        return seconds_ns(self.random, low, high)

    def sign(self) -> int:
        """Return 1 or -1."""
        return self.random.choice((1, -1))


def scaled(value: Decimal | None, factor: Decimal) -> Decimal | None:
    """Return a published value times a factor; what was not given stays so."""
    return None if value is None else short(value * factor)


def in_time_order(entries: Iterable[FeedEntry]) -> tuple[FeedEntry, ...]:
    """Return entries by when they are received, as they stand where that is the same."""
    return tuple(sorted(entries, key=attrgetter("at_ns")))


# Corruptions of the funding index.

WEEK_H = 168


def indexed(funding_index: Callable[[str, Decimal], Decimal]) -> Change:
    """Return the change that publishes another funding index; it is given the market and the honest index."""

    def change(entry: Observation) -> Observation:
        index = entry.funding_index
        return entry if index is None else replace(entry, funding_index=short(funding_index(entry.market, index)))

    return change


INDEX_ZERO = indexed(lambda market, index: Decimal(0))
"""The change that publishes a funding index of zero, whatever it was."""


def aged(site: Site, age_ns: int) -> Change:
    """Return the change that publishes the funding index of an age before."""
    return indexed(lambda market, index: index - site.accrual(market, age_ns))


def reset(site: Site) -> FaultedFeed:
    """Set funding indices to zero until they are repaired: shorts pay where they were positive, longs where not.

    Paradex, 19 January 2026: a race at a restart; BTC's index stood at 22 % of its price, BERA's at -450 %.
    """
    return site.faulted(site.changed(INDEX_ZERO))


def reset_then_growth(site: Site) -> FaultedFeed:
    """Start indices again at zero and have them grow as they should, until the true ones are put back: two jumps.

    Paradex, 19 January 2026; the growth looks continuous, and the way back strikes those who traded in between.
    """
    return site.faulted(
        site.changed(indexed(lambda market, index: index - site.feed.values.funding(market, site.at_ns)))
    )


def restore_jump(site: Site) -> FaultedFeed:
    """Put the true indices back, at once and for good, after a reset that happened before anybody looked.

    Every account cached a corrupt index, so the engine is right until the repair and wrong after it. Paradex, 19
    January 2026, seen by a guard that was deployed in between.
    """
    before = replace(site, at_ns=site.feed.start_ns, until_ns=site.at_ns)
    change = indexed(lambda market, index: index - site.feed.values.funding(market, site.feed.start_ns))
    return site.until_the_end().faulted(before.changed(change))


def swap(site: Site) -> FaultedFeed:
    """Have two markets carry each other's funding index: rows of a restored table joined by the wrong key."""
    first, second = site.markets
    other = {first: second, second: first}

    def change(entry: Observation) -> Observation:
        index = (
            None if entry.funding_index is None else short(site.feed.values.funding(other[entry.market], entry.at_ns))
        )
        return replace(entry, funding_index=index)

    return site.faulted(site.changed(change))


def stale_restore(site: Site) -> FaultedFeed:
    """Restore indices from a backup that is hours to a week old, and have them grow from there.

    dYdX, 10 October 2025: after 8 hours of halt it restarted with the values from before.
    """
    age_ns = site.random.randint(1, WEEK_H) * HOUR_NS
    return site.faulted(site.changed(aged(site, age_ns)))


def double_application(site: Site) -> FaultedFeed:
    """Apply a log of funding twice: all of it, so that the index doubles, or that of the last day to week."""
    whole = site.random.random() < 0.5
    length_ns = site.random.randint(24, WEEK_H) * HOUR_NS

    def index(market: str, honest: Decimal) -> Decimal:
        return honest + (site.feed.values.funding(market, site.at_ns) if whole else site.accrual(market, length_ns))

    return site.faulted(site.changed(indexed(index)))


def sign_flip(site: Site) -> FaultedFeed:
    """Flip the sign of indices: the payer's convention of one release meets the receiver's of another."""
    return site.faulted(site.changed(indexed(lambda market, index: -index)))


def rate_over_cap(site: Site) -> FaultedFeed:
    """Publish rates of 6 to 50 % per 8 hours, over the cap of 5 %, and indices that grow by them.

    Genuine rates go up to their caps (ALPACA, 30 April 2025, 4 % an hour) and no further.
    """
    rates = {market: site.uniform(0.06, 0.5) * site.sign() for market in site.markets}

    def change(entry: Observation) -> Observation:
        premium = short(rates[entry.market] * site.feed.values.mark(entry.market, entry.at_ns))
        grown = short(premium * (entry.at_ns - site.at_ns) / FUNDING_PERIOD_NS)
        index = None if entry.funding_index is None else site.feed.values.funding(entry.market, site.at_ns) + grown
        return replace(entry, funding_rate=rates[entry.market], funding_premium=premium, funding_index=index)

    return site.faulted(site.changed(change))


def rollback(site: Site) -> FaultedFeed:
    """Roll the chain back by half an hour to half a day and tell nobody: the older indices are the truth.

    Paradex, 19 January 2026, went back to block 1,604,710. It is a fault of the procedure: closures are genuine.
    """
    age_ns = site.seconds_ns(1_800, 43_200)
    lasting = site.until_the_end()
    faulted = lasting.faulted(lasting.changed(aged(site, age_ns)))
    return replace(faulted, truth=Values.of(faulted.observed))


CAP, HIGH_CAP = Decimal("0.02"), Decimal("0.05")
"""The funding rate caps of majors and of others, per 8 h."""
_JITTER_NS = 2 * SECOND_NS
_SLACK = Decimal("1.5")


def index_walk(site: Site) -> FaultedFeed:
    """Walk indices the wrong way, each step at the cap and with what clocks may differ by; half without premiums.

    From no incident: the furthest that a bound per step lets an index go, a receiver's sign in small steps.
    """
    share, cap = site.uniform(0.7, 1), site.random.choice((CAP, HIGH_CAP))
    walked: dict[str, tuple[int, Decimal]] = {}

    def change(entry: Observation) -> Observation:
        if entry.funding_index is None:
            return entry
        before = site.standing(entry.market, site.at_ns - 1)
        last_ns, last = walked.get(entry.market, (before.event_time_ns, before.funding_index or Decimal(0)))
        elapsed_ns = max(entry.event_time_ns - last_ns, 0) + _JITTER_NS
        wrong_way = -site.accrual(entry.market, elapsed_ns)
        mark = site.feed.values.mark(entry.market, entry.at_ns)
        index = short(last + (share * _SLACK * cap * abs(mark) * elapsed_ns / FUNDING_PERIOD_NS).copy_sign(wrong_way))
        walked[entry.market] = entry.event_time_ns, index
        return replace(entry, funding_index=index)

    lasting = site.until_the_end()
    return lasting.faulted(_perhaps_without_premiums(site, lasting.changed(change)))


def _perhaps_without_premiums(site: Site, entries: tuple[FeedEntry, ...]) -> tuple[FeedEntry, ...]:
    """Return entries of an exchange that publishes no premium of the fault's markets, in half of the faults."""
    if site.random.random() < 0.5:
        return entries
    return tuple(
        replace(entry, funding_premium=None)
        if isinstance(entry, Observation) and entry.market in site.markets
        else entry
        for entry in entries
    )


def premium_and_index(site: Site) -> FaultedFeed:
    """Publish a premium, a rate and an index that agree with each other and with nothing else, up to the cap.

    All three come from one premium index, an average of impact prices: where that is wrong, they are wrong together.
    """
    rates = {
        market: (CAP * site.uniform(0.5, 1)).copy_sign(-site.accrual(market, SECOND_NS)) for market in site.markets
    }

    def change(entry: Observation) -> Observation:
        if entry.funding_index is None:
            return entry
        rate, market = rates[entry.market], entry.market
        premium = short(rate * (entry.index_price or site.feed.values.mark(market, entry.at_ns)))
        grown = short(premium * (entry.at_ns - site.at_ns) / FUNDING_PERIOD_NS)
        index = site.feed.values.funding(market, site.at_ns) + grown
        return replace(entry, funding_rate=rate, funding_premium=premium, funding_index=index)

    lasting = site.until_the_end()
    return lasting.faulted(lasting.changed(change))


def rejected_lineage(site: Site) -> FaultedFeed:
    """Set indices off by 0.01 to 0.1 % of the price, and have them grow from there for good; half without premiums.

    A restart from a backup of hours before that nobody repairs (dYdX, 10 October 2025). Within a quarter of an hour
    funding at its cap could have moved the true index as far, so a bound that only grows lets the wrong one in.
    """
    back = {
        market: short(site.feed.values.mark(market, site.at_ns) * site.uniform(0.0001, 0.001)) * site.sign()
        for market in site.markets
    }
    lasting = site.until_the_end()
    published = lasting.changed(indexed(lambda market, index: index + back[market]))
    return lasting.faulted(_perhaps_without_premiums(site, published))


# Corruptions of the mark price, and of references while the exchange is right.

CAPO_BIAS = Decimal("-0.0285")
_POST_ONLY_BEFORE_NS = 30 * SECOND_NS
_POST_ONLY_AFTER_NS = 60 * SECOND_NS
_RAMP_NS = 15 * SECOND_NS


def moved(factor: Callable[[Observation], Decimal], *, index_too: bool) -> Change:
    """Return the change that publishes a mark price times a factor, and the index price with it where it is corrupt."""

    def change(entry: Observation) -> Observation:
        times = factor(entry)
        index_price = scaled(entry.index_price, times) if index_too else entry.index_price
        return replace(entry, mark_price=scaled(entry.mark_price, times), index_price=index_price)

    return change


def replaced(price: Callable[[Observation], Decimal], *, index_too: bool) -> Change:
    """Return the change that publishes another mark price, and the same as index price where that is corrupt too."""

    def change(entry: Observation) -> Observation:
        return replace(entry, mark_price=price(entry), index_price=price(entry) if index_too else entry.index_price)

    return change


def mark_swap(site: Site) -> FaultedFeed:
    """Have two markets carry each other's mark price."""
    first, second = site.markets
    other = {first: second, second: first}
    index_too = site.random.random() < 0.5
    change = replaced(lambda entry: site.feed.values.mark(other[entry.market], entry.at_ns), index_too=index_too)
    return site.faulted(site.changed(change))


def cross_contamination(site: Site) -> FaultedFeed:
    """Have one market publish another's mark price; the other is as it should be."""
    other = site.random.choice([market for market in site.feed.markets if market not in site.markets])
    index_too = site.random.random() < 0.5
    change = replaced(lambda entry: site.feed.values.mark(other, entry.at_ns), index_too=index_too)
    return site.faulted(site.changed(change))


def mark_zero(site: Site) -> FaultedFeed:
    """Set marks to zero. Paradex, 19 January 2026: reported of BTC, ETH and SOL, longs shown as closed at 0.00."""
    index_too = site.random.random() < 0.5
    return site.faulted(site.changed(replaced(lambda _: Decimal(0), index_too=index_too)))


def scale_1000(site: Site) -> FaultedFeed:
    """Make a price, or a funding index, a thousand times too large or too small, all along or now and then.

    Synthetix, 25 June 2019: sKRW at a thousand times its price, intermittently.
    """
    factor = site.random.choice((Decimal(1000), Decimal("0.001")))
    duty = site.random.choice((1.0, 0.5))
    return _misscaled(site, factor, duty)


def decimals(site: Site) -> FaultedFeed:
    """Shift the decimal point of a price, or of a funding index, by 2 to 12 places.

    Pyth, 20 September 2021 (BTC near 0 for single updates); Morpho PAXG, 13 October 2024 (1e12); Ribbon, 12 December
    2025 (1e10); Moonwell cbETH, 15 February 2026 (1.12 instead of 2,200).
    """
    return _misscaled(site, Decimal(1).scaleb(site.sign() * site.random.choice((2, 3, 6, 8, 10, 12))), 1.0)


def _misscaled(site: Site, factor: Decimal, duty: float) -> FaultedFeed:
    """Scale one quantity, in every observation or in a share of them; the index price may go with the mark price."""
    quantity = site.random.choice(("prices", "mark price", "funding index"))
    price_change = moved(lambda _: factor, index_too=quantity == "prices")

    def change(entry: Observation) -> Observation:
        if duty < 1 and site.random.random() >= duty:
            return entry
        if quantity == "funding index":
            return replace(entry, funding_index=scaled(entry.funding_index, factor))
        return price_change(entry)

    return site.faulted(site.changed(change))


def freeze(site: Site) -> FaultedFeed:
    """Keep prices as they are, freshly stamped, while the references move on.

    Venus, 12 May 2022: LUNA at 0.107 while it traded at 0.01. MakerDAO, 12 March 2020: the oracle lagged the crash.
    """

    def change(entry: Observation) -> Observation:
        frozen = site.standing(entry.market, site.at_ns)
        return replace(entry, mark_price=frozen.mark_price, index_price=frozen.index_price)

    return site.faulted(site.changed(change))


def mark_bias(site: Site) -> FaultedFeed:
    """Bias prices by a little that stays the same: half of the time -2.85 %, else 1 to 6 % either way.

    Aave, 10 March 2026: wstETH 2.85 % too low for 15 minutes, 34 accounts, 26 million USD.
    """
    bias = CAPO_BIAS if site.random.random() < 0.5 else site.uniform(0.01, 0.06) * site.sign()
    index_too = site.random.random() < 0.5
    return site.faulted(site.changed(moved(lambda _: 1 + bias, index_too=index_too)))


def slow_walk(site: Site) -> FaultedFeed:
    """Walk the mark away in small steps, each of which is plausible: 3 to 15 % in all.

    Ventuals, 2026: -45 % in half an hour, under a limit of 1 % a step.
    """
    reach = site.uniform(0.03, 0.15) * site.sign()
    index_too = site.random.random() < 0.5

    def factor(entry: Observation) -> Decimal:
        return 1 + reach * (entry.at_ns - site.at_ns) / (site.until_ns - site.at_ns)

    return site.faulted(site.changed(moved(factor, index_too=index_too)))


def thin_post_only_book(site: Site) -> FaultedFeed:
    """Have a few orders push the mark by 1 to 6 % in a thin post-only book after a restart; closures fill there.

    Paradex, 19 January 2026, mostly PAXG: most of the 650,000 USD refunded.
    """
    reach = site.uniform(0.01, 0.06) * site.random.choice((-1, -1, 1))

    def factor(entry: Observation) -> Decimal:
        return 1 + reach * min(entry.at_ns - site.at_ns + _RAMP_NS // 3, _RAMP_NS) / _RAMP_NS

    phases = (
        PhaseCommand(site.at_ns - _POST_ONLY_BEFORE_NS, Phase.POST_ONLY),
        PhaseCommand(site.until_ns + _POST_ONLY_AFTER_NS, Phase.OPEN),
    )
    published = in_time_order((*phases, *site.changed(moved(factor, index_too=False))))
    return replace(site.faulted(published), fills_at_mark=True)


def single_venue_wick_followed(site: Site) -> FaultedFeed:
    """Have one venue fall, or jump, by 5 to 20 % and come back, and the exchange's prices follow it.

    BitMEX and Bitstamp, 17 May 2019 (-18 % in 11 minutes); Deribit, 31 October 2019 (-16 %); GDAX, 15 April 2017;
    Binance.US, 21 October 2021 (-87 % in a minute).
    """
    venue = site.random.choice(site.feed.sources)
    depth = site.uniform(0.05, 0.2) * site.random.choice((-1, -1, -1, 1))
    slope_ns = (site.until_ns - site.at_ns) // 4

    def factor(entry: Observation | Reference) -> Decimal:
        return 1 + depth * min(entry.at_ns - site.at_ns, site.until_ns - entry.at_ns, slope_ns) / slope_ns

    def wick(entry: Reference) -> Reference:
        return replace(entry, price=short(entry.price * factor(entry))) if entry.source == venue else entry

    index_too = site.random.random() < 0.5
    return site.faulted(site.referred(wick, site.changed(moved(factor, index_too=index_too))))


def mark_against_crash(site: Site) -> FaultedFeed:
    """Bias prices by 1 to 6 % against the direction in which the market moves, in its worst minute.

    The lag of an oracle in a crash (MakerDAO, 12 March 2020), and more than a lag: a crash widens what is believed.
    """
    size = site.uniform(0.01, 0.06)
    index_too = site.random.random() < 0.5
    against = {market: _against(site, market, size) for market in site.markets}

    def factor(entry: Observation) -> Decimal:
        return 1 + against[entry.market] * min(entry.at_ns - site.at_ns + _RAMP_NS // 3, _RAMP_NS) / _RAMP_NS

    return site.faulted(site.changed(moved(factor, index_too=index_too)))


def _against(site: Site, market: str, size: Decimal) -> Decimal:
    """Return a size with the sign that the market's largest move of the fault's time does not have."""
    marks = site.feed.values.marks[market]
    begin = marks.at(site.at_ns)
    during = (marks.at(at_ns) for at_ns in range(site.at_ns, site.until_ns, 5 * SECOND_NS))
    furthest = max(during, key=lambda mark: abs(mark - begin))
    return size if furthest <= begin else -size


def unreferenced_half(site: Site) -> FaultedFeed:
    """Halve the mark of a market whose venues have all fallen silent; cross-margin accounts lose in all their markets.

    Mango, 11 October 2022, and USTC in May 2022: collateral of a market that nobody else prices any more. Those who
    hold some of it are closed in their largest position, which is often in a clean market.
    """
    silent = replace(site, at_ns=max(site.at_ns - site.seconds_ns(15, 60), site.feed.start_ns))
    factor = Decimal("0.5")
    published = silent.referred(lambda _: None, site.changed(moved(lambda _: factor, index_too=True)))
    return site.faulted(published)


def references_split(site: Site) -> FaultedFeed:
    """Have all venues part as real ones do, all along (`dispersion.parted`)."""
    everywhere = replace(site, at_ns=site.feed.start_ns, until_ns=site.feed.end_ns + 1)
    change = parted(site.feed, site.random)
    return site.faulted(everywhere.referred(change, site.feed.entries), harmless=True)


LATENESS_NS = 10 * SECOND_NS


def references_corrupt_x10(site: Site) -> FaultedFeed:
    """Make one venue's prices ten times too large or too small. BitMEX, 15 April 2017: GDAX printed 0.06."""
    venue = site.random.choice(site.feed.sources)
    factor = site.random.choice((Decimal(10), Decimal("0.1")))

    def change(entry: Reference) -> Reference:
        return replace(entry, price=short(entry.price * factor)) if entry.source == venue else entry

    return site.faulted(site.referred(change, site.feed.entries), harmless=True)


def references_silent(site: Site) -> FaultedFeed:
    """Silence two venues in all markets. Deribit, 31 October 2019: two venues out at once in a fall."""
    silent = site.random.sample(site.feed.sources, 2)

    def change(entry: Reference) -> Reference | None:
        return None if entry.source in silent else entry

    return site.faulted(site.referred(change, site.feed.entries), harmless=True)


def references_late_10s(site: Site) -> FaultedFeed:
    """Deliver two venues' prices ten seconds late in all markets, as their stamps say: feeds under load in a crash."""
    late = site.random.sample(site.feed.sources, 2)

    def change(entry: Reference) -> Reference:
        return replace(entry, at_ns=entry.at_ns + LATENESS_NS) if entry.source in late else entry

    return site.faulted(site.referred(change, site.feed.entries), harmless=True)


# Faults of processes: writers and their clocks, a guard that restarts or is away, a caller with values of its own.

_PARTS = (
    ("mark_price",),
    ("funding_index",),
    ("mark_price", "index_price"),
    ("funding_index", "funding_rate", "funding_premium"),
    ("mark_price", "funding_index"),
)
_DELIVERY_NS = SECOND_NS // 5
_STALE: tuple[Callable[[Site], Change], ...] = (
    lambda site: INDEX_ZERO,
    lambda site: aged(site, site.random.randint(1, WEEK_H) * HOUR_NS),
    lambda site: _older(site, ("mark_price", "index_price")),
)
"""What a second writer publishes from: an index of zero, one of hours ago, or prices of minutes ago."""


def two_writers(site: Site) -> FaultedFeed:
    """Have a second process publish beside the first, under an epoch of its own, from older state.

    Its funding index is zero or hours old, or its prices are minutes old. Paradex, 19 January 2026: a service restarted
    while the old one still wrote.
    """
    stale = site.random.choice(_STALE)(site)
    epoch = 1 + max(entry.epoch for own in site.feed.observations.values() for entry in own)
    sequences = dict.fromkeys(site.markets, 0)
    second: list[Observation] = []
    for entry in site.feed.entries:
        if isinstance(entry, Observation) and site.covers(entry):
            sequences[entry.market] += 1
            at_ns = min(entry.at_ns + site.seconds_ns(0.3, 4.5), site.until_ns - 1)
            written = replace(stale(entry), at_ns=at_ns, event_time_ns=at_ns - _DELIVERY_NS)
            second.append(replace(written, epoch=epoch, feed_sequence=sequences[entry.market]))
    return site.faulted(in_time_order((*site.feed.entries, *second)))


def partial_write(site: Site) -> FaultedFeed:
    """Leave out some fields of one instant or a few, and the engine reads zero; or fill them from minutes before.

    A protobuf field that is not set reads as zero; Apricot, 11 January 2022: inputs of different times in one price.
    """
    fields = site.random.choice(_PARTS)
    if site.random.random() < 0.5:
        return site.faulted(site.changed(_older(site, fields)))
    published = site.changed(lambda entry: _filled(entry, fields, None))
    return site.faulted(published, site.changed(lambda entry: _filled(entry, fields, Decimal(0))))


def _filled(entry: Observation, fields: tuple[str, ...], value: Decimal | None) -> Observation:
    values: dict[str, Any] = dict.fromkeys(fields, value)
    return replace(entry, **values)


def _older(site: Site, fields: tuple[str, ...]) -> Change:
    """Return the change that fills fields from one to ten minutes before, or from as far back as the feed goes."""
    age_ns = site.seconds_ns(60, 600)

    def change(entry: Observation) -> Observation:
        old = site.standing(entry.market, entry.at_ns - age_ns)
        return replace(entry, **{field: getattr(old, field) for field in fields})

    return change


def future_stamp(site: Site) -> FaultedFeed:
    """Set the publisher's clock ahead by an hour to a week; the funding index accrues for the time skipped."""
    jump_ns = site.seconds_ns(3_600, WEEK_H * 3_600)

    def change(entry: Observation) -> Observation:
        index = entry.funding_index
        skipped = None if index is None else index + site.accrual(entry.market, jump_ns)
        return replace(entry, event_time_ns=entry.event_time_ns + jump_ns, funding_index=skipped)

    return site.faulted(site.changed(change))


def stale_stamps(site: Site) -> FaultedFeed:
    """Publish values from one to ten minutes before again under fresh stamps.

    dYdX, 10 October 2025: prices from before the halt until the feeders came back; its prices carry no time.
    """
    fields = ("mark_price", "index_price", "funding_index", "funding_rate", "funding_premium")
    return site.faulted(site.changed(_older(site, fields)))


def guard_restart(site: Site) -> FaultedFeed:
    """Reset funding indices, and have the guard restart in the middle of it."""
    restart_ns = site.random.randint(site.at_ns + 1, site.until_ns)
    return replace(reset(site), restarts_ns=(restart_ns,))


def reset_while_guard_down(site: Site) -> FaultedFeed:
    """Reset funding indices while there is no guard, which then comes back to them. Clients fail closed."""
    down_ns = site.at_ns - site.seconds_ns(1, 20)
    up_ns = min(site.at_ns + site.seconds_ns(6, 60), site.until_ns - SECOND_NS)
    faulted = reset(site)
    heard = tuple(entry for entry in faulted.published if not down_ns <= entry.at_ns < up_ns)
    return replace(faulted, published=heard, restarts_ns=(up_ns,), guard_down_ns=((down_ns, up_ns),))


def venue_down_restart(site: Site) -> FaultedFeed:
    """Silence one of three venues in all markets, and restart the publisher meanwhile: a new epoch after 6 to 20 s.

    Deribit, 31 October 2019, less a venue; each deployment restarts a publisher. The guard reopens on two venues.
    """
    venue = site.random.choice(site.feed.sources)
    down_ns = site.at_ns + (site.until_ns - site.at_ns) // 4
    up_ns = down_ns + site.seconds_ns(6, 20)
    epoch = 1 + max(entry.epoch for own in site.feed.observations.values() for entry in own)
    sequences = dict.fromkeys(site.feed.markets, 0)
    published: list[FeedEntry] = []
    for entry in site.referred(lambda one: None if one.source == venue else one, site.feed.entries):
        if not isinstance(entry, Observation) or entry.at_ns < down_ns:
            published.append(entry)
        elif entry.at_ns >= up_ns:
            sequences[entry.market] += 1
            published.append(replace(entry, epoch=epoch, feed_sequence=sequences[entry.market]))
    return site.faulted(published, harmless=True)


def dust_in_trouble(site: Site) -> FaultedFeed:
    """Bring a market into trouble in which every account holds dust: its index or its mark reads zero.

    The dust that airdrops and partial fills leave in every account. It decides nothing, so closures in other markets
    are genuine; the truth is what is published.
    """
    trouble = site.random.choice((INDEX_ZERO, replaced(lambda _: Decimal(0), index_too=True)))
    lasting = site.until_the_end()
    faulted = lasting.faulted(lasting.changed(trouble))
    return replace(faulted, truth=Values.of(faulted.observed), dust_markets=site.markets)


_TRIPS_AFTER_NS = 45 * SECOND_NS
_ODD_EVERY_NS = 25 * SECOND_NS


def odd_stamps_after_trip(site: Site) -> FaultedFeed:
    """Double the rates beside right premiums until markets trip, and from then on stamp one observation in 25 s wrong.

    No value that an engine uses is wrong, and closures are genuine. Stamps are 3 to 4 s ahead, more than clocks may
    differ by: a host whose clock is stepped now and then (Cloudflare, 1 January 2017).
    """
    ahead_ns = site.random.randint(3 * SECOND_NS, 4 * SECOND_NS)
    stamped: dict[str, int] = {}

    def change(entry: Observation) -> Observation:
        if entry.at_ns < site.at_ns + _TRIPS_AFTER_NS:
            return replace(entry, funding_rate=scaled(entry.funding_rate, Decimal(2)))
        if entry.at_ns < stamped.get(entry.market, 0) + _ODD_EVERY_NS:
            return entry
        stamped[entry.market] = entry.at_ns
        return replace(entry, event_time_ns=entry.event_time_ns + ahead_ns)

    lasting = site.until_the_end()
    return lasting.faulted(lasting.changed(change))


def caller_corrupt(site: Site) -> FaultedFeed:
    """Have the engine alone read funding indices of zero: what is published is as it should be.

    BitMEX, 13 May 2021: its own audit found such a mismatch and halted; a guard sees it in the basis of the check.
    """
    return site.faulted(site.feed.entries, site.changed(INDEX_ZERO))


def caller_stale(site: Site) -> FaultedFeed:
    """Have the engine alone read nothing new: its cache stands still while the feed goes on."""
    observed = (entry for entry in site.feed.entries if not (isinstance(entry, Observation) and site.covers(entry)))
    return site.faulted(site.feed.entries, observed)


def caller_margin_table(site: Site) -> FaultedFeed:
    """Have the engine alone demand 1.5 to 10 times the maintenance margin; the accounts it shows are as they are.

    Interactive Brokers, 20 April 2020: true prices, and margins that were computed wrongly from them.
    """
    factor = site.uniform(1.5, 10)
    return replace(site.faulted(site.feed.entries), maintenance_factor=factor)


@dataclass(frozen=True, slots=True)
class Kind:
    """A corruption, and what it needs: how many markets it is in, how long it lasts, how many venues there must be."""

    lay: Callable[[Site], FaultedFeed]
    markets: tuple[int, int] | None = (1, 3)
    """The fewest and the most markets; None is all that the feed has."""
    lasting_s: tuple[int, int] = (30, 300)
    aimed: bool = False
    """Whether it is laid over the worst minute of the feed instead of anywhere."""
    other_markets: int = 0
    venues: int = 0


def _none(site: Site) -> FaultedFeed:
    """Leave everything as it is: whatever is denied is denied for nothing."""
    return site.faulted(site.feed.entries, harmless=True)


_BRIEF = (6, 300)
"""At least one observation of those that are published every five seconds."""
_LONG = (120, 420)
CATALOGUE: dict[str, Kind] = {
    "none": Kind(_none),
    "reset": Kind(reset, lasting_s=_BRIEF),
    "reset_then_growth": Kind(reset_then_growth, lasting_s=_LONG),
    "restore_jump": Kind(restore_jump),
    "swap": Kind(swap, markets=(2, 2), lasting_s=_BRIEF),
    "stale_restore": Kind(stale_restore),
    "double_application": Kind(double_application),
    "sign_flip": Kind(sign_flip, lasting_s=_BRIEF),
    "rate_over_cap": Kind(rate_over_cap),
    "rollback": Kind(rollback, markets=None),
    "mark_swap": Kind(mark_swap, markets=(2, 2), lasting_s=_BRIEF),
    "cross_contamination": Kind(cross_contamination, markets=(1, 1), lasting_s=_BRIEF, other_markets=1),
    "mark_zero": Kind(mark_zero, lasting_s=_BRIEF),
    "scale_1000": Kind(scale_1000, lasting_s=_BRIEF),
    "decimals": Kind(decimals, lasting_s=_BRIEF),
    "freeze": Kind(freeze, lasting_s=_LONG, aimed=True),
    "mark_bias": Kind(mark_bias, lasting_s=_LONG),
    "slow_walk": Kind(slow_walk, lasting_s=_LONG),
    "thin_post_only_book": Kind(thin_post_only_book),
    "single_venue_wick_followed": Kind(single_venue_wick_followed, venues=3),
    "references_corrupt_x10": Kind(references_corrupt_x10, aimed=True, venues=3),
    "references_silent": Kind(references_silent, markets=None, aimed=True, venues=3),
    "references_late_10s": Kind(references_late_10s, markets=None, aimed=True, venues=3),
    "two_writers": Kind(two_writers),
    "partial_write": Kind(partial_write, lasting_s=(6, 30)),
    "future_stamp": Kind(future_stamp, lasting_s=_BRIEF),
    "stale_stamps": Kind(stale_stamps, lasting_s=_LONG, aimed=True),
    "guard_restart": Kind(guard_restart),
    "reset_while_guard_down": Kind(reset_while_guard_down),
    "caller_corrupt": Kind(caller_corrupt, lasting_s=_BRIEF),
    "caller_stale": Kind(caller_stale, lasting_s=_LONG, aimed=True),
    "caller_margin_table": Kind(caller_margin_table),
    "index_walk": Kind(index_walk),
    "premium_and_index": Kind(premium_and_index),
    "rejected_lineage": Kind(rejected_lineage),
    "mark_against_crash": Kind(mark_against_crash, lasting_s=_LONG, aimed=True),
    "unreferenced_half": Kind(unreferenced_half, markets=(1, 1), lasting_s=_LONG, other_markets=1),
    "references_split": Kind(references_split, markets=None, venues=VENUES_MIN),
    "venue_down_restart": Kind(venue_down_restart, markets=None, lasting_s=_LONG, aimed=True, venues=3),
    "dust_in_trouble": Kind(dust_in_trouble, markets=(1, 1), other_markets=1),
    "odd_stamps_after_trip": Kind(odd_stamps_after_trip),
}
KINDS: tuple[str, ...] = tuple(CATALOGUE)


def applicable(kind: str, feed: Feed) -> bool:
    """Return whether a feed can bear a fault: a swap needs two markets, a venue's fault three venues."""
    needs = CATALOGUE[kind]
    fewest = 1 if needs.markets is None else needs.markets[0]
    return len(feed.markets) >= fewest + needs.other_markets and len(feed.sources) >= needs.venues


def lay(kind: str, feed: Feed, seed: int) -> FaultedFeed:
    """Lay a fault into a feed that can bear it: where, when and how large is drawn by the seed."""
    with localcontext(ARITHMETIC):
        return CATALOGUE[kind].lay(_site(kind, feed, seed))


def _site(kind: str, feed: Feed, seed: int) -> Site:
    needs = CATALOGUE[kind]
    random = Random(f"{kind} {seed}")  # noqa: S311 - repeatable, not secret
    markets = feed.markets
    if needs.markets is not None:
        fewest, most = needs.markets
        markets = tuple(random.sample(markets, random.randint(fewest, min(most, len(markets)))))
    earliest_ns, latest_ns = feed.fault_zone_ns
    low_s, high_s = needs.lasting_s
    length_ns = min(seconds_ns(random, low_s, high_s), latest_ns - earliest_ns)
    at_ns = random.randint(earliest_ns, latest_ns - length_ns)
    if needs.aimed:
        observations = (entry for own in feed.observations.values() for entry in own)
        inside = (entry for entry in observations if earliest_ns <= entry.at_ns < latest_ns)
        wanted_ns = worst_minute_ns(inside) - random.randint(0, length_ns // 2)
        at_ns = min(max(wanted_ns, earliest_ns), latest_ns - length_ns)
    return Site(kind, seed, feed, random, markets, at_ns, at_ns + length_ns)
