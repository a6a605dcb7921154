"""What still holds closures at the end of the window."""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.breaker import Breaker
from circuit_guard.core.market import Halt
from circuit_guard.core.policy import Policy
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import GLOBAL_SCOPE, BreakerState, Phase
from circuit_guard.report.evidence import Held


def holding(state: GuardState, policy: Policy) -> Iterator[Held]:
    """Yield, for everything and then market by market, what stops or slows closures and who may lift it."""
    yield from _switches(GLOBAL_SCOPE, state.global_halt, state.global_breaker)
    for name in policy.markets:
        market = state.markets[name]
        yield from _switches(name, market.halt, market.breaker)
        phase = market.phase.effective()
        if phase is not Phase.OPEN:
            yield Held(name, f"phase {phase}, which the exchange or the guard's own evidence ends")
        if market.rejections:
            reasons = ", ".join(dict.fromkeys(finding.reason for finding in market.rejections))
            yield Held(name, f"its latest observation is rejected for {reasons}; the next good one lifts that")


def _switches(scope: str, halt: Halt | None, breaker: Breaker) -> Iterator[Held]:
    if halt is not None:
        yield Held(scope, f"halted by {halt.actor}: {halt.reason}; a resume lifts it")
    reasons = ", ".join(dict.fromkeys(finding.reason for finding in breaker.findings))
    if breaker.state is BreakerState.OPEN and breaker.latched:
        yield Held(scope, f"latched for {reasons}; only a reset by an operator lifts it")
    elif breaker.state is BreakerState.OPEN:
        yield Held(scope, f"tripped for {reasons}; good data that last lift it")
    elif breaker.state is BreakerState.HALF_OPEN:
        yield Held(scope, f"tripped for {reasons}, and lets closures through at a rising rate")
