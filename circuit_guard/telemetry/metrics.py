"""Prometheus metrics: facts are counted as they happen, the state is shown on every tick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from circuit_guard.core.breaker import Breaker
from circuit_guard.core.facts import (
    BreakerChanged,
    CheckRefused,
    CommandRefused,
    DecisionMade,
    Fact,
    ObservationJudged,
    OrderJudged,
    PolicyChanged,
    Rebaselined,
    ReferenceJudged,
    ShadowWould,
    StateValidated,
)
from circuit_guard.core.market import Halt
from circuit_guard.core.policy import Policy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.state import GuardState
from circuit_guard.core.status import MarketStatus
from circuit_guard.core.types import GLOBAL_SCOPE, SECOND_NS, Finding, Outcome, Severity, Verdict
from circuit_guard.telemetry.admission import AdmissionMetrics
from circuit_guard.telemetry.families import Families
from circuit_guard.telemetry.series import (
    ACCEPTED,
    REDELIVERED,
    REJECTED,
    MarketCounts,
    MarketGauges,
    ScopeSeries,
)

OTHER = "other"
"""The market label of everything that the policy does not name."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """How the process is doing. The counts are totals since the start."""

    ready: bool
    shadow: bool
    watchers: int
    events_lost: int
    log_lines_dropped: int
    clock_offset_s: float
    loop_lag_s: float
    journal_in_use: bool = False
    journal_queued: int = 0
    journal_dropped: int = 0
    journal_over_budget_bytes: int = 0


class Metrics:
    """An engine observer with a registry of its own. The number of series is bounded by the policy alone."""

    def __init__(self, policy: Policy, version: str, now_ns: int) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._families = Families(self.registry)
        self.admission = AdmissionMetrics(self._families)
        self._counts = {market: MarketCounts(self._families, market) for market in policy.markets}
        self._states = {market: MarketGauges(self._families, market) for market in policy.markets}
        self._other = MarketCounts(self._families, OTHER)
        self._global = ScopeSeries(self._families, GLOBAL_SCOPE)
        self._events_lost = self._log_lines_dropped = self._journal_dropped = 0
        self._families.build_info.labels(version).set(1)
        self._start_reasons()
        self._families.reloads.labels("success")
        self._families.reloads.labels("failure")
        for outcome in Outcome:
            self._families.states_validated.labels(outcome)
        for unknown in (self._families.maintenance, self._families.acts_proposed):
            unknown.set(nan)
        self._show_policy(policy.revision, now_ns)

    def on_facts(self, facts: Sequence[Fact], took_ns: int) -> None:
        """Count what happened."""
        for fact in facts:
            match fact:
                case DecisionMade():
                    self._count_decision(fact, took_ns)
                case ObservationJudged():
                    result = REDELIVERED if fact.redelivered else ACCEPTED if fact.accepted else REJECTED
                    self._counts_of(fact.market).observations[result].inc()
                    self._count_rejection("observation", fact)
                case ReferenceJudged():
                    self._counts_of(fact.market).references[ACCEPTED if fact.accepted else REJECTED].inc()
                    self._count_rejection("reference", fact)
                case OrderJudged():
                    self._count_order(fact)
                case _:
                    self._count_other(fact)

    def reload_failed(self) -> None:
        """Record that a policy could not be loaded; the one before stays in force."""
        self._families.reloads.labels("failure").inc()
        self._families.reload_successful.set(0)

    def refresh_failed(self) -> None:
        """Record that the gauges could not be set: what they say is old."""
        self._families.refresh_failures.inc()

    def show_market(self, status: MarketStatus) -> None:
        """Set the gauges of one market of the policy."""
        self._states[status.market].show(status)

    def show_guard(self, breaker: Breaker, halt: Halt | None, vitals: Vitals) -> None:
        """Set the gauges of the GLOBAL breaker and halt and of the process."""
        self._global.show(breaker, halt)
        self.show_vitals(vitals)

    def show_vitals(self, vitals: Vitals) -> None:
        """Set the gauges of the process alone; those of the markets stay as they were, at first NaN: unknown."""
        families = self._families
        families.ready.set(vitals.ready)
        families.shadow_mode.set(vitals.shadow)
        families.watchers.set(vitals.watchers)
        families.events_lost.inc(vitals.events_lost - self._events_lost)
        families.log_lines_dropped.inc(vitals.log_lines_dropped - self._log_lines_dropped)
        self._events_lost, self._log_lines_dropped = vitals.events_lost, vitals.log_lines_dropped
        families.journal_in_use.set(vitals.journal_in_use)
        families.journal_queued.set(vitals.journal_queued)
        families.journal_dropped.inc(vitals.journal_dropped - self._journal_dropped)
        self._journal_dropped = vitals.journal_dropped
        families.journal_over_budget.set(vitals.journal_over_budget_bytes)
        families.clock_offset.set(vitals.clock_offset_s)
        families.loop_lag.observe(vitals.loop_lag_s)

    def show_state(self, state: GuardState, now_ns: int) -> None:
        """Set the gauges of what operators have begun, for how long each market is held, and what that costs."""
        waiting = [proposal for proposal in state.proposals.values() if proposal.expires_ns > now_ns]
        self._families.maintenance.set(state.maintenance is not None)
        self._families.acts_proposed.set(len(waiting))
        for market, gauges in self._states.items():
            since_ns = state.markets[market].held_since_ns
            gauges.show_held(0 if since_ns is None else now_ns - since_ns)
            self._counts[market].costs.show(now_ns)

    def _start_reasons(self) -> None:
        for reason in Reason:
            for family in (
                self._families.denials_by_reason,
                self._families.order_denials_by_reason,
                self._families.shadow_actions_by_reason,
            ):
                family.labels(reason)
            for shadow in ("false", "true"):
                self._families.decision_findings.labels(reason, shadow)
            for judged in ("observation", "reference"):
                self._families.rejections_by_reason.labels(judged, reason)

    def _counts_of(self, market: str) -> MarketCounts:
        return self._counts.get(market, self._other)

    def _count_decision(self, fact: DecisionMade, took_ns: int) -> None:
        if fact.repeated:
            self._families.decisions_repeated.inc()
            return
        decision = fact.decision
        denied = decision.verdict is Verdict.DENY
        counts = self._counts_of(decision.market)
        counts.decisions[decision.kind, decision.verdict].inc()
        counts.shadow_denials.inc(not denied and decision.shadow_verdict is Verdict.DENY)
        counts.costs.count(decision)
        self._families.decision_duration.observe(took_ns / SECOND_NS)
        for finding in decision.findings:
            self._families.decision_findings.labels(finding.reason, "true" if finding.shadow else "false").inc()
        if denied:
            for reason in _denying(decision.findings):
                self._families.denials_by_reason.labels(reason).inc()

    def _count_other(self, fact: Fact) -> None:
        match fact:
            case BreakerChanged():
                self._count_transition(fact)
            case ShadowWould():
                for finding in fact.findings:
                    self._families.shadow_actions_by_reason.labels(finding.reason).inc()
            case PolicyChanged():
                self._change_policy(fact)
            case CheckRefused():
                self._families.checks_refused.inc()
            case CommandRefused():
                self._families.commands_refused.inc()
            case Rebaselined():
                self._families.rebaselines.inc()
            case StateValidated():
                for found in fact.outcomes:
                    self._families.states_validated.labels(found.outcome).inc()

    def _count_transition(self, fact: BreakerChanged) -> None:
        if fact.scope == GLOBAL_SCOPE:
            self._global.transitions[fact.after].inc()
        elif fact.scope in self._states:
            self._states[fact.scope].scope.transitions[fact.after].inc()

    def _count_order(self, fact: OrderJudged) -> None:
        self._counts_of(fact.market).orders[fact.verdict].inc()
        if fact.verdict is Verdict.DENY:
            for reason in _denying(fact.findings):
                self._families.order_denials_by_reason.labels(reason).inc()

    def _count_rejection(self, judged: str, fact: ObservationJudged | ReferenceJudged) -> None:
        if not fact.accepted:
            for reason in _denying(fact.findings):
                self._families.rejections_by_reason.labels(judged, reason).inc()

    def _change_policy(self, fact: PolicyChanged) -> None:
        for market in fact.removed:
            self._counts.pop(market, None)  # a recovered policy may name markets that this process never had
            self._states.pop(market, None)
            self._families.remove(market)
        for market in fact.added:
            self._counts[market] = MarketCounts(self._families, market)
            self._states[market] = MarketGauges(self._families, market)
        self._families.reloads.labels("success").inc()
        self._show_policy(fact.revision, fact.at_ns)

    def _show_policy(self, revision: str, at_ns: int) -> None:
        self._families.policy_info.clear()
        self._families.policy_info.labels(revision).set(1)
        self._families.reload_successful.set(1)
        self._families.reload_success_time.set(at_ns / SECOND_NS)


def _denying(findings: tuple[Finding, ...]) -> set[str]:
    return {finding.reason for finding in findings if finding.severity >= Severity.DENY and not finding.shadow}
