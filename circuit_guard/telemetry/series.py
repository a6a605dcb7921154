"""The series of one label value, made together so that none is missing from the first scrape on."""

from __future__ import annotations

from math import inf, nan

from prometheus_client import Gauge

from circuit_guard.core.breaker import Breaker
from circuit_guard.core.market import Halt
from circuit_guard.core.status import BreakerStatus, MarketStatus
from circuit_guard.core.types import SECOND_NS, BreakerState, CheckKind, Phase, Verdict
from circuit_guard.telemetry.costs import MarketCosts
from circuit_guard.telemetry.families import Families
from circuit_guard.telemetry.holds import HoldSeries

ACCEPTED, REDELIVERED, REJECTED = "accepted", "redelivered", "rejected"
HEADROOM_RULES = ("staleness", "divergence", "funding_continuity", "funding_rate")


class MarketCounts:
    """What is counted for one market, and for all unknown ones together under `other`."""

    def __init__(self, families: Families, market: str) -> None:
        self.decisions = {
            (kind, verdict): families.decisions.labels(market, kind, verdict)
            for kind in CheckKind
            for verdict in Verdict
        }
        self.shadow_denials = families.shadow_denials.labels(market)
        self.orders = {verdict: families.orders.labels(market, verdict) for verdict in Verdict}
        self.observations = {
            result: families.observations.labels(market, result) for result in (ACCEPTED, REDELIVERED, REJECTED)
        }
        self.references = {result: families.references.labels(market, result) for result in (ACCEPTED, REJECTED)}
        self.costs = MarketCosts(families, market)


class ScopeSeries:
    """The breaker and the halt of a market, or of GLOBAL."""

    def __init__(self, families: Families, scope: str) -> None:
        self._state = {state: families.breaker_state.labels(scope, state) for state in BreakerState}
        self._latched = families.breaker_latched.labels(scope)
        self._halted = families.halted.labels(scope)
        self.transitions = {state: families.breaker_transitions.labels(scope, state) for state in BreakerState}
        self.holds = HoldSeries(families, scope)
        _unknown(*self._state.values(), self._latched, self._halted)

    def show(self, breaker: Breaker | BreakerStatus, halt: Halt | None) -> None:
        """Set the gauges."""
        _choose(self._state, breaker.state)
        self._latched.set(breaker.latched)
        self._halted.set(halt is not None)


class MarketGauges:
    """Where one market of the policy stands. NaN, which is unknown, until it is first shown."""

    def __init__(self, families: Families, market: str) -> None:
        self.scope = ScopeSeries(families, market)
        self._phase = {phase: families.phase.labels(market, phase) for phase in Phase}
        self._warm = families.market_warm.labels(market)
        self._fresh_references = families.fresh_references.labels(market)
        self._mark_age = families.data_age.labels(market, "mark")
        self._funding_age = families.data_age.labels(market, "funding")
        self._held = families.held.labels(market)
        self._hold_overdue = families.hold_overdue.labels(market)
        self._ramp = families.ramp.labels(market)
        self._headroom = {rule: families.headroom.labels(market, rule) for rule in HEADROOM_RULES}
        _unknown(*self._phase.values(), *self._headroom.values(), self._warm, self._fresh_references, self._ramp)
        _unknown(self._mark_age, self._funding_age, self._held, self._hold_overdue)

    def show(self, status: MarketStatus) -> None:
        """Set the gauges."""
        self.scope.show(status.breaker, status.halt)
        self.scope.holds.show_market(status)
        _choose(self._phase, status.phase)
        self._warm.set(status.warm)
        self._fresh_references.set(status.reference_count)
        self._mark_age.set(_age_s(status.mark_age_ns))
        self._funding_age.set(_age_s(status.funding_age_ns))
        self._hold_overdue.set(status.overdue)
        self._ramp.set(1.0 if status.ramp_share is None else float(status.ramp_share))
        for rule, gauge in self._headroom.items():
            gauge.set(float(status.headroom.get(rule, nan)))

    def show_held(self, held_ns: int) -> None:
        """Set for how long closures have been held; 0 while nothing holds them."""
        self._held.set(held_ns / SECOND_NS)


def remove_market(families: Families, market: str) -> None:
    """Drop every series of a market that the policy no longer names."""
    by_market = (
        families.decisions,
        families.shadow_denials,
        families.orders,
        families.observations,
        families.references,
        families.phase,
        families.market_warm,
        families.fresh_references,
        families.data_age,
        families.headroom,
        families.held,
        families.hold_overdue,
        families.ramp,
        families.explained_losses,
        families.explained_denials,
        families.held_closures,
        families.held_shortfall,
    )
    for family in by_market:
        family.remove_by_labels({"market": market})
    by_scope = (families.breaker_state, families.breaker_latched, families.breaker_transitions, families.halted)
    for family in (*by_scope, families.hold_since):
        family.remove_by_labels({"scope": market})


def _unknown(*gauges: Gauge) -> None:
    for gauge in gauges:
        gauge.set(nan)


def _choose(gauges: dict[BreakerState, Gauge] | dict[Phase, Gauge], chosen: BreakerState | Phase) -> None:
    for value, gauge in gauges.items():
        gauge.set(value is chosen)


def _age_s(age_ns: int | None) -> float:
    return inf if age_ns is None else age_ns / SECOND_NS
