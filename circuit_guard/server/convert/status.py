"""The core's status as protobuf."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal

from circuit_guard.core.envelope import Interval
from circuit_guard.core.market import Halt
from circuit_guard.core.references import Nowhere
from circuit_guard.core.state import Maintenance
from circuit_guard.core.status import BreakerStatus, GuardStatus, MarketStatus
from circuit_guard.core.types import DIGITS_MAX, Outcome
from circuit_guard.server.convert import answers, enums, events
from circuit_guard.v1 import status_pb2

ON_THE_WIRE = Context(prec=DIGITS_MAX)
"""What came from the wire goes back as it was; what was computed is rounded to what the wire may carry."""


def guard(status: GuardStatus, not_ready_reasons: Sequence[str]) -> status_pb2.GuardStatus:
    """Return the status of the whole guard; `not_ready_reasons` is empty where it is ready."""
    return status_pb2.GuardStatus(
        at=answers.timestamp(status.at_ns),
        policy_revision=status.policy_revision,
        shadow=status.shadow,
        ready=not not_ready_reasons,
        not_ready_reasons=not_ready_reasons,
        global_breaker=_breaker(status.global_breaker),
        global_halt=_halt(status.global_halt),
        markets=[_market(market) for market in status.markets],
        maintenance=_maintenance(status.maintenance),
        proposals=map(events.proposed, status.proposals),
    )


def _market(status: MarketStatus) -> status_pb2.MarketStatus:
    return status_pb2.MarketStatus(
        market=status.market,
        market_class=status.market_class,
        required=status.required,
        warm=status.warm,
        phase=enums.PHASES[status.phase],
        commanded_phase=enums.PHASES[status.commanded_phase],
        phase_since=answers.timestamp(status.phase_since_ns),
        phase_note=status.phase_note,
        breaker=_breaker(status.breaker),
        halt=_halt(status.halt),
        denying=answers.findings(status.denying),
        mark_price=_decimal(status.mark_price),
        mark_age=answers.duration(status.mark_age_ns),
        index_price=_decimal(status.index_price),
        funding_index=_decimal(status.funding_index),
        funding_age=answers.duration(status.funding_age_ns),
        funding_envelope=_interval(status.funding_envelope),
        reference_price=_decimal(status.reference_price),
        references_fresh=status.reference_count,
        mark_limits=_interval(status.mark_limits),
        headroom=[
            status_pb2.Headroom(rule=rule, left_ratio=float(left)) for rule, left in sorted(status.headroom.items())
        ],
        held_since=None if status.held_since_ns is None else answers.timestamp(status.held_since_ns),
        overdue=status.overdue,
        ramp_share=None if status.ramp_share is None else float(status.ramp_share),
        discarded_intervals=status.discarded,
    )


def _maintenance(running: Maintenance | None) -> status_pb2.MaintenanceStatus | None:
    if running is None:
        return None
    result = status_pb2.MaintenanceStatus(
        actor=running.actor,
        reason=running.reason,
        since=answers.timestamp(running.since_ns),
        checkpoint_name=running.checkpoint,
    )
    if (validated := running.validated) is not None:
        clean = sum(outcome.outcome is Outcome.OK for outcome in validated.outcomes)
        result.validated_at.CopyFrom(answers.timestamp(validated.at_ns))
        result.clean_count, result.not_clean_count = clean, len(validated.outcomes) - clean
    return result


def _breaker(status: BreakerStatus) -> status_pb2.BreakerStatus:
    return status_pb2.BreakerStatus(
        state=enums.BREAKER_STATES[status.state],
        latched=status.latched,
        since=answers.timestamp(status.since_ns),
        generation=status.generation,
        findings=answers.findings(status.findings),
    )


def _halt(halt: Halt | None) -> status_pb2.Halt | None:
    if halt is None:
        return None
    return status_pb2.Halt(
        actor=halt.actor,
        reason=halt.reason,
        since=answers.timestamp(halt.since_ns),
        expires_at=None if halt.expires_ns is None else answers.timestamp(halt.expires_ns),
    )


def _interval(interval: Interval | Nowhere | None) -> status_pb2.Interval | None:
    if interval is None:
        return None
    return status_pb2.Interval(low=_decimal(interval.low), high=_decimal(interval.high))


def _decimal(value: Decimal | None) -> str:
    return "" if value is None else str(ON_THE_WIRE.plus(value))
