"""Core facts and the events of the watch stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from circuit_guard.core.facts import (
    ActProposed,
    BreakerChanged,
    CheckRefused,
    CommandRefused,
    DecisionMade,
    Fact,
    HaltChanged,
    MaintenanceBegan,
    MaintenanceEnded,
    MarketReopened,
    MarketWarm,
    ObservationJudged,
    ObservationReconsidered,
    OrderJudged,
    PhaseChanged,
    PolicyChanged,
    Rebaselined,
    ReferenceJudged,
    ShadowWould,
    StateValidated,
)
from circuit_guard.core.types import Outcome, Verdict
from circuit_guard.server.convert import answers
from circuit_guard.server.convert.answers import FINDINGS
from circuit_guard.server.convert.records import (
    BREAKER_STATE,
    DECIMAL,
    DURATION,
    PHASE,
    SAME,
    TEXTS,
    TIME,
    Record,
    timestamp,
)
from circuit_guard.server.convert.status import PROPOSAL
from circuit_guard.v1 import event_pb2, types_pb2

DECISION, ORDER_DENIED, STATE_VALIDATED = "decision", "order_denied", "state_validated"
"""The kinds of event that say more, or less, than their fact."""

VALIDATED = Record(StateValidated, event_pb2.StateValidated, ("actor",))
KINDS: dict[str, Record[Any, Any]] = {
    "observation_rejected": Record(ObservationJudged, event_pb2.ItemRejected, ("market", "source"), findings=FINDINGS),
    "reference_rejected": Record(ReferenceJudged, event_pb2.ItemRejected, ("market", "source"), findings=FINDINGS),
    "observation_reconsidered": Record(
        ObservationReconsidered, event_pb2.ObservationReconsidered, ("market", "source")
    ),
    "breaker_changed": Record(
        BreakerChanged,
        event_pb2.BreakerChanged,
        ("scope", "latched", "generation", "actor", "note"),
        before=BREAKER_STATE,
        after=BREAKER_STATE,
        findings=FINDINGS,
    ),
    "phase_changed": Record(
        PhaseChanged, event_pb2.PhaseChanged, ("market", "actor", "note"), before=PHASE, after=PHASE
    ),
    "halt_changed": Record(
        HaltChanged,
        event_pb2.HaltChanged,
        ("scope", "halted", "actor", "reason"),
        expires_ns=TIME.named("expires_at").or_none(),
    ),
    "market_warm": Record(MarketWarm, event_pb2.MarketWarm, ("market",)),
    "market_reopened": Record(MarketReopened, event_pb2.MarketReopened, ("market",), held_ns=DURATION.named("held")),
    "shadow_would": Record(ShadowWould, event_pb2.ShadowWould, ("scope",), findings=FINDINGS),
    "policy_changed": Record(PolicyChanged, event_pb2.PolicyChanged, ("revision",), added=TEXTS, removed=TEXTS),
    "command_refused": Record(CommandRefused, event_pb2.CommandRefused, ("subject", "observed", "expected")),
    "check_refused": Record(CheckRefused, event_pb2.CheckRefused, ("request_id", "differing")),
    "maintenance_began": Record(
        MaintenanceBegan,
        event_pb2.MaintenanceBegan,
        ("actor", "reason"),
        checkpoint=SAME.named("checkpoint_name"),
    ),
    "maintenance_ended": Record(
        MaintenanceEnded, event_pb2.MaintenanceEnded, ("actor", "reason"), clean=TEXTS, latched=TEXTS
    ),
    "rebaselined": Record(
        Rebaselined,
        event_pb2.Rebaselined,
        ("market", "actor", "reason"),
        before=DECIMAL.named("funding_index_before"),
        after=DECIMAL.named("funding_index_after"),
        checkpoint=SAME.named("checkpoint_id").or_none(),
    ),
    "act_proposed": PROPOSAL,
}
_KIND_OF = {record.core: kind for kind, record in KINDS.items()}


def watched(fact: Fact, *, include_allowed: bool) -> bool:
    """Return whether a watcher is to see the fact: what was accepted or allowed is not news."""
    match fact:
        case ObservationJudged(accepted=accepted) | ReferenceJudged(accepted=accepted):
            return not accepted
        case DecisionMade(decision=decision):
            return include_allowed or decision.verdict is Verdict.DENY
        case OrderJudged(verdict=verdict):
            return verdict is Verdict.DENY
        case _:
            return True


def events(facts: Iterable[Fact]) -> list[event_pb2.Event]:
    """Return the facts that a watcher would see, as events."""
    return [event(fact) for fact in facts if watched(fact, include_allowed=True)]


def event(fact: Fact) -> event_pb2.Event:
    """Return one fact as an event."""
    message: Any
    match fact:
        case DecisionMade():
            kind, message = DECISION, answers.decision(fact)
        case OrderJudged():
            kind, message = ORDER_DENIED, answers.judgement(fact)
        case StateValidated(outcomes=found):
            not_clean = [answers.outcome(one) for one in found if one.outcome is not Outcome.OK]
            clean_count = len(found) - len(not_clean)
            kind, message = STATE_VALIDATED, VALIDATED.write(fact, clean_count=clean_count, not_clean=not_clean)
        case _:
            kind = _KIND_OF[type(fact)]
            message = KINDS[kind].write(fact)
    return event_pb2.Event(at=timestamp(fact.at_ns), **{kind: message})


def proposal(facts: Iterable[Fact]) -> types_pb2.Proposal | None:
    """Return the proposal that a command became, None where it took effect."""
    return next((PROPOSAL.write(fact) for fact in facts if isinstance(fact, ActProposed)), None)
