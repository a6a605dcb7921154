"""The circuit breaker: CLOSED lets closures through, OPEN denies them.

             trip, latch                    cooldown over and data healthy
    CLOSED ---------------> OPEN (denying) --------------------------------> HALF_OPEN
       ^                     ^   | reset                                      |     |
       |                     |   +----> CLOSED                     trip, latch|     | healthy
       |                     +------------------------------------------------+     |
       +-----------------------------------------------------------------------------+

A latched breaker stays OPEN until an operator resets it. Re-opening is driven by data and time, never by traffic.
"""

from __future__ import annotations

from dataclasses import dataclass

from circuit_guard.core.facts import BreakerChanged
from circuit_guard.core.policy import BreakerPolicy
from circuit_guard.core.types import BreakerState, Finding, Severity


@dataclass(slots=True)
class Breaker:
    """One breaker: a market's, or GLOBAL."""

    scope: str
    state: BreakerState = BreakerState.CLOSED
    latched: bool = False
    since_ns: int = 0
    generation: int = 0
    findings: tuple[Finding, ...] = ()
    """What opened it."""


def trip(breaker: Breaker, findings: tuple[Finding, ...], at_ns: int) -> BreakerChanged | None:
    """Open the breaker for findings of severity TRIP or LATCH; None where that changes nothing."""
    latch = any(finding.severity is Severity.LATCH for finding in findings)
    if breaker.state is BreakerState.OPEN and (breaker.latched or not latch):
        return None
    return transition(breaker, BreakerState.OPEN, at_ns, findings, latched=latch or breaker.latched)


def advance(
    breaker: Breaker, policy: BreakerPolicy, healthy_since_ns: int | None, now_ns: int
) -> BreakerChanged | None:
    """Move an unlatched breaker towards CLOSED if time and data allow. `healthy_since_ns` None: not healthy."""
    if breaker.latched or healthy_since_ns is None or now_ns - healthy_since_ns < policy.healthy_ns:
        return None
    in_state_ns = now_ns - breaker.since_ns
    if breaker.state is BreakerState.OPEN and in_state_ns >= policy.cooldown_ns:
        return transition(breaker, BreakerState.HALF_OPEN, now_ns, breaker.findings)
    if breaker.state is BreakerState.HALF_OPEN and in_state_ns >= policy.half_open_ns:
        return transition(breaker, BreakerState.CLOSED, now_ns, ())
    return None


def reset(breaker: Breaker, at_ns: int, actor: str, note: str) -> BreakerChanged | None:
    """Close the breaker on an operator's word; None where it is closed already."""
    if breaker.state is BreakerState.CLOSED:
        return None
    return transition(breaker, BreakerState.CLOSED, at_ns, (), actor=actor, note=note)


def transition(
    breaker: Breaker,
    after: BreakerState,
    at_ns: int,
    findings: tuple[Finding, ...],
    *,
    latched: bool = False,
    actor: str = "",
    note: str = "",
) -> BreakerChanged:
    """Change the state. This is the only place where a breaker changes, so the fact cannot be forgotten."""
    before = breaker.state
    if not (before is BreakerState.OPEN and after is BreakerState.OPEN):
        breaker.since_ns = at_ns
    breaker.state, breaker.latched, breaker.findings = after, latched, findings
    breaker.generation += 1
    return BreakerChanged(at_ns, breaker.scope, before, after, latched, breaker.generation, findings, actor, note)
