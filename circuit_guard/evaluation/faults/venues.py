"""References that go wrong while the exchange is right: nothing may trip, and nothing genuine be held for longer."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from circuit_guard.core.inputs import Reference
from circuit_guard.core.types import SECOND_NS
from circuit_guard.evaluation.faults.site import Site, short
from circuit_guard.evaluation.feed import FaultedFeed

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
