"""The core's status and its messages."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from circuit_guard.core.envelope import Interval
from circuit_guard.core.facts import ActProposed
from circuit_guard.core.halts import Halt
from circuit_guard.core.state import Maintenance
from circuit_guard.core.status import BreakerStatus, GuardStatus, MarketStatus
from circuit_guard.core.types import Outcome
from circuit_guard.server.convert import records
from circuit_guard.server.convert.answers import FINDINGS
from circuit_guard.v1 import status_pb2, types_pb2

INTERVAL = records.Record(Interval, status_pb2.Interval, low=records.DECIMAL, high=records.DECIMAL)
HALT = records.Record(
    Halt, status_pb2.Halt, since_ns=records.TIME.named("since"), expires_ns=records.TIME.named("expires_at").or_none()
)
HALTS = records.Codec(lambda halts: list(map(HALT.write, halts)), lambda messages: tuple(map(HALT.read, messages)))
PROPOSAL = records.Record(ActProposed, types_pb2.Proposal, expires_ns=records.TIME.named("expires_at"))
BREAKER = records.Record(
    BreakerStatus, status_pb2.BreakerStatus, since_ns=records.TIME.named("since"), findings=FINDINGS
)
MAINTENANCE = records.Record(
    Maintenance,
    status_pb2.MaintenanceStatus,
    since_ns=records.TIME.named("since"),
    checkpoint=records.SAME.named("checkpoint_name"),
)


def _headroom(left: dict[str, Decimal]) -> list[status_pb2.Headroom]:
    return [
        status_pb2.Headroom(rule=rule, left_ratio=records.RATIO.write(ratio)) for rule, ratio in sorted(left.items())
    ]


MARKET = records.Record(
    MarketStatus,
    status_pb2.MarketStatus,
    phase_since_ns=records.TIME.named("phase_since"),
    halt=HALT.one().or_none(),
    denying=FINDINGS,
    mark_price=records.DECIMAL,
    mark_age_ns=records.DURATION.named("mark_age").or_none(),
    index_price=records.DECIMAL,
    funding_index=records.DECIMAL,
    funding_age_ns=records.DURATION.named("funding_age").or_none(),
    funding_envelope=INTERVAL.one().or_none(),
    reference_price=records.DECIMAL,
    reference_count=records.SAME.named("references_fresh"),
    mark_limits=INTERVAL.one().or_none(),
    headroom=records.Codec(_headroom, lambda rooms: {room.rule: records.RATIO.read(room.left_ratio) for room in rooms}),
    held_since_ns=records.TIME.named("held_since").or_none(),
    ramp_share=records.RATIO.or_none(),
    discarded=records.SAME.named("discarded_intervals"),
    other_halts=HALTS,
)
GUARD = records.Record(
    GuardStatus,
    status_pb2.GuardStatus,
    at_ns=records.TIME.named("at"),
    global_halt=HALT.one().or_none(),
    other_global_halts=HALTS,
)


def guard(status: GuardStatus, not_ready_reasons: Sequence[str]) -> status_pb2.GuardStatus:
    """Return the status of the whole guard; `not_ready_reasons` is empty where it is ready."""
    return GUARD.write(
        status,
        ready=not not_ready_reasons,
        not_ready_reasons=not_ready_reasons,
        global_breaker=BREAKER.write(status.global_breaker),
        markets=[MARKET.write(market, breaker=BREAKER.write(market.breaker)) for market in status.markets],
        maintenance=None if status.maintenance is None else _maintenance(status.maintenance),
        proposals=map(PROPOSAL.write, status.proposals),
    )


def _maintenance(running: Maintenance) -> status_pb2.MaintenanceStatus:
    """Return a maintenance; of what was validated last it has only when, and how many markets were clean."""
    if running.validated is None:
        return MAINTENANCE.write(running)
    outcomes = running.validated.outcomes
    clean = sum(one.outcome is Outcome.OK for one in outcomes)
    return MAINTENANCE.write(
        running,
        validated_at=records.timestamp(running.validated.at_ns),
        clean_count=clean,
        not_clean_count=len(outcomes) - clean,
    )
