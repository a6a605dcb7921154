"""The catalogue of corruptions: what past incidents did to the data, each as a pure transform of an honest feed.

To add one: write `name(site)` in the file of its subject here, with the incident it comes from, and enter it below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import localcontext
from math import exp, log
from random import Random

from circuit_guard.core.types import ARITHMETIC, SECOND_NS
from circuit_guard.evaluation.faults import funding, prices, processes
from circuit_guard.evaluation.faults.site import Site
from circuit_guard.evaluation.feed import FaultedFeed, Feed, worst_minute_ns


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
    "reset": Kind(funding.reset, lasting_s=_BRIEF),
    "reset_then_growth": Kind(funding.reset_then_growth, lasting_s=_LONG),
    "restore_jump": Kind(funding.restore_jump),
    "swap": Kind(funding.swap, markets=(2, 2), lasting_s=_BRIEF),
    "stale_restore": Kind(funding.stale_restore),
    "double_application": Kind(funding.double_application),
    "sign_flip": Kind(funding.sign_flip, lasting_s=_BRIEF),
    "rate_over_cap": Kind(funding.rate_over_cap),
    "rollback": Kind(funding.rollback, markets=None),
    "mark_swap": Kind(prices.mark_swap, markets=(2, 2), lasting_s=_BRIEF),
    "cross_contamination": Kind(prices.cross_contamination, markets=(1, 1), lasting_s=_BRIEF, other_markets=1),
    "mark_zero": Kind(prices.mark_zero, lasting_s=_BRIEF),
    "scale_1000": Kind(prices.scale_1000, lasting_s=_BRIEF),
    "decimals": Kind(prices.decimals, lasting_s=_BRIEF),
    "freeze": Kind(prices.freeze, lasting_s=_LONG, aimed=True),
    "mark_bias": Kind(prices.mark_bias, lasting_s=_LONG),
    "slow_walk": Kind(prices.slow_walk, lasting_s=_LONG),
    "thin_post_only_book": Kind(prices.thin_post_only_book),
    "single_venue_wick_followed": Kind(prices.single_venue_wick_followed, venues=3),
    "references_corrupt_x10": Kind(prices.references_corrupt_x10, aimed=True, venues=3),
    "references_silent": Kind(prices.references_silent, markets=None, aimed=True, venues=3),
    "references_late_10s": Kind(prices.references_late_10s, markets=None, aimed=True, venues=3),
    "two_writers": Kind(processes.two_writers),
    "partial_write": Kind(processes.partial_write, lasting_s=(6, 30)),
    "future_stamp": Kind(processes.future_stamp, lasting_s=_BRIEF),
    "stale_stamps": Kind(processes.stale_stamps, lasting_s=_LONG, aimed=True),
    "guard_restart": Kind(processes.guard_restart),
    "reset_while_guard_down": Kind(processes.reset_while_guard_down),
    "caller_corrupt": Kind(processes.caller_corrupt, lasting_s=_BRIEF),
    "caller_stale": Kind(processes.caller_stale, lasting_s=_LONG, aimed=True),
    "caller_margin_table": Kind(processes.caller_margin_table),
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
    drawn_ns = int(exp(random.uniform(log(low_s), log(high_s))) * SECOND_NS)
    length_ns = min(drawn_ns, latest_ns - earliest_ns)
    at_ns = random.randint(earliest_ns, latest_ns - length_ns)
    if needs.aimed:
        wanted_ns = _worst_ns(feed) - random.randint(0, length_ns // 2)
        at_ns = min(max(wanted_ns, earliest_ns), latest_ns - length_ns)
    return Site(kind, seed, feed, random, markets, at_ns, at_ns + length_ns)


def _worst_ns(feed: Feed) -> int:
    """Return when the worst minute of the stretch begins in which a fault may lie."""
    earliest_ns, latest_ns = feed.fault_zone_ns
    return worst_minute_ns(
        entry for own in feed.observations.values() for entry in own if earliest_ns <= entry.at_ns < latest_ns
    )
