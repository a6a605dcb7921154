"""Why each scope is held, as series: one a reason, there only while it holds. An alert can name it."""

from __future__ import annotations

from circuit_guard.core.breaker import Breaker
from circuit_guard.core.gates import BREAKER_OPEN, OPERATOR_HALT, PHASE_DENIES
from circuit_guard.core.market import Halt
from circuit_guard.core.phase import DENYING_PHASES
from circuit_guard.core.status import BreakerStatus, MarketStatus
from circuit_guard.core.types import SECOND_NS, BreakerState, Lift, Severity
from circuit_guard.telemetry.families import Families

Held = dict[tuple[str, str], int]
"""Since when (nanoseconds), by reason and by who lifts it."""


class HoldSeries:
    """The reasons that hold one scope. Their number is bounded by the reasons there are."""

    def __init__(self, families: Families, scope: str) -> None:
        self._family = families.hold_since
        self._scope = scope
        self._shown: Held = {}

    def show_market(self, status: MarketStatus) -> None:
        """Set the series of a market: its halt, its breaker, its phase."""
        held = _held(status.breaker, status.halt)
        if status.phase in DENYING_PHASES:
            held[PHASE_DENIES, Lift.EXCHANGE] = status.phase_since_ns
        self._set(held)

    def show_global(self, breaker: Breaker, halt: Halt | None) -> None:
        """Set the series of GLOBAL."""
        self._set(_held(breaker, halt))

    def _set(self, held: Held) -> None:
        if held == self._shown:
            return
        for reason, lifted_by in self._shown.keys() - held.keys():
            self._family.remove(self._scope, reason, lifted_by)
        for (reason, lifted_by), since_ns in held.items():
            self._family.labels(self._scope, reason, lifted_by).set(since_ns / SECOND_NS)
        self._shown = held


def _held(breaker: Breaker | BreakerStatus, halt: Halt | None) -> Held:
    held: Held = {}
    if breaker.state is BreakerState.OPEN:
        lifted_by = Lift.OPERATOR if breaker.latched else Lift.EVIDENCE
        opened = [finding.reason for finding in breaker.findings if finding.severity >= Severity.TRIP]
        for reason in opened or [BREAKER_OPEN]:
            held[reason, lifted_by] = breaker.since_ns
    if halt is not None:
        held[OPERATOR_HALT, Lift.OPERATOR] = halt.since_ns
    return held
