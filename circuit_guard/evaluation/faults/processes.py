"""Faults of a process: the guard restarts or is away, the caller computes with something that was never published."""

from __future__ import annotations

from dataclasses import replace

from circuit_guard.core.inputs import Observation
from circuit_guard.core.types import SECOND_NS
from circuit_guard.evaluation.faults.funding import indexed, reset, to_zero
from circuit_guard.evaluation.faults.site import Site
from circuit_guard.evaluation.feed import FaultedFeed


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
    return site.faulted(site.feed.entries, site.changed(indexed(to_zero)))


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
