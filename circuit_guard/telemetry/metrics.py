"""Prometheus metrics: facts are counted as they happen, the state is shown when somebody scrapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from circuit_guard.core import facts
from circuit_guard.core.breaker import Breaker
from circuit_guard.core.facts import Fact, ReferenceJudged
from circuit_guard.core.halts import Halt
from circuit_guard.core.policy import Policy
from circuit_guard.core.reasons import REASONS
from circuit_guard.core.state import GuardState
from circuit_guard.core.status import MarketStatus
from circuit_guard.core.types import GLOBAL_SCOPE, SECOND_NS, AllowedCheck, Finding, Outcome, Severity, Verdict
from circuit_guard.telemetry.admission import AdmissionMetrics
from circuit_guard.telemetry.families import Families
from circuit_guard.telemetry.series import ACCEPTED, REDELIVERED, REJECTED, MarketCounts, MarketGauges, ScopeSeries

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
    clock_error_s: float
    descriptors_exhausted: int = 0
    journal_in_use: bool = False
    journal_queued: int = 0
    journal_dropped: int = 0
    journal_over_budget_bytes: int = 0
    journal_unwritten_s: float = 0.0


class Metrics:
    """An engine observer with a registry of its own. The number of series is bounded by the policy alone."""

    def __init__(self, policy: Policy, version: str, now_ns: int) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._families = Families(self.registry)
        self._counters, self._gauges = self._families.counters, self._families.gauges
        self.admission = AdmissionMetrics(self._families)
        self._counts = {market: MarketCounts(self._families, market) for market in policy.markets}
        self._states = {market: MarketGauges(self._families, market) for market in policy.markets}
        self._other = MarketCounts(self._families, OTHER)
        self._global = ScopeSeries(self._families, GLOBAL_SCOPE)
        self._totals: Counter[str] = Counter()
        """What the vitals counted when they were last shown."""
        self._gauges["build_info"].labels(version).set(1)
        self._start_reasons()
        self._counters["policy_reloads_total"].labels("success")
        self._counters["policy_reloads_total"].labels("failure")
        for outcome in Outcome:
            self._counters["states_validated_total"].labels(outcome)
        for unknown in ("maintenance", "acts_proposed"):
            self._gauges[unknown].set(nan)
        self._show_policy(policy.revision, now_ns)

    def on_facts(self, facts: Sequence[Fact], took_ns: int) -> None:
        """Count what happened."""
        for fact in facts:
            if isinstance(fact, ReferenceJudged) and fact.accepted:  # nearly all of a feed
                self._counts_of(fact.market).references[ACCEPTED].value += 1
            else:
                self._count(fact, took_ns)

    def on_allowed(self, checks: Sequence[AllowedCheck]) -> None:
        """Count what permits allowed. It is not in the histogram of durations, which is of what the rules judge."""
        for (market, kind), count in Counter((check.market, check.kind) for check in checks).items():
            self._counts_of(market).decisions[kind, Verdict.ALLOW].inc(count)
        self._counters["decisions_by_permit_total"].inc(len(checks))

    def reload_failed(self) -> None:
        """Record that a policy could not be loaded; the one before stays in force."""
        self._counters["policy_reloads_total"].labels("failure").inc()
        self._gauges["policy_last_reload_successful"].set(0)

    def loop_late(self, lag_s: float) -> None:
        """Count how late the event loop was with a tick."""
        self._families.loop_lag.observe(lag_s)

    def refresh_failed(self) -> None:
        """Record that the gauges could not be set: what they say is old."""
        self._counters["state_refresh_failures_total"].inc()

    def show_market(self, status: MarketStatus) -> None:
        """Set the gauges of one market of the policy."""
        self._states[status.market].show(status)

    def show_guard(self, breaker: Breaker, halts: Sequence[Halt], vitals: Vitals) -> None:
        """Set the gauges of the GLOBAL breaker and halts and of the process."""
        self._global.show(breaker, halts)
        self.show_vitals(vitals)

    def show_vitals(self, vitals: Vitals) -> None:
        """Set the gauges of the process alone; those of the markets stay as they were, at first NaN: unknown."""
        gauges = {
            "ready": vitals.ready,
            "shadow_mode": vitals.shadow,
            "watchers": vitals.watchers,
            "journal_in_use": vitals.journal_in_use,
            "journal_queued_records": vitals.journal_queued,
            "journal_over_budget_bytes": vitals.journal_over_budget_bytes,
            "journal_unwritten_seconds": vitals.journal_unwritten_s,
            "clock_error_seconds": vitals.clock_error_s,
            "clock_offset_seconds": vitals.clock_offset_s,
        }
        totals = {
            "events_lost_total": vitals.events_lost,
            "log_lines_dropped_total": vitals.log_lines_dropped,
            "descriptors_exhausted_total": vitals.descriptors_exhausted,
            "journal_dropped_records_total": vitals.journal_dropped,
        }
        for name, value in gauges.items():
            self._gauges[name].set(value)
        for name, total in totals.items():
            self._counters[name].inc(total - self._totals[name])
            self._totals[name] = total

    def show_state(self, state: GuardState, now_ns: int) -> None:
        """Set the gauges of what operators have begun, for how long each market is held, and what that costs."""
        waiting = [proposal for proposal in state.proposals.values() if proposal.expires_ns > now_ns]
        self._gauges["maintenance"].set(state.maintenance is not None)
        self._gauges["acts_proposed"].set(len(waiting))
        for market, gauges in self._states.items():
            since_ns = state.markets[market].held_since_ns
            gauges.show_held(0 if since_ns is None else now_ns - since_ns)
            self._counts[market].costs.show(now_ns)

    def _start_reasons(self) -> None:
        for reason in REASONS:
            for name in ("denials_by_reason_total", "order_denials_by_reason_total", "shadow_actions_by_reason_total"):
                self._counters[name].labels(reason)
            for shadow in ("false", "true"):
                self._counters["decision_findings_total"].labels(reason, shadow)
            for judged in ("observation", "reference"):
                self._counters["rejections_by_reason_total"].labels(judged, reason)

    def _counts_of(self, market: str) -> MarketCounts:
        return self._counts.get(market, self._other)

    def _count(self, fact: Fact, took_ns: int) -> None:  # noqa: C901  # one case for each kind of fact
        counters = self._counters
        match fact:
            case facts.DecisionMade():
                self._count_decision(fact, took_ns)
            case facts.ObservationJudged():
                result = REDELIVERED if fact.redelivered else ACCEPTED if fact.accepted else REJECTED
                self._counts_of(fact.market).observations[result].inc()
                if not fact.accepted:
                    self._count_reasons("rejections_by_reason_total", fact.findings, "observation")
            case ReferenceJudged():
                self._counts_of(fact.market).references[ACCEPTED if fact.accepted else REJECTED].inc()
                if not fact.accepted:
                    self._count_reasons("rejections_by_reason_total", fact.findings, "reference")
            case facts.OrderJudged():
                self._counts_of(fact.market).orders[fact.verdict].inc()
                if fact.verdict is Verdict.DENY:
                    self._count_reasons("order_denials_by_reason_total", fact.findings)
            case facts.BreakerChanged(scope=scope) if scope == GLOBAL_SCOPE:
                self._global.transitions[fact.after].inc()
            case facts.BreakerChanged(scope=scope) if scope in self._states:
                self._states[scope].scope.transitions[fact.after].inc()
            case facts.ShadowWould():
                for finding in fact.findings:
                    counters["shadow_actions_by_reason_total"].labels(finding.reason).inc()
            case facts.PolicyChanged():
                self._change_policy(fact)
            case facts.CheckRefused():
                counters["checks_refused_total"].inc()
            case facts.CommandRefused():
                counters["commands_refused_total"].inc()
            case facts.Rebaselined():
                counters["rebaselines_total"].inc()
            case facts.StateValidated():
                for found in fact.outcomes:
                    counters["states_validated_total"].labels(found.outcome).inc()

    def _count_decision(self, fact: facts.DecisionMade, took_ns: int) -> None:
        if fact.repeated:
            self._counters["decisions_repeated_total"].inc()
            return
        decision = fact.decision
        denied = decision.verdict is Verdict.DENY
        counts = self._counts_of(decision.market)
        counts.decisions[decision.kind, decision.verdict].inc()
        counts.shadow_denials.inc(not denied and decision.shadow_verdict is Verdict.DENY)
        counts.costs.count(decision)
        self._families.decision_duration.observe(took_ns / SECOND_NS)
        for finding in decision.findings:
            shadow = "true" if finding.shadow else "false"
            self._counters["decision_findings_total"].labels(finding.reason, shadow).inc()
        if denied:
            self._count_reasons("denials_by_reason_total", decision.findings)

    def _count_reasons(self, name: str, findings: Iterable[Finding], *labels: str) -> None:
        """Count each reason that denies once, whatever the number of its findings."""
        denying = {found.reason for found in findings if found.severity >= Severity.DENY and not found.shadow}
        for reason in denying:
            self._counters[name].labels(*labels, reason).inc()

    def _change_policy(self, fact: facts.PolicyChanged) -> None:
        for market in fact.removed:
            self._counts.pop(market, None)  # a recovered policy may name markets that this process never had
            self._states.pop(market, None)
            self._families.remove(market)
        for market in fact.added:
            self._counts[market] = MarketCounts(self._families, market)
            self._states[market] = MarketGauges(self._families, market)
        self._counters["policy_reloads_total"].labels("success").inc()
        self._show_policy(fact.revision, fact.at_ns)

    def _show_policy(self, revision: str, at_ns: int) -> None:
        self._gauges["policy_info"].clear()
        self._gauges["policy_info"].labels(revision).set(1)
        self._gauges["policy_last_reload_successful"].set(1)
        self._gauges["policy_last_reload_success_timestamp_seconds"].set(at_ns / SECOND_NS)
