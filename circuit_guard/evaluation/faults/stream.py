"""Corruptions of the stream itself: who writes, what is written of one instant, and which time is stamped on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from circuit_guard.core.inputs import Observation
from circuit_guard.core.types import SECOND_NS
from circuit_guard.evaluation.faults.funding import WEEK_H, honest_index, indexed, to_zero
from circuit_guard.evaluation.faults.site import HOUR_NS, Site, in_time_order
from circuit_guard.evaluation.feed import FaultedFeed

_PARTS = (
    ("mark_price",),
    ("funding_index",),
    ("mark_price", "index_price"),
    ("funding_index", "funding_rate", "funding_premium"),
    ("mark_price", "funding_index"),
)
_DELIVERY_NS = SECOND_NS // 5


def two_writers(site: Site) -> FaultedFeed:
    """Have a second process publish beside the first, under an epoch of its own, from older state.

    Its funding index is zero or hours old, or its prices are minutes old. Paradex, 19 January 2026: a service restarted
    while the old one still wrote.
    """
    stale = site.random.choice((_index_zero, _index_of_hours_ago, _prices_of_minutes_ago))(site)
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


def _index_zero(_: Site) -> Callable[[Observation], Observation]:
    return indexed(to_zero)


def _index_of_hours_ago(site: Site) -> Callable[[Observation], Observation]:
    age_ns = site.random.randint(1, WEEK_H) * HOUR_NS
    return indexed(lambda entry: honest_index(entry) - site.accrual(entry.market, age_ns))


def _prices_of_minutes_ago(site: Site) -> Callable[[Observation], Observation]:
    return _older(site, ("mark_price", "index_price"))


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


def _older(site: Site, fields: tuple[str, ...]) -> Callable[[Observation], Observation]:
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
