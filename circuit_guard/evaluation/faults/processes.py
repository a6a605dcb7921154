"""Faults of processes: writers and their clocks, a guard that restarts or is away, a caller with values of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from circuit_guard.core.inputs import Observation
from circuit_guard.core.types import SECOND_NS
from circuit_guard.evaluation.faults.funding import INDEX_ZERO, WEEK_H, aged, reset
from circuit_guard.evaluation.faults.site import HOUR_NS, Change, Site, in_time_order
from circuit_guard.evaluation.feed import FaultedFeed

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
