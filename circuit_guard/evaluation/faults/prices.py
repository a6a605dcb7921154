"""Corruptions of prices: of the mark price, and of references while the exchange is right.

While only references are wrong, nothing may trip, and nothing genuine may be held for longer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from circuit_guard.core.inputs import Observation, PhaseCommand, Reference
from circuit_guard.core.types import SECOND_NS, Phase
from circuit_guard.evaluation.faults.site import Change, Site, in_time_order, scaled, short
from circuit_guard.evaluation.feed import FaultedFeed

ONE = Decimal(1)
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
    change = replaced(lambda entry: site.true_mark(other[entry.market], entry.at_ns), index_too=index_too)
    return site.faulted(site.changed(change))


def cross_contamination(site: Site) -> FaultedFeed:
    """Have one market publish another's mark price; the other is as it should be."""
    other = site.random.choice([market for market in site.feed.markets if market not in site.markets])
    index_too = site.random.random() < 0.5
    change = replaced(lambda entry: site.true_mark(other, entry.at_ns), index_too=index_too)
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
    return _misscaled(site, ONE.scaleb(site.sign() * site.random.choice((2, 3, 6, 8, 10, 12))), 1.0)


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
