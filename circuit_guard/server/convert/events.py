"""Core facts and the events of the watch stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from circuit_guard.core import facts
from circuit_guard.core.types import Outcome, Verdict
from circuit_guard.server.convert import answers, records
from circuit_guard.server.convert.answers import FINDINGS
from circuit_guard.server.convert.status import PROPOSAL
from circuit_guard.v1 import event_pb2, types_pb2

DECISION, ORDER_DENIED, STATE_VALIDATED = "decision", "order_denied", "state_validated"
"""The kinds of event that say more, or less, than their fact."""

VALIDATED = records.Record(facts.StateValidated, event_pb2.StateValidated)
KINDS: dict[str, records.Record[Any, Any]] = {
    "observation_rejected": records.Record(facts.ObservationJudged, event_pb2.ItemRejected, findings=FINDINGS),
    "reference_rejected": records.Record(facts.ReferenceJudged, event_pb2.ItemRejected, findings=FINDINGS),
    "observation_reconsidered": records.Record(facts.ObservationReconsidered, event_pb2.ObservationReconsidered),
    "breaker_changed": records.Record(facts.BreakerChanged, event_pb2.BreakerChanged, findings=FINDINGS),
    "phase_changed": records.Record(facts.PhaseChanged, event_pb2.PhaseChanged),
    "halt_changed": records.Record(
        facts.HaltChanged, event_pb2.HaltChanged, expires_ns=records.TIME.named("expires_at").or_none()
    ),
    "market_warm": records.Record(facts.MarketWarm, event_pb2.MarketWarm),
    "market_reopened": records.Record(
        facts.MarketReopened, event_pb2.MarketReopened, held_ns=records.DURATION.named("held")
    ),
    "shadow_would": records.Record(facts.ShadowWould, event_pb2.ShadowWould, findings=FINDINGS),
    "policy_changed": records.Record(facts.PolicyChanged, event_pb2.PolicyChanged),
    "command_refused": records.Record(facts.CommandRefused, event_pb2.CommandRefused),
    "check_refused": records.Record(facts.CheckRefused, event_pb2.CheckRefused),
    "maintenance_began": records.Record(
        facts.MaintenanceBegan, event_pb2.MaintenanceBegan, checkpoint=records.SAME.named("checkpoint_name")
    ),
    "maintenance_ended": records.Record(facts.MaintenanceEnded, event_pb2.MaintenanceEnded),
    "rebaselined": records.Record(
        facts.Rebaselined,
        event_pb2.Rebaselined,
        before=records.DECIMAL.named("funding_index_before"),
        after=records.DECIMAL.named("funding_index_after"),
        checkpoint=records.SAME.named("checkpoint_id").or_none(),
        factor=records.DECIMAL,
        mark_before=records.DECIMAL.named("mark_price_before"),
        mark_after=records.DECIMAL.named("mark_price_after"),
    ),
    "act_proposed": PROPOSAL,
    "clock_changed": records.Record(
        facts.ClockChanged,
        event_pb2.ClockChanged,
        off_ns=records.SHIFT.named("off"),
        corrected_ns=records.SHIFT.named("corrected"),
    ),
}
_KIND_OF = {record.core: kind for kind, record in KINDS.items()}


def watched(fact: facts.Fact, *, include_allowed: bool) -> bool:
    """Return whether a watcher is to see the fact: what was accepted or allowed is not news."""
    match fact:
        case facts.ObservationJudged(accepted=accepted) | facts.ReferenceJudged(accepted=accepted):
            return not accepted
        case facts.DecisionMade(decision=decision):
            return include_allowed or decision.verdict is Verdict.DENY
        case facts.OrderJudged(verdict=verdict):
            return verdict is Verdict.DENY
        case _:
            return True


def events(happened: Iterable[facts.Fact]) -> list[event_pb2.Event]:
    """Return the facts that a watcher would see, as events."""
    return [event(fact) for fact in happened if watched(fact, include_allowed=True)]


def event(fact: facts.Fact) -> event_pb2.Event:
    """Return one fact as an event."""
    message: Any
    match fact:
        case facts.DecisionMade():
            kind, message = DECISION, answers.decision(fact)
        case facts.OrderJudged():
            kind, message = ORDER_DENIED, answers.judgement(fact)
        case facts.StateValidated(outcomes=found):
            not_clean = [answers.outcome(one) for one in found if one.outcome is not Outcome.OK]
            clean_count = len(found) - len(not_clean)
            kind, message = STATE_VALIDATED, VALIDATED.write(fact, clean_count=clean_count, not_clean=not_clean)
        case _:
            kind = _KIND_OF[type(fact)]
            message = KINDS[kind].write(fact)
    return event_pb2.Event(at=records.timestamp(fact.at_ns), **{kind: message})


def proposal(happened: Iterable[facts.Fact]) -> types_pb2.Proposal | None:
    """Return the proposal that a command became, None where it took effect."""
    return next((PROPOSAL.write(fact) for fact in happened if isinstance(fact, facts.ActProposed)), None)
