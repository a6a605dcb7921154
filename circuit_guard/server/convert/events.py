"""Core facts as events of the watch stream."""

from __future__ import annotations

from collections.abc import Iterable

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
from circuit_guard.server.convert import answers, enums
from circuit_guard.v1 import event_pb2, types_pb2

Act = MaintenanceBegan | StateValidated | MaintenanceEnded | Rebaselined | ActProposed
Plain = HaltChanged | MarketWarm | MarketReopened | PolicyChanged | CommandRefused | CheckRefused


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
    result = _event(fact)
    result.at.CopyFrom(answers.timestamp(fact.at_ns))
    return result


def proposal(facts: Iterable[Fact]) -> types_pb2.Proposal | None:
    """Return the proposal that a command became, None where it took effect."""
    return next((proposed(fact) for fact in facts if isinstance(fact, ActProposed)), None)


def proposed(act: ActProposed) -> types_pb2.Proposal:
    """Return an act that waits for a second actor."""
    return types_pb2.Proposal(
        act=act.act,
        scopes=act.scopes,
        actor=act.actor,
        reason=act.reason,
        expires_at=answers.timestamp(act.expires_ns),
    )


def _event(fact: Fact) -> event_pb2.Event:
    match fact:
        case ObservationJudged():
            return event_pb2.Event(observation_rejected=_rejected(fact))
        case ReferenceJudged():
            return event_pb2.Event(reference_rejected=_rejected(fact))
        case DecisionMade():
            return event_pb2.Event(decision=answers.decision(fact))
        case OrderJudged():
            return event_pb2.Event(order_denied=answers.judgement(fact))
        case BreakerChanged():
            return event_pb2.Event(breaker_changed=_breaker_changed(fact))
        case PhaseChanged():
            return event_pb2.Event(phase_changed=_phase_changed(fact))
        case ObservationReconsidered(market=market, source=source):
            reconsidered = event_pb2.ObservationReconsidered(market=market, source=source)
            return event_pb2.Event(observation_reconsidered=reconsidered)
        case ShadowWould():
            found = answers.findings(fact.findings)
            return event_pb2.Event(shadow_would=event_pb2.ShadowWould(scope=fact.scope, findings=found))
        case MaintenanceBegan() | StateValidated() | MaintenanceEnded() | Rebaselined() | ActProposed():
            return _act(fact)
        case _:
            return _plain(fact)


def _plain(fact: Plain) -> event_pb2.Event:
    match fact:
        case HaltChanged(scope=scope, halted=halted, actor=actor, reason=reason, expires_ns=expires_ns):
            halt = event_pb2.HaltChanged(scope=scope, halted=halted, actor=actor, reason=reason)
            if expires_ns is not None:
                halt.expires_at.CopyFrom(answers.timestamp(expires_ns))
            return event_pb2.Event(halt_changed=halt)
        case MarketWarm(market=market):
            return event_pb2.Event(market_warm=event_pb2.MarketWarm(market=market))
        case MarketReopened(market=market, held_ns=held_ns):
            reopened = event_pb2.MarketReopened(market=market, held=answers.duration(held_ns))
            return event_pb2.Event(market_reopened=reopened)
        case PolicyChanged(revision=revision, added=added, removed=removed):
            policy = event_pb2.PolicyChanged(revision=revision, added=added, removed=removed)
            return event_pb2.Event(policy_changed=policy)
        case CommandRefused(subject=subject, observed=observed, expected=expected):
            command = event_pb2.CommandRefused(subject=subject, observed=observed, expected=expected)
            return event_pb2.Event(command_refused=command)
        case CheckRefused(request_id=request_id, differing=differing):
            check = event_pb2.CheckRefused(request_id=request_id, differing=differing)
            return event_pb2.Event(check_refused=check)


def _act(fact: Act) -> event_pb2.Event:
    match fact:
        case ActProposed():
            return event_pb2.Event(act_proposed=proposed(fact))
        case MaintenanceBegan(actor=actor, reason=reason, checkpoint=name):
            began = event_pb2.MaintenanceBegan(actor=actor, reason=reason, checkpoint_name=name)
            return event_pb2.Event(maintenance_began=began)
        case StateValidated(actor=actor, outcomes=found):
            not_clean = [answers.outcome(one) for one in found if one.outcome is not Outcome.OK]
            clean_count = len(found) - len(not_clean)
            validated = event_pb2.StateValidated(actor=actor, clean_count=clean_count, not_clean=not_clean)
            return event_pb2.Event(state_validated=validated)
        case MaintenanceEnded(actor=actor, reason=reason, clean=clean, latched=latched):
            ended = event_pb2.MaintenanceEnded(actor=actor, reason=reason, clean=clean, latched=latched)
            return event_pb2.Event(maintenance_ended=ended)
        case Rebaselined():
            return event_pb2.Event(rebaselined=_rebaselined(fact))


def _rebaselined(fact: Rebaselined) -> event_pb2.Rebaselined:
    return event_pb2.Rebaselined(
        market=fact.market,
        funding_index_before="" if fact.before is None else str(fact.before),
        funding_index_after="" if fact.after is None else str(fact.after),
        actor=fact.actor,
        reason=fact.reason,
        checkpoint_id=fact.checkpoint,
    )


def _rejected(fact: ObservationJudged | ReferenceJudged) -> event_pb2.ItemRejected:
    return event_pb2.ItemRejected(market=fact.market, source=fact.source, findings=answers.findings(fact.findings))


def _breaker_changed(fact: BreakerChanged) -> event_pb2.BreakerChanged:
    return event_pb2.BreakerChanged(
        scope=fact.scope,
        before=enums.BREAKER_STATES[fact.before],
        after=enums.BREAKER_STATES[fact.after],
        latched=fact.latched,
        generation=fact.generation,
        findings=answers.findings(fact.findings),
        actor=fact.actor,
        note=fact.note,
    )


def _phase_changed(fact: PhaseChanged) -> event_pb2.PhaseChanged:
    return event_pb2.PhaseChanged(
        market=fact.market,
        before=enums.PHASES[fact.before],
        after=enums.PHASES[fact.after],
        actor=fact.actor,
        note=fact.note,
    )
