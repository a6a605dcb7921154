"""The series of one label value, made together so that none is missing from the first scrape on."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import product
from math import inf, nan

from circuit_guard.core.breaker import Breaker
from circuit_guard.core.evidence import key_of
from circuit_guard.core.gates import ACCOUNT_TAINTED, BREAKER_OPEN, OPERATOR_HALT, PHASE_DENIES
from circuit_guard.core.halts import Halt
from circuit_guard.core.phase import DENYING_PHASES
from circuit_guard.core.status import BreakerStatus, MarketStatus
from circuit_guard.core.types import (
    SECOND_NS,
    BreakerState,
    CheckKind,
    Decision,
    Explanation,
    Lift,
    Phase,
    Severity,
    Verdict,
)
from circuit_guard.telemetry.families import Families
from circuit_guard.telemetry.plain import Series

ACCEPTED, REDELIVERED, REJECTED = "accepted", "redelivered", "rejected"
HEADROOM_RULES = ("staleness", "divergence", "funding_continuity", "funding_rate")
ASKED_WITHIN_NS = 60 * SECOND_NS
"""An engine asks again while it wants a closure. After this long without a question the closure no longer waits."""
ACCOUNTS_MAX = 10_000
"""Accounts remembered for one market; beyond that the one asked about longest ago is forgotten."""
Held = dict[tuple[str, str], int]
"""Since when (nanoseconds), by reason and by who lifts it."""


class MarketCosts:
    """The closures of one market by what trusted values say of the account, and those of them that wait.

    Only checks that carry their account are seen. An account waits from a denial whose loss is EXPLAINED until it is
    allowed, is no longer under water, or is not asked about any more.
    """

    def __init__(self, families: Families, market: str) -> None:
        counters, gauges = families.counters, families.gauges
        self._verdicts = {
            verdict: counters["explained_losses_total"].labels(market, verdict) for verdict in Explanation
        }
        self._denials = counters["explained_denials_total"].labels(market)
        self._held_closures = gauges["held_closures"].labels(market)
        self._held_shortfall = gauges["held_shortfall"].labels(market)
        self._waiting: dict[str, tuple[int, Decimal]] = {}
        """By account, oldest first: when it was last asked about, and by how much at least it falls short."""

    def count(self, decision: Decision) -> None:
        """Count a decision, and remember or forget its account."""
        loss = decision.explained
        if loss is None:
            return
        self._verdicts[loss.verdict].inc()
        account = key_of(decision.account_id)
        self._waiting.pop(account, None)
        if decision.verdict is Verdict.ALLOW or loss.high is None or loss.verdict is not Explanation.EXPLAINED:
            return
        if any(finding.reason == ACCOUNT_TAINTED for finding in decision.findings):
            return  # it is under water for a value that was never true
        self._denials.inc()
        self._waiting[account] = (decision.at_ns, -loss.high)
        if len(self._waiting) > ACCOUNTS_MAX:
            del self._waiting[next(iter(self._waiting))]

    def show(self, now_ns: int) -> None:
        """Set the gauges of what waits now."""
        while self._waiting:
            oldest = next(iter(self._waiting))
            if now_ns - self._waiting[oldest][0] <= ASKED_WITHIN_NS:
                break
            del self._waiting[oldest]
        self._held_closures.set(len(self._waiting))
        self._held_shortfall.set(float(sum(shortfall for _, shortfall in self._waiting.values())))


class MarketCounts:
    """What is counted for one market, and for all unknown ones together under `other`."""

    def __init__(self, families: Families, market: str) -> None:
        counters = families.counters
        self.decisions = {key: counters["decisions_total"].labels(market, *key) for key in product(CheckKind, Verdict)}
        self.shadow_denials = counters["shadow_denials_total"].labels(market)
        self.orders = {verdict: counters["orders_judged_total"].labels(market, verdict) for verdict in Verdict}
        self.observations = {
            result: counters["observations_total"].labels(market, result)
            for result in (ACCEPTED, REDELIVERED, REJECTED)
        }
        self.references = {
            result: counters["references_total"].labels(market, result) for result in (ACCEPTED, REJECTED)
        }
        self.costs = MarketCosts(families, market)


class ScopeSeries:
    """The breaker and the halts of a market, or of GLOBAL, and one series for each reason that holds it now."""

    def __init__(self, families: Families, scope: str) -> None:
        counters, gauges = families.counters, families.gauges
        self._state = {state: gauges["breaker_state"].labels(scope, state) for state in BreakerState}
        self._latched = gauges["breaker_latched"].labels(scope)
        self._halted = gauges["halted"].labels(scope)
        self.transitions = {state: counters["breaker_transitions_total"].labels(scope, state) for state in BreakerState}
        self._hold_since = gauges["hold_since_timestamp_seconds"]
        self._scope = scope
        self._shown: Held = {}
        _unknown(*self._state.values(), self._latched, self._halted)

    def show(self, breaker: Breaker | BreakerStatus, halts: Sequence[Halt], closed_since_ns: int | None = None) -> None:
        """Set the gauges; `closed_since_ns`: since when a phase denies closures, None where it does not."""
        _choose(self._state, breaker.state)
        self._latched.set(breaker.latched)
        self._halted.set(bool(halts))
        held = _held(breaker, halts)
        if closed_since_ns is not None:
            held[PHASE_DENIES, Lift.EXCHANGE] = closed_since_ns
        if held == self._shown:
            return
        for reason, lifted_by in self._shown.keys() - held.keys():
            self._hold_since.remove(self._scope, reason, lifted_by)
        for (reason, lifted_by), since_ns in held.items():
            self._hold_since.labels(self._scope, reason, lifted_by).set(since_ns / SECOND_NS)
        self._shown = held


class MarketGauges:
    """Where one market of the policy stands. NaN, which is unknown, until it is first shown."""

    def __init__(self, families: Families, market: str) -> None:
        gauges = families.gauges
        self.scope = ScopeSeries(families, market)
        self._phase = {phase: gauges["phase"].labels(market, phase) for phase in Phase}
        self._warm = gauges["market_warm"].labels(market)
        self._closed = gauges["market_closed"].labels(market)
        self._fresh_references = gauges["fresh_references"].labels(market)
        self._mark_age = gauges["data_age_seconds"].labels(market, "mark")
        self._funding_age = gauges["data_age_seconds"].labels(market, "funding")
        self._held = gauges["market_held_seconds"].labels(market)
        self._hold_overdue = gauges["market_hold_overdue"].labels(market)
        self._ramp = gauges["market_ramp_ratio"].labels(market)
        self._headroom = {rule: gauges["headroom_ratio"].labels(market, rule) for rule in HEADROOM_RULES}
        _unknown(*self._phase.values(), *self._headroom.values(), self._warm, self._fresh_references, self._ramp)
        _unknown(self._closed)
        _unknown(self._mark_age, self._funding_age, self._held, self._hold_overdue)

    def show(self, status: MarketStatus) -> None:
        """Set the gauges."""
        closed = status.phase in DENYING_PHASES
        self.scope.show(status.breaker, status.halts, status.phase_since_ns if closed else None)
        _choose(self._phase, status.phase)
        self._warm.set(status.warm)
        self._closed.set(status.closed)
        expected = not (status.closed or status.own_price)
        self._fresh_references.set(status.reference_count if expected else nan)
        self._mark_age.set(_age_s(status.mark_age_ns))
        self._funding_age.set(_age_s(status.funding_age_ns))
        self._hold_overdue.set(status.overdue)
        self._ramp.set(1.0 if status.ramp_share is None else float(status.ramp_share))
        for rule, gauge in self._headroom.items():
            gauge.set(float(status.headroom.get(rule, nan)))

    def show_held(self, held_ns: int) -> None:
        """Set for how long closures have been held; 0 while nothing holds them."""
        self._held.set(held_ns / SECOND_NS)


def _held(breaker: Breaker | BreakerStatus, halts: Sequence[Halt]) -> Held:
    held: Held = {}
    if breaker.state is BreakerState.OPEN:
        lifted_by = Lift.OPERATOR if breaker.latched else Lift.EVIDENCE
        opened = [finding.reason for finding in breaker.findings if finding.severity >= Severity.TRIP]
        for reason in opened or [BREAKER_OPEN]:
            held[reason, lifted_by] = breaker.since_ns
    if halts:
        held[OPERATOR_HALT, Lift.OPERATOR] = min(halt.since_ns for halt in halts)
    return held


def _unknown(*gauges: Series) -> None:
    for gauge in gauges:
        gauge.set(nan)


def _choose(gauges: dict[BreakerState, Series] | dict[Phase, Series], chosen: BreakerState | Phase) -> None:
    for value, gauge in gauges.items():
        gauge.set(value is chosen)


def _age_s(age_ns: int | None) -> float:
    return inf if age_ns is None else age_ns / SECOND_NS
