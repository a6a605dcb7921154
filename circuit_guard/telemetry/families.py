"""Every metric by name, with its labels and its help text. Label values come from enumerations and the policy only."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics

from circuit_guard.telemetry.plain import NAMESPACE, Family

COUNTERS = {
    "decisions_total{market,kind,verdict}": "Checks answered; repeated requests are not counted again.",
    "shadow_denials_total{market}": "Checks allowed that would be denied if nothing were in shadow.",
    "decision_findings_total{reason,shadow}": "Findings in decisions, whatever the verdict.",
    "denials_by_reason_total{reason}": "Denied checks by reason; one with two reasons counts under both.",
    "explained_losses_total{market,verdict}": (
        "Checks with an account, by what trusted values say about its loss; only EXPLAINED is certainly under water."
    ),
    "explained_denials_total{market}": (
        "Denied checks of accounts under water at trusted values too and not tainted; asking again counts again."
    ),
    "decisions_repeated_total": "Requests asked again and answered with their earlier decision.",
    "decisions_by_permit_total": (
        "Checks without an account that a market's permit allowed; all others were shown to every rule."
    ),
    "checks_refused_total": "Checks refused because their request_id was used before with different content.",
    "orders_judged_total{market,verdict}": "Orders judged.",
    "order_denials_by_reason_total{reason}": "Denied orders by reason; two reasons count under both.",
    "observations_total{market,result}": "Observations judged.",
    "references_total{market,result}": "References judged.",
    "rejections_by_reason_total{input,reason}": (
        "Rejected observations and references by reason; one with two reasons counts under both."
    ),
    "shadow_actions_by_reason_total{reason}": (
        "Shadow findings that, enforced, would have rejected an observation or opened a breaker."
    ),
    "commands_refused_total": "Operator commands refused.",
    "breaker_transitions_total{scope,to}": "Breaker transitions.",
    "states_validated_total{outcome}": "Markets in validated dumps of the exchange's state; only ok is clean.",
    "rebaselines_total": "Markets whose funding index or repaired accounts an operator confirmed.",
    "policy_reloads_total{result}": "Attempts to reload the policy.",
    "events_lost_total": "Events lost because a watcher was too slow.",
    "log_lines_dropped_total": "Log lines dropped because they could not be written fast enough.",
    "descriptors_exhausted_total": "Times a connection or a file could not be opened for want of a descriptor.",
    "state_refresh_failures_total": "Times the guard could not update its state metrics, so that they show an "
    "old state.",
    "journal_dropped_records_total": "Decisions that were not recorded because the disk was too slow.",
    "rpcs_refused_total{reason}": (
        "RPCs refused before any part of them took effect; expired: the caller's deadline had passed; "
        "bytes_used_up: its identity sent more bytes than limits.bytes_per_s or journal_bytes_per_day allows."
    ),
}
GAUGES = {
    "breaker_state{scope,state}": "1 for the state the breaker is in; OPEN denies.",
    "breaker_latched{scope}": "1 if the breaker stays OPEN until an operator resets it.",
    "halted{scope}": "1 if an operator has halted closures.",
    "phase{market,phase}": "1 for the phase the market is in.",
    "market_warm{market}": "1 once closures of the market can be judged.",
    "market_closed{market}": "1 outside the market's trading hours, where the policy then denies closures.",
    "data_age_seconds{market,kind}": "Age of the trusted data; +Inf before there was any.",
    "headroom_ratio{market,rule}": (
        "Share of the limit that is still free: 1 far from it, 0 at it, negative beyond; NaN if unknown."
    ),
    "fresh_references{market}": (
        "Reference sources that count now; NaN where none are expected: closed, or judged by its own price."
    ),
    "market_held_seconds{market}": "How long a halt, a breaker or a phase has held closures; 0 if none does.",
    "market_hold_overdue{market}": "1 if closures are held for longer than the policy's deadline: page someone.",
    "market_ramp_ratio{market}": "Share of the full rate at which closures flow after a hold; 1 without limit.",
    "hold_since_timestamp_seconds{scope,reason,lifted_by}": (
        "When a reason began to hold every closure of the scope, and who lifts it; no series if none does."
    ),
    "held_closures{market}": (
        "Accounts under water at trusted values too, not tainted, denied within 60 s and not yet allowed."
    ),
    "held_shortfall{market}": (
        "The least that the accounts of held_closures lack of their maintenance margin, in quote currency."
    ),
    "maintenance": "1 while a maintenance of the exchange has begun and not ended.",
    "acts_proposed": "Acts that wait for a second actor; none is in effect.",
    "policy_info{revision}": "1 for the revision of the policy in force.",
    "shadow_mode": "1 if the policy only records and enforces no rule.",
    "policy_last_reload_successful": "1 if the policy was valid when it was last loaded.",
    "policy_last_reload_success_timestamp_seconds": "When a policy last took effect.",
    "ready": "1 if the guard is serving.",
    "watchers": "Clients that watch events.",
    "journal_in_use": "1 if a journal records what happens; 0 if there is no journal, or it failed.",
    "journal_queued_records": "Records that wait for the disk.",
    "journal_unwritten_seconds": "How long the oldest record that is not on the disk has waited.",
    "journal_over_budget_bytes": "Bytes by which the records that must be kept exceed the budget; 0 while they fit.",
    "clock_error_seconds": "How far all publishers are ahead of the guard's own clock, alike; 0: it is right.",
    "clock_offset_seconds": "How far the wall clock has moved ahead of the guard's own clock since the start.",
    "build_info{version}": "1 for the version that is running.",
    "checks_waiting": "Requests of liquidators that wait or are being decided.",
    "identities": "Identities in the settings; 0: everybody who can connect may do everything.",
    "identities_last_reload_successful": (
        "1 if the identities in the settings file are in force; 0: the file is broken, and those before it stay."
    ),
    "insecure_listener{listener}": ("1 if other machines can reach the listener and it does not identify them."),
    "certificate_expiry_timestamp_seconds": "When the server certificate in use expires; +Inf without TLS.",
    "certificate_reload_successful": (
        "1 if the certificate files on the disk are in use; 0: they are broken, and the previous pair is in use."
    ),
}
DECISION_BUCKETS_S = (25e-6, 50e-6, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.25)
LAG_BUCKETS_S = (1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 5.0)


class Families:
    """The metrics of one registry by name, without their label combinations."""

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no hints
        self.counters = {
            _name_of(metric): _made("counter", metric, text, registry) for metric, text in COUNTERS.items()
        }
        self.gauges = {_name_of(metric): _made("gauge", metric, text, registry) for metric, text in GAUGES.items()}
        self.decision_duration = Histogram(
            "decision_duration_seconds",
            "Time the core took to decide one check.",
            namespace=NAMESPACE,
            registry=registry,
            buckets=DECISION_BUCKETS_S,
        )
        self.loop_lag = Histogram(
            "event_loop_lag_seconds",
            "How late the event loop was with each tick.",
            namespace=NAMESPACE,
            registry=registry,
            buckets=LAG_BUCKETS_S,
        )

    def remove(self, scope: str) -> None:
        """Drop every series of a market that the policy no longer names."""
        families = {**self.counters, **self.gauges}
        for metric in (*COUNTERS, *GAUGES):
            for label in {"market", "scope"}.intersection(_labels_of(metric)):
                families[_name_of(metric)].remove_by_labels({label: scope})


def _name_of(metric: str) -> str:
    return metric.partition("{")[0]


def _labels_of(metric: str) -> list[str]:
    labels = metric.partition("{")[2].removesuffix("}")
    return labels.split(",") if labels else []


def _made(kind: str, metric: str, text: str, registry: CollectorRegistry) -> Family:
    return Family(_name_of(metric), kind, text, _labels_of(metric), registry)
