"""What time alone does to a market, and how it enters and leaves RECOVERING."""

from __future__ import annotations

from circuit_guard.core import breaker as breakers
from circuit_guard.core import phase as phases
from circuit_guard.core.facts import Fact
from circuit_guard.core.market import MarketState, MarketView
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.types import BreakerState, show_seconds


def view_of(market: MarketState, policy: MarketPolicy, now_ns: int) -> MarketView:
    """Return the market as rules see it now."""
    return MarketView(now_ns, market, market.phase.effective(), market.references.view(now_ns, policy))


def advance(market: MarketState, policy: MarketPolicy, now_ns: int) -> list[Fact]:
    """Do what time alone does: notice a gap, re-open a breaker on healthy data, leave RECOVERING on evidence.

    Everything takes effect as of when it was due, so it makes no difference how often this is asked.
    """
    received_ns, gap_max_ns = market.feed.received_ns, policy.staleness.recovering_after_ns
    silent = received_ns is not None and now_ns - received_ns > gap_max_ns
    if not silent and not market.phase.recovering and market.breaker.state is BreakerState.CLOSED:
        return []
    facts: list[Fact] = []
    if silent and received_ns is not None:
        facts += recover(market, received_ns + gap_max_ns, f"no observation for {show_seconds(gap_max_ns)}")
    while changed := breakers.advance(market.breaker, policy.breaker, market.healthy, now_ns):
        facts.append(changed)
    agreeing = market.agreeing
    ready = market.warm and market.breaker.state is not BreakerState.OPEN
    if market.phase.recovering and ready and agreeing and agreeing.length_ns >= policy.band.agreement_ns:
        note = f"mark price next to the reference price for {show_seconds(agreeing.length_ns)}"
        left = phases.transition(market.phase, market.market, agreeing.last_ns, recovering=False, note=note)
        facts += [left] if left else []
    return facts


def recover(market: MarketState, at_ns: int, note: str) -> list[Fact]:
    """Put a market into RECOVERING: evidence gathered so far counts no more."""
    market.healthy = market.agreeing = None
    if market.phase.recovering:
        return []
    entered = phases.transition(market.phase, market.market, at_ns, recovering=True, note=note)
    return [entered] if entered else []
