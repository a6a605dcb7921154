"""Messages of the guard as core types again: what a client of the contract shows with the words of the core.

The inverse of `status`, `events` and `answers`. What the contract leaves out has its default: the names
of a validated dump's clean markets are empty, an identity is too, and a hull and a band are None.
Every function raises WireError for a value that this version does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from circuit_guard.core import facts
from circuit_guard.core.envelope import Interval
from circuit_guard.core.facts import Fact
from circuit_guard.core.market import Halt
from circuit_guard.core.references import Nowhere
from circuit_guard.core.state import Maintenance
from circuit_guard.core.status import BreakerStatus, GuardStatus, MarketStatus
from circuit_guard.core.types import (
    GLOBAL_SCOPE,
    SECOND_NS,
    Decision,
    ExplainedLoss,
    Finding,
    MarketOutcome,
    Outcome,
)
from circuit_guard.errors import WireError
from circuit_guard.server.convert import enums
from circuit_guard.v1 import event_pb2, liquidation_pb2, order_pb2, status_pb2, types_pb2

T = TypeVar("T")


def _inverse(table: Mapping[T, int]) -> dict[int, T]:
    return {number: value for value, number in table.items()}


PHASES, BREAKER_STATES, SEVERITIES = _inverse(enums.PHASES), _inverse(enums.BREAKER_STATES), _inverse(enums.SEVERITIES)
VERDICTS, KINDS, LIFTS = _inverse(enums.VERDICTS), _inverse(enums.KINDS), _inverse(enums.LIFTS)
EXPLANATIONS, OUTCOMES = _inverse(enums.EXPLANATIONS), _inverse(enums.OUTCOMES)


def time_ns(stamp: Timestamp) -> int:
    """Return an instant in nanoseconds since the Unix epoch."""
    return stamp.seconds * SECOND_NS + stamp.nanos


def duration_ns(duration: Duration) -> int:
    """Return a duration in nanoseconds."""
    return duration.seconds * SECOND_NS + duration.nanos


def guard(message: status_pb2.GuardStatus) -> GuardStatus:
    """Return the status of the whole guard; why it is not ready otherwise than for a market, only the message says."""
    markets = tuple(map(market, message.markets))
    return GuardStatus(
        at_ns=time_ns(message.at),
        policy_revision=message.policy_revision,
        shadow=message.shadow,
        global_breaker=_breaker(GLOBAL_SCOPE, message.global_breaker),
        global_halt=_halt(message.global_halt) if message.HasField("global_halt") else None,
        not_ready=tuple(one.market for one in markets if one.required and not one.warm),
        markets=markets,
        maintenance=_maintenance(message.maintenance) if message.HasField("maintenance") else None,
        proposals=tuple(map(proposal, message.proposals)),
    )


def market(message: status_pb2.MarketStatus) -> MarketStatus:
    """Return the status of one market."""
    return MarketStatus(
        market=message.market,
        market_class=message.market_class,
        required=message.required,
        warm=message.warm,
        phase=_known(PHASES, message.phase, "phase"),
        commanded_phase=_known(PHASES, message.commanded_phase, "commanded_phase"),
        phase_since_ns=time_ns(message.phase_since),
        phase_note=message.phase_note,
        breaker=_breaker(message.market, message.breaker),
        halt=_halt(message.halt) if message.HasField("halt") else None,
        denying=findings(message.denying),
        mark_price=_decimal(message.mark_price),
        mark_age_ns=duration_ns(message.mark_age) if message.HasField("mark_age") else None,
        index_price=_decimal(message.index_price),
        funding_index=_decimal(message.funding_index),
        funding_age_ns=duration_ns(message.funding_age) if message.HasField("funding_age") else None,
        funding_envelope=_interval(message.funding_envelope) if message.HasField("funding_envelope") else None,
        reference_price=_decimal(message.reference_price),
        reference_count=message.references_fresh,
        mark_limits=_limits(message.mark_limits) if message.HasField("mark_limits") else None,
        headroom={room.rule: Decimal(str(room.left_ratio)) for room in message.headroom},
        held_since_ns=time_ns(message.held_since) if message.HasField("held_since") else None,
        overdue=message.overdue,
        ramp_share=Decimal(str(message.ramp_share)) if message.HasField("ramp_share") else None,
        discarded=message.discarded_intervals,
    )


def proposal(message: types_pb2.Proposal) -> facts.ActProposed:
    """Return an act that waits for a second actor; when it was proposed is not in the message."""
    return _proposed(message, 0)


def findings(messages: Iterable[types_pb2.Finding]) -> tuple[Finding, ...]:
    """Return findings in their order."""
    return tuple(map(finding, messages))


def finding(message: types_pb2.Finding) -> Finding:
    """Return one finding. Its reason may be one that this version does not know."""
    severity = _known(SEVERITIES, message.severity, "severity")
    return Finding(message.reason, severity, message.subject, message.observed, message.limit, message.shadow)


def outcome(message: types_pb2.MarketOutcome) -> MarketOutcome:
    """Return what a dump says of one market."""
    kind = _known(OUTCOMES, message.outcome, "outcome")
    return MarketOutcome(message.market, kind, message.subject, message.observed, message.limit, message.swapped_with)


def decision(message: liquidation_pb2.LiquidationDecision) -> facts.DecisionMade:
    """Return the answer to a check."""
    made = Decision(
        decision_id=message.decision_id,
        request_id=message.request_id,
        account_id=message.account_id,
        market=message.market,
        kind=_known(KINDS, message.kind, "kind"),
        at_ns=time_ns(message.decided_at),
        verdict=_known(VERDICTS, message.verdict, "verdict"),
        shadow_verdict=_known(VERDICTS, message.shadow_verdict, "shadow_verdict"),
        findings=findings(message.findings),
        phase=_known(PHASES, message.phase, "phase"),
        breaker=_known(BREAKER_STATES, message.breaker, "breaker"),
        policy_revision=message.policy_revision,
        explained=explained_loss(message.explained_loss) if message.HasField("explained_loss") else None,
    )
    return facts.DecisionMade(made.at_ns, made, message.repeated)


def explained_loss(message: liquidation_pb2.ExplainedLoss) -> ExplainedLoss:
    """Return what trusted values say of a loss."""
    return ExplainedLoss(
        verdict=_known(EXPLANATIONS, message.verdict, "explained_loss.verdict"),
        low=_decimal(message.low),
        high=_decimal(message.high),
        unknown=tuple(message.unknown_markets),
    )


def judgement(message: order_pb2.OrderJudgement) -> facts.OrderJudged:
    """Return the answer for an order."""
    return facts.OrderJudged(
        time_ns(message.judged_at),
        message.order_id,
        message.market,
        _known(VERDICTS, message.verdict, "verdict"),
        findings(message.findings),
    )


def event(message: event_pb2.Event) -> Fact:  # noqa: C901  # one case for each kind of event
    """Return what happened."""
    at_ns = time_ns(message.at)
    match message.WhichOneof("kind"):
        case "observation_rejected":
            judged = message.observation_rejected
            return facts.ObservationJudged(at_ns, judged.market, judged.source, False, False, findings(judged.findings))
        case "reference_rejected":
            judged = message.reference_rejected
            return facts.ReferenceJudged(at_ns, judged.market, judged.source, False, findings(judged.findings))
        case "observation_reconsidered":
            again = message.observation_reconsidered
            return facts.ObservationReconsidered(at_ns, again.market, again.source)
        case "decision":
            return decision(message.decision)
        case "order_denied":
            return judgement(message.order_denied)
        case "breaker_changed":
            return _breaker_changed(message.breaker_changed, at_ns)
        case "phase_changed":
            return _phase_changed(message.phase_changed, at_ns)
        case "halt_changed":
            halt = message.halt_changed
            expires_ns = time_ns(halt.expires_at) if halt.HasField("expires_at") else None
            return facts.HaltChanged(at_ns, halt.scope, halt.halted, halt.actor, halt.reason, expires_ns)
        case "market_warm":
            return facts.MarketWarm(at_ns, message.market_warm.market)
        case "market_reopened":
            reopened = message.market_reopened
            return facts.MarketReopened(at_ns, reopened.market, duration_ns(reopened.held))
        case "shadow_would":
            would = message.shadow_would
            return facts.ShadowWould(at_ns, would.scope, findings(would.findings))
        case _:
            return _act(message, at_ns)


def _act(message: event_pb2.Event, at_ns: int) -> Fact:
    match message.WhichOneof("kind"):
        case "maintenance_began":
            began = message.maintenance_began
            return facts.MaintenanceBegan(at_ns, began.actor, began.reason, began.checkpoint_name)
        case "state_validated":
            validated = message.state_validated
            found = (*_clean(validated.clean_count), *map(outcome, validated.not_clean))
            return facts.StateValidated(at_ns, validated.actor, found)
        case "maintenance_ended":
            ended = message.maintenance_ended
            return facts.MaintenanceEnded(at_ns, ended.actor, ended.reason, tuple(ended.clean), tuple(ended.latched))
        case "rebaselined":
            return _rebaselined(message.rebaselined, at_ns)
        case "act_proposed":
            return _proposed(message.act_proposed, at_ns)
        case "policy_changed":
            policy = message.policy_changed
            return facts.PolicyChanged(at_ns, policy.revision, tuple(policy.added), tuple(policy.removed))
        case "command_refused":
            command = message.command_refused
            return facts.CommandRefused(at_ns, command.subject, command.observed, command.expected)
        case "check_refused":
            return facts.CheckRefused(at_ns, message.check_refused.request_id, message.check_refused.differing)
        case kind:
            raise WireError("event.kind", str(kind), "a kind that this version knows")


def _breaker_changed(message: event_pb2.BreakerChanged, at_ns: int) -> facts.BreakerChanged:
    return facts.BreakerChanged(
        at_ns,
        scope=message.scope,
        before=_known(BREAKER_STATES, message.before, "before"),
        after=_known(BREAKER_STATES, message.after, "after"),
        latched=message.latched,
        generation=message.generation,
        findings=findings(message.findings),
        actor=message.actor,
        note=message.note,
    )


def _phase_changed(message: event_pb2.PhaseChanged, at_ns: int) -> facts.PhaseChanged:
    before, after = _known(PHASES, message.before, "before"), _known(PHASES, message.after, "after")
    return facts.PhaseChanged(at_ns, message.market, before, after, message.actor, message.note)


def _rebaselined(message: event_pb2.Rebaselined, at_ns: int) -> facts.Rebaselined:
    return facts.Rebaselined(
        at_ns,
        market=message.market,
        before=_decimal(message.funding_index_before),
        after=_decimal(message.funding_index_after),
        actor=message.actor,
        reason=message.reason,
        checkpoint=message.checkpoint_id if message.HasField("checkpoint_id") else None,
    )


def _proposed(message: types_pb2.Proposal, at_ns: int) -> facts.ActProposed:
    return facts.ActProposed(
        at_ns, message.act, tuple(message.scopes), message.actor, message.reason, time_ns(message.expires_at)
    )


def _maintenance(message: status_pb2.MaintenanceStatus) -> Maintenance:
    validated = None
    if message.HasField("validated_at"):
        not_clean = (MarketOutcome("", Outcome.MISSING),) * message.not_clean_count
        validated = facts.StateValidated(time_ns(message.validated_at), "", (*_clean(message.clean_count), *not_clean))
    return Maintenance(message.actor, message.reason, time_ns(message.since), message.checkpoint_name, validated)


def _clean(count: int) -> tuple[MarketOutcome, ...]:
    """Return clean outcomes, which the contract only counts."""
    return (MarketOutcome("", Outcome.OK),) * count


def _breaker(scope: str, message: status_pb2.BreakerStatus) -> BreakerStatus:
    return BreakerStatus(
        scope,
        state=_known(BREAKER_STATES, message.state, "breaker.state"),
        latched=message.latched,
        since_ns=time_ns(message.since),
        generation=message.generation,
        findings=findings(message.findings),
    )


def _halt(message: status_pb2.Halt) -> Halt:
    expires_ns = time_ns(message.expires_at) if message.HasField("expires_at") else None
    return Halt(message.actor, message.reason, time_ns(message.since), expires_ns)


def _limits(message: status_pb2.Interval) -> Interval | Nowhere:
    """Return where a price may be; what ends below its beginning says that no price is near all references."""
    found = _interval(message)
    return found if found.low <= found.high else Nowhere(found.low, found.high)


def _interval(message: status_pb2.Interval) -> Interval:
    return Interval(Decimal(message.low), Decimal(message.high))


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None


def _known(table: Mapping[int, T], number: int, name: str) -> T:
    """Return what the number of an enumeration stands for."""
    if number not in table:
        raise WireError(name, str(number), "a value that this version knows")
    return table[number]
