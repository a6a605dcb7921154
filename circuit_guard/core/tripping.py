"""Where breakers open: a market's for what was found of it, and GLOBAL where markets latch together."""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core import breaker as breakers
from circuit_guard.core.facts import Fact, ShadowWould
from circuit_guard.core.market import MarketState
from circuit_guard.core.policy import Policy, TwoActorAct
from circuit_guard.core.reopening import follow, follow_all
from circuit_guard.core.rules import correlated_trips
from circuit_guard.core.state import GuardState
from circuit_guard.core.two_actors import withdraw
from circuit_guard.core.types import Finding, Severity


def trip(
    state: GuardState, market: MarketState, findings: tuple[Finding, ...], policy: Policy, now_ns: int
) -> list[Fact]:
    """Open the market's breaker for findings that trip or latch, and GLOBAL where latches correlate."""
    facts = open_market(state, market, findings, now_ns)
    if facts and market.breaker.latched:
        state.latched_ns[market.market] = now_ns
        facts += _open_global(state, policy, now_ns)
    return facts


def open_market(state: GuardState, market: MarketState, findings: tuple[Finding, ...], now_ns: int) -> list[Fact]:
    """Open one market's breaker for findings that trip or latch; it does not count for GLOBAL."""
    tripping = tuple(finding for finding in findings if finding.severity >= Severity.TRIP)
    changed = breakers.trip(market.breaker, tripping, now_ns) if tripping else None
    if changed is None:
        return []
    withdraw(state, TwoActorAct.RESET, (market.market,))
    return [changed, *follow(state, market, now_ns)]


def _open_global(state: GuardState, policy: Policy, now_ns: int) -> Iterator[Fact]:
    for found in correlated_trips.evaluate(state.latched_ns, len(policy.markets), now_ns, policy.global_breaker):
        if found.shadow:
            yield ShadowWould(now_ns, state.global_breaker.scope, (found,))
            continue
        withdraw(state, TwoActorAct.RESET, (state.global_breaker.scope,))
        opened = breakers.trip(state.global_breaker, (found,), now_ns)
        if opened is not None:
            yield opened
            yield from follow_all(state, now_ns)
