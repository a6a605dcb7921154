"""How far venues part: in the references of an honest feed, and in nothing else."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from circuit_guard.core.inputs import Reference
from circuit_guard.evaluation.dispersion import dispersed
from circuit_guard.evaluation.faults import lay
from circuit_guard.evaluation.feed import Feed, FeedEntry
from tests.evaluation.honest_feed import VENUES, honest_feed

FEED = honest_feed(markets=3)


def references(entries: tuple[FeedEntry, ...]) -> list[Reference]:
    return [entry for entry in entries if isinstance(entry, Reference)]


def widest(feed: Feed) -> Decimal:
    """Return by how much the venues of a market part, on average over the feed, where they part most."""
    spreads: list[Decimal] = []
    for market in feed.markets:
        means: list[Decimal] = []
        for venue in feed.sources:
            own = [entry for entry in references(feed.entries) if (entry.market, entry.source) == (market, venue)]
            means.append(sum((e.price / feed.values.mark(market, e.at_ns) for e in own), Decimal(0)) / len(own))
        spreads.append(max(means) - min(means))
    return max(spreads)


def test_dispersed_when_the_venues_agree_then_they_part_by_what_real_ones_do() -> None:
    assert widest(FEED) < Decimal("0.0005")
    spreads = sorted(widest(dispersed(FEED, seed)) for seed in range(8))

    assert Decimal("0.001") < spreads[0] < Decimal("0.02")
    assert Decimal("0.008") < spreads[-1] < Decimal("0.06")


def test_dispersed_when_done_then_only_prices_of_references_have_changed() -> None:
    feed = dispersed(FEED, 3)

    assert [replace(entry, price=Decimal(0)) for entry in references(feed.entries)] == [
        replace(entry, price=Decimal(0)) for entry in references(FEED.entries)
    ]
    others = [entry for entry in FEED.entries if not isinstance(entry, Reference)]
    assert [entry for entry in feed.entries if not isinstance(entry, Reference)] == others
    assert feed.values is FEED.values


def test_dispersed_when_seeds_are_equal_then_so_are_feeds_and_else_they_are_not() -> None:
    assert dispersed(FEED, 1) == dispersed(FEED, 1) != dispersed(FEED, 2)


def test_dispersed_when_there_are_two_venues_then_the_feed_stays_as_recorded() -> None:
    two = Feed.of(e for e in FEED.entries if not (isinstance(e, Reference) and e.source == VENUES[0]))

    assert dispersed(two, 1) is two


def test_lay_when_venues_part_as_real_ones_do_then_a_fault_is_where_and_as_large_as_without() -> None:
    recorded, real = lay("mark_bias", FEED, 5), lay("mark_bias", dispersed(FEED, 5), 5)

    assert real.fault == recorded.fault
    assert real.observed == recorded.observed
    assert references(real.published) != references(recorded.published)
