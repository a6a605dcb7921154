"""Messages of the guard as core types again: what a client of the contract shows with the words of the core.

The inverse of `status`, `events` and `answers`. What the contract leaves out has its default: the names
of a validated dump's clean markets are empty, an identity is too, a hull and a band are None, and no market is judged
by its own price.
Every function raises WireError for a value that this version does not know.
"""

from __future__ import annotations

from circuit_guard.core.facts import ActProposed, DecisionMade, Fact, StateValidated
from circuit_guard.core.state import Maintenance
from circuit_guard.core.status import GuardStatus, MarketStatus
from circuit_guard.core.types import GLOBAL_SCOPE, MarketOutcome, Outcome
from circuit_guard.errors import WireError
from circuit_guard.server.convert.answers import DECISION, FINDING, JUDGEMENT, OUTCOME
from circuit_guard.server.convert.events import KINDS, VALIDATED
from circuit_guard.server.convert.records import time_ns
from circuit_guard.server.convert.status import BREAKER, GUARD, MAINTENANCE, MARKET, PROPOSAL
from circuit_guard.v1 import event_pb2, liquidation_pb2, status_pb2, types_pb2

finding = FINDING.read
"""Return one finding. Its reason may be one that this version does not know."""
outcome = OUTCOME.read
"""Return what a dump says of one market."""

REJECTED = {
    "observation_rejected": {"accepted": False, "redelivered": False},
    "reference_rejected": {"accepted": False},
}
"""What the kind of an event says of its fact."""


def guard(message: status_pb2.GuardStatus) -> GuardStatus:
    """Return the status of the whole guard; why it is not ready otherwise than for a market, only the message says."""
    markets = tuple(map(_market, message.markets))
    return GUARD.read(
        message,
        global_breaker=BREAKER.read(message.global_breaker, scope=GLOBAL_SCOPE),
        not_ready=tuple(one.market for one in markets if one.required and not one.warm and not one.closed),
        markets=markets,
        maintenance=_maintenance(message.maintenance) if message.HasField("maintenance") else None,
        proposals=tuple(map(proposal, message.proposals)),
    )


def _market(message: status_pb2.MarketStatus) -> MarketStatus:
    return MARKET.read(message, breaker=BREAKER.read(message.breaker, scope=message.market))


def _maintenance(message: status_pb2.MaintenanceStatus) -> Maintenance:
    validated = None
    if message.HasField("validated_at"):
        not_clean = (MarketOutcome("", Outcome.MISSING),) * message.not_clean_count
        validated = StateValidated(time_ns(message.validated_at), "", (*_clean(message.clean_count), *not_clean))
    return MAINTENANCE.read(message, validated=validated)


def _clean(count: int) -> tuple[MarketOutcome, ...]:
    """Return clean outcomes, which the contract only counts."""
    return (MarketOutcome("", Outcome.OK),) * count


def proposal(message: types_pb2.Proposal) -> ActProposed:
    """Return an act that waits for a second actor; when it was proposed is not in the message."""
    return PROPOSAL.read(message, at_ns=0)


def decision(message: liquidation_pb2.LiquidationDecision) -> DecisionMade:
    """Return the answer to a check."""
    made = DECISION.read(message)
    return DecisionMade(made.at_ns + time_ns(message.age), made, message.repeated)


def event(message: event_pb2.Event) -> Fact:
    """Return what happened."""
    at_ns = time_ns(message.at)
    match message.WhichOneof("kind"):
        case "decision":
            return decision(message.decision)
        case "order_denied":
            return JUDGEMENT.read(message.order_denied)
        case "state_validated":
            validated = message.state_validated
            found = (*_clean(validated.clean_count), *map(OUTCOME.read, validated.not_clean))
            return VALIDATED.read(validated, at_ns=at_ns, outcomes=found)
        case kind if kind in KINDS:
            fact: Fact = KINDS[kind].read(getattr(message, kind), at_ns=at_ns, **REJECTED.get(kind, {}))
            return fact
        case kind:
            raise WireError("event.kind", str(kind), "a kind that this version knows")
