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
    """Do what time alone does: notice a gap, re-open a breaker on healthy data, leave RECOVERING on evidence."""
    facts: list[Fact] = []
    gap_ns = now_ns - market.feed.received_ns if market.feed.received_ns is not None else 0
    if gap_ns > policy.staleness.recovering_after_ns:
        facts += recover(market, now_ns, f"no observation for {show_seconds(gap_ns)}")
    changed = breakers.advance(market.breaker, policy.breaker, market.healthy_since_ns, now_ns)
    if changed is not None:
        facts.append(changed)
    agreeing_ns = now_ns - market.agreeing_since_ns if market.agreeing_since_ns is not None else 0
    ready = market.warm and market.breaker.state is not BreakerState.OPEN
    if market.phase.recovering and ready and agreeing_ns >= policy.band.agreement_ns:
        note = f"mark price next to the reference price for {show_seconds(agreeing_ns)}"
        left = phases.transition(market.phase, market.market, now_ns, recovering=False, note=note)
        facts += [left] if left else []
    return facts


def recover(market: MarketState, now_ns: int, note: str) -> list[Fact]:
    """Put a market into RECOVERING: evidence gathered so far counts no more."""
    market.healthy_since_ns = market.agreeing_since_ns = None
    if market.phase.recovering:
        return []
    entered = phases.transition(market.phase, market.market, now_ns, recovering=True, note=note)
    return [entered] if entered else []
