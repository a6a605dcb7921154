"""Corruptions of the funding index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from circuit_guard.core.inputs import Observation
from circuit_guard.evaluation.faults.site import FUNDING_PERIOD_NS, HOUR_NS, Change, Site, short
from circuit_guard.evaluation.feed import FaultedFeed, Values

ZERO = Decimal(0)
WEEK_H = 168


def indexed(funding_index: Callable[[str, Decimal], Decimal]) -> Change:
    """Return the change that publishes another funding index; it is given the market and the honest index."""

    def change(entry: Observation) -> Observation:
        index = entry.funding_index
        return entry if index is None else replace(entry, funding_index=short(funding_index(entry.market, index)))

    return change


INDEX_ZERO = indexed(lambda market, index: ZERO)
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
    return site.faulted(site.changed(indexed(lambda market, index: index - site.true_funding(market, site.at_ns))))


def restore_jump(site: Site) -> FaultedFeed:
    """Put the true indices back, at once and for good, after a reset that happened before anybody looked.

    Every account cached a corrupt index, so the engine is right until the repair and wrong after it. Paradex, 19
    January 2026, seen by a guard that was deployed in between.
    """
    before = replace(site, at_ns=site.feed.start_ns, until_ns=site.at_ns)
    change = indexed(lambda market, index: index - site.true_funding(market, site.feed.start_ns))
    return site.until_the_end().faulted(before.changed(change))


def swap(site: Site) -> FaultedFeed:
    """Have two markets carry each other's funding index: rows of a restored table joined by the wrong key."""
    first, second = site.markets
    other = {first: second, second: first}

    def change(entry: Observation) -> Observation:
        index = None if entry.funding_index is None else short(site.true_funding(other[entry.market], entry.at_ns))
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
        return honest + (site.true_funding(market, site.at_ns) if whole else site.accrual(market, length_ns))

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
        premium = short(rates[entry.market] * site.true_mark(entry.market, entry.at_ns))
        grown = short(premium * (entry.at_ns - site.at_ns) / FUNDING_PERIOD_NS)
        index = None if entry.funding_index is None else site.true_funding(entry.market, site.at_ns) + grown
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
