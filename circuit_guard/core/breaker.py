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
from typing import ClassVar

from circuit_guard.core.evidence import Run
from circuit_guard.core.facts import BreakerChanged
from circuit_guard.core.parameters import Parameters, seconds
from circuit_guard.core.types import BreakerState, Finding, Severity


@dataclass(frozen=True, slots=True)
class BreakerParameters(Parameters):
    """A tripped breaker closes again after time and healthy data, never because of traffic. A latched one needs a
    person.
    """

    TABLE: ClassVar[str] = "breaker"

    cooldown_ns: int = seconds(60, "A tripped breaker stays OPEN (denying) at least this long.", most=86_400)
    healthy_ns: int = seconds(
        30, "Data have to be healthy for this long before HALF_OPEN, and again before CLOSED.", most=86_400
    )
    half_open_ns: int = seconds(
        300,
        "HALF_OPEN lasts at least this long. So does the ramp on which closures flow again after every trip, "
        "halt, maintenance and reset. Longer: genuine closures wait longer. Shorter: all held closures reach the "
        "book at once.",
        most=86_400,
    )


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


def advance(breaker: Breaker, policy: BreakerParameters, healthy: Run | None, now_ns: int) -> BreakerChanged | None:
    """Move an unlatched breaker towards CLOSED if time and data allow, as of when it was due, however late it is asked.

    `healthy` is for how long observations have been accepted up to now. The latest must be one of them.
    """
    if breaker.latched or healthy is None or not healthy.holds or healthy.length_ns < policy.healthy_ns:
        return None
    match breaker.state:
        case BreakerState.OPEN:
            after, wait_ns, findings = BreakerState.HALF_OPEN, policy.cooldown_ns, breaker.findings
        case BreakerState.HALF_OPEN:
            after, wait_ns, findings = BreakerState.CLOSED, policy.half_open_ns, ()
        case BreakerState.CLOSED:
            return None
    due_ns = max(breaker.since_ns + wait_ns, healthy.since_ns + policy.healthy_ns)
    return transition(breaker, after, due_ns, findings) if due_ns <= now_ns else None


def reset(breaker: Breaker, at_ns: int, actor: str, note: str, identity: str = "") -> BreakerChanged | None:
    """Close the breaker on an operator's word; None where it is closed already."""
    if breaker.state is BreakerState.CLOSED:
        return None
    return transition(breaker, BreakerState.CLOSED, at_ns, (), actor=actor, note=note, identity=identity)


def transition(
    breaker: Breaker,
    after: BreakerState,
    at_ns: int,
    findings: tuple[Finding, ...],
    *,
    latched: bool = False,
    actor: str = "",
    note: str = "",
    identity: str = "",
) -> BreakerChanged:
    """Change the state. This is the only place where a breaker changes, so the fact cannot be forgotten."""
    before = breaker.state
    if not (before is BreakerState.OPEN and after is BreakerState.OPEN):
        breaker.since_ns = at_ns
    breaker.state, breaker.latched, breaker.findings = after, latched, findings
    breaker.generation += 1
    generation = breaker.generation
    return BreakerChanged(at_ns, breaker.scope, before, after, latched, generation, findings, actor, note, identity)
