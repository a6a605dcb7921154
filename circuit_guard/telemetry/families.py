"""Every metric: its name, its labels, its help text. Label values come from enumerations and from the policy only."""

from __future__ import annotations

from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

NAMESPACE = "circuit_guard"
Family = TypeVar("Family", Counter, Gauge)

DECISION_BUCKETS_S = (25e-6, 50e-6, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.25)
LAG_BUCKETS_S = (1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 5.0)


class Families:
    """The metrics of one registry, without their label combinations."""

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no hints
        self._registry = registry
        self._by_label: dict[str, list[Counter | Gauge]] = {"market": [], "scope": []}
        self._define_decisions()
        self._define_inputs()
        self._define_state()
        self._define_acts()
        self._define_policy()
        self._define_process()
        self._define_admission()

    def remove(self, scope: str) -> None:
        """Drop every series of a market that the policy no longer names."""
        for label, families in self._by_label.items():
            for family in families:
                family.remove_by_labels({label: scope})

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return self._kept(Counter(name, text, labels, namespace=NAMESPACE, registry=self._registry), labels)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return self._kept(Gauge(name, text, labels, namespace=NAMESPACE, registry=self._registry), labels)

    def _kept(self, family: Family, labels: tuple[str, ...]) -> Family:
        for label in self._by_label.keys() & labels:
            self._by_label[label].append(family)
        return family

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, namespace=NAMESPACE, registry=self._registry, buckets=buckets)

    def _define_decisions(self) -> None:
        self.decisions = self._counter(
            "decisions_total", "Checks answered; repeated requests are not counted again.", "market", "kind", "verdict"
        )
        self.shadow_denials = self._counter(
            "shadow_denials_total", "Checks allowed that would be denied if nothing were in shadow.", "market"
        )
        self.decision_findings = self._counter(
            "decision_findings_total", "Findings in decisions, whatever the verdict.", "reason", "shadow"
        )
        self.denials_by_reason = self._counter(
            "denials_by_reason_total", "Denied checks by reason; one with two reasons counts under both.", "reason"
        )
        self.explained_losses = self._counter(
            "explained_losses_total",
            "Checks with an account by what trusted values say of its loss; only EXPLAINED is under water for certain.",
            "market",
            "verdict",
        )
        self.explained_denials = self._counter(
            "explained_denials_total",
            "Denied checks of accounts under water at trusted values too and not tainted; asking again counts again.",
            "market",
        )
        self.decisions_repeated = self._counter(
            "decisions_repeated_total", "Requests asked again and given the decision they had."
        )
        self.checks_refused = self._counter(
            "checks_refused_total", "Checks refused because their request_id came before with another content."
        )
        self.decision_duration = self._histogram(
            "decision_duration_seconds", "Time the core took to decide one check.", DECISION_BUCKETS_S
        )
        self.orders = self._counter("orders_judged_total", "Orders judged.", "market", "verdict")
        self.order_denials_by_reason = self._counter(
            "order_denials_by_reason_total", "Denied orders by reason; two reasons count under both.", "reason"
        )

    def _define_inputs(self) -> None:
        self.observations = self._counter("observations_total", "Observations judged.", "market", "result")
        self.references = self._counter("references_total", "References judged.", "market", "result")
        self.rejections_by_reason = self._counter(
            "rejections_by_reason_total",
            "Rejected observations and references by reason; one with two reasons counts under both.",
            "input",
            "reason",
        )
        self.shadow_actions_by_reason = self._counter(
            "shadow_actions_by_reason_total",
            "Shadow findings that, enforced, would have rejected an observation or opened a breaker.",
            "reason",
        )
        self.commands_refused = self._counter("commands_refused_total", "Operator commands refused.")

    def _define_state(self) -> None:
        self.breaker_state = self._gauge(
            "breaker_state", "1 for the state the breaker is in; OPEN denies.", "scope", "state"
        )
        self.breaker_latched = self._gauge(
            "breaker_latched", "1 if the breaker stays OPEN until an operator resets it.", "scope"
        )
        self.breaker_transitions = self._counter("breaker_transitions_total", "Breaker transitions.", "scope", "to")
        self.halted = self._gauge("halted", "1 if an operator has halted closures.", "scope")
        self.phase = self._gauge("phase", "1 for the phase the market is in.", "market", "phase")
        self.market_warm = self._gauge("market_warm", "1 once closures of the market can be judged.", "market")
        self.data_age = self._gauge(
            "data_age_seconds", "Age of the trusted data; +Inf before there was any.", "market", "kind"
        )
        self.headroom = self._gauge(
            "headroom_ratio",
            "Share of the limit that is still free: 1 far from it, 0 at it, negative beyond; NaN if unknown.",
            "market",
            "rule",
        )
        self.fresh_references = self._gauge("fresh_references", "Reference sources that count now.", "market")

    def _define_acts(self) -> None:
        self.held = self._gauge(
            "market_held_seconds",
            "For how long a halt, a breaker or a phase holds closures; 0 when none does.",
            "market",
        )
        self.hold_overdue = self._gauge(
            "market_hold_overdue",
            "1 if closures are held for longer than the policy's deadline: page someone.",
            "market",
        )
        self.ramp = self._gauge(
            "market_ramp_ratio",
            "Share of the full rate at which closures flow after a hold; 1 without limit.",
            "market",
        )
        self.hold_since = self._gauge(
            "hold_since_timestamp_seconds",
            "Since when a reason holds every closure of the scope, and who lifts it; no series where none does.",
            "scope",
            "reason",
            "lifted_by",
        )
        self.held_closures = self._gauge(
            "held_closures",
            "Accounts under water at trusted values too, not tainted, denied within 60 s and not yet allowed.",
            "market",
        )
        self.held_shortfall = self._gauge(
            "held_shortfall",
            "By how much, at least, the accounts of held_closures miss their maintenance margin; quote currency.",
            "market",
        )
        self.maintenance = self._gauge("maintenance", "1 while a maintenance of the exchange has begun and not ended.")
        self.acts_proposed = self._gauge("acts_proposed", "Acts that wait for a second actor; none is in effect.")
        self.states_validated = self._counter(
            "states_validated_total", "Markets in validated dumps of the exchange's state; only ok is clean.", "outcome"
        )
        self.rebaselines = self._counter(
            "rebaselines_total", "Markets whose funding index, or whose repaired accounts, an operator vouched for."
        )

    def _define_policy(self) -> None:
        self.policy_info = self._gauge("policy_info", "1 for the revision of the policy in force.", "revision")
        self.shadow_mode = self._gauge("shadow_mode", "1 if the policy only records and enforces no rule.")
        self.reload_successful = self._gauge(
            "policy_last_reload_successful", "1 if the policy was valid when it was last loaded."
        )
        self.reload_success_time = self._gauge(
            "policy_last_reload_success_timestamp_seconds", "When a policy last took effect."
        )
        self.reloads = self._counter("policy_reloads_total", "Attempts to reload the policy.", "result")

    def _define_process(self) -> None:
        self.ready = self._gauge("ready", "1 if the guard is serving.")
        self.watchers = self._gauge("watchers", "Clients that watch events.")
        self.events_lost = self._counter("events_lost_total", "Events that watchers were too slow to take.")
        self.log_lines_dropped = self._counter(
            "log_lines_dropped_total", "Log lines dropped because they could not be written fast enough."
        )
        self.refresh_failures = self._counter(
            "state_refresh_failures_total", "Times that the state could not be shown: what it says is old."
        )
        self.journal_in_use = self._gauge(
            "journal_in_use", "1 if what happens is recorded; 0 is memory only, or failed."
        )
        self.journal_queued = self._gauge("journal_queued_records", "Records that wait for the disk.")
        self.journal_dropped = self._counter(
            "journal_dropped_records_total", "Decisions that were not recorded because the disk was too slow."
        )
        self.journal_over_budget = self._gauge(
            "journal_over_budget_bytes", "By how much what must be kept exceeds the budget; 0 while it fits."
        )
        self.clock_offset = self._gauge(
            "clock_offset_seconds", "How far the wall clock has moved ahead of the guard's own clock since the start."
        )
        self.loop_lag = self._histogram(
            "event_loop_lag_seconds", "How late the event loop was with each tick.", LAG_BUCKETS_S
        )
        self.build_info = self._gauge("build_info", "1 for the version that is running.", "version")

    def _define_admission(self) -> None:
        self.rpcs_refused = self._counter(
            "rpcs_refused_total",
            "RPCs refused before anything of them took effect; expired: the caller's deadline had passed.",
            "reason",
        )
        self.checks_waiting = self._gauge("checks_waiting", "Requests of liquidators in work or waiting.")
        self.identities = self._gauge(
            "identities", "Identities in the settings; 0: everybody who can connect may do everything."
        )
        self.insecure_listener = self._gauge(
            "insecure_listener",
            "1 if others than this machine can reach the listener, and it does not know who they are.",
            "listener",
        )
        self.certificate_expiry = self._gauge(
            "certificate_expiry_timestamp_seconds",
            "When the server certificate in use expires; +Inf without TLS.",
        )
        self.certificate_current = self._gauge(
            "certificate_reload_successful",
            "1 if the certificate's files are what is in use; 0: they are broken, and the pair before them is.",
        )
