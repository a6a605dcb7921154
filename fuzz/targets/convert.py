"""Requests: the bytes of any message are converted to inputs of the core, or WireError says which field cannot be used.

The first byte chooses the kind of request, the others are the message. What comes out is judged, recorded and answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message

from circuit_guard.cli import wire
from circuit_guard.core.inputs import (
    BeginMaintenance,
    EndMaintenance,
    Observation,
    OrdersCheck,
    Reference,
)
from circuit_guard.core.types import SECOND_NS
from circuit_guard.errors import WireError
from circuit_guard.recording.format import LabelledCheck
from circuit_guard.server import errors
from circuit_guard.server.convert import answers, requests
from circuit_guard.v1 import admin_pb2, liquidation_pb2, maintenance_pb2, market_data_pb2, order_pb2, types_pb2
from fuzz import story
from fuzz.judged import TRAILERS_BYTES_MAX, judged

BATCH_MAX = 1000

Read = Callable[[Any, int], list[Any]]


class Kind(NamedTuple):
    """A kind of request: its message, and how it becomes inputs at a time."""

    message: type[Message]
    read: Read


def _checks(request: liquidation_pb2.CheckLiquidationsRequest, at_ns: int) -> list[Any]:
    requests.batch(request.checks, "checks", BATCH_MAX)
    return [requests.check(check, f"checks[{number}]", at_ns) for number, check in enumerate(request.checks)]


def _orders(request: order_pb2.CheckOrdersRequest, at_ns: int) -> list[Any]:
    requests.batch(request.orders, "orders", BATCH_MAX)
    requests.once((order.order_id for order in request.orders), "", "orders", "order_id")
    read = [requests.order(order, f"orders[{number}]") for number, order in enumerate(request.orders)]
    return [OrdersCheck(at_ns, tuple(read))]


def _observations(request: market_data_pb2.PublishObservationsRequest, at_ns: int) -> list[Any]:
    requests.batch(request.observations, "observations", BATCH_MAX)
    return [
        requests.observation(it, f"observations[{number}]", at_ns) for number, it in enumerate(request.observations)
    ]


def _references(request: market_data_pb2.PublishReferencesRequest, at_ns: int) -> list[Any]:
    requests.batch(request.references, "references", BATCH_MAX)
    return [requests.reference(it, f"references[{number}]", at_ns) for number, it in enumerate(request.references)]


def _begin(request: maintenance_pb2.BeginMaintenanceRequest, at_ns: int) -> list[Any]:
    return [BeginMaintenance(at_ns, *requests.operator(request.actor, request.reason), "maintenance")]


def _end(request: maintenance_pb2.EndMaintenanceRequest, at_ns: int) -> list[Any]:
    return [EndMaintenance(at_ns, *requests.operator(request.actor, request.reason), request.unvalidated)]


def _rebaseline(request: maintenance_pb2.RebaselineRequest, at_ns: int) -> list[Any]:
    asked = requests.rebaseline(request, BATCH_MAX, at_ns)
    return [asked.command(at_ns, asked.baselines)]


def _reload(request: admin_pb2.ReloadPolicyRequest, _at_ns: int) -> list[Any]:
    requests.operator(request.actor, request.reason)
    return []


KINDS = (
    Kind(liquidation_pb2.CheckLiquidationRequest, lambda it, at_ns: [requests.check(it.check, "check", at_ns)]),
    Kind(liquidation_pb2.CheckLiquidationsRequest, _checks),
    Kind(order_pb2.CheckOrdersRequest, _orders),
    Kind(market_data_pb2.PublishObservationsRequest, _observations),
    Kind(market_data_pb2.PublishReferencesRequest, _references),
    Kind(admin_pb2.HaltRequest, lambda it, at_ns: [requests.halt(it, at_ns, BATCH_MAX)]),
    Kind(admin_pb2.ResumeRequest, lambda it, at_ns: [requests.resume(it, at_ns, BATCH_MAX)]),
    Kind(admin_pb2.ResetBreakerRequest, lambda it, at_ns: [requests.reset(it, at_ns, BATCH_MAX)]),
    Kind(admin_pb2.SetPhaseRequest, lambda it, at_ns: [requests.set_phase(it, at_ns, BATCH_MAX)]),
    Kind(admin_pb2.ReloadPolicyRequest, _reload),
    Kind(maintenance_pb2.BeginMaintenanceRequest, _begin),
    Kind(maintenance_pb2.ValidateStateRequest, lambda it, at_ns: [requests.validation(it, at_ns)]),
    Kind(maintenance_pb2.EndMaintenanceRequest, _end),
    Kind(maintenance_pb2.RebaselineRequest, _rebaseline),
)
"""Every request with fields. GetStatus and WatchEvents have none that can be wrong."""


def encoded(request: Message) -> bytes:
    """Return a request as `feed` takes it."""
    [number] = [number for number, kind in enumerate(KINDS) if isinstance(request, kind.message)]
    return bytes([number]) + request.SerializeToString()


def feed(data: bytes) -> None:
    """Read the bytes as a request, and have the guard act on it."""
    if not data:
        return
    kind = KINDS[data[0] % len(KINDS)]
    try:
        request = kind.message.FromString(data[1:])
    except DecodeError:
        return  # the interceptor refuses it
    try:
        inputs = kind.read(request, story.warm().now_ns + SECOND_NS)
    except WireError as error:
        refused(error)
        return
    judged(inputs)


def refused(error: WireError) -> None:
    """Have a client told of a malformed request, alone and in a batch."""
    refusal = errors.refusal(error)
    if refusal is None:
        raise AssertionError("a malformed request is a defect")
    if len(refusal.details()) * 4 / 3 + len(refusal.message) > TRAILERS_BYTES_MAX:
        raise AssertionError(f"a refusal of {len(refusal.details())} bytes reaches nobody")
    answers.request_error(error).SerializeToString()
    answers.refused(error).SerializeToString()


def seeds() -> Iterator[bytes]:
    """Return what publishers and engines would send of the recording, and every operator's act."""
    recorded = list(story.entries(story.CLOSURES_S))
    observations = [wire.observation(entry) for entry in recorded if isinstance(entry, Observation)]
    references = [wire.reference(entry) for entry in recorded if isinstance(entry, Reference)]
    checks = [wire.check(entry.check) for entry in recorded if isinstance(entry, LabelledCheck)]
    for check in checks[:3]:
        yield encoded(liquidation_pb2.CheckLiquidationRequest(check=check))
    yield encoded(liquidation_pb2.CheckLiquidationsRequest(checks=checks[:3]))
    for batch in (observations[:1], observations[-6:]):
        yield encoded(market_data_pb2.PublishObservationsRequest(observations=batch))
    for last in (references[:1], references[-6:]):
        yield encoded(market_data_pb2.PublishReferencesRequest(references=last))
    yield from map(encoded, _acts(list({it.market: it for it in observations}.values())))


def _acts(last: list[market_data_pb2.Observation]) -> Iterator[Message]:
    who: dict[str, Any] = {"actor": "alice", "reason": "drill"}
    markets = [observation.market for observation in last]
    yield order_pb2.CheckOrdersRequest(
        orders=[
            order_pb2.Order(
                order_id="o-1",
                market=markets[0],
                side=order_pb2.ORDER_SIDE_BUY,
                action=order_pb2.ORDER_ACTION_NEW,
                price="1.5",
                created_at=last[0].event_time,
            )
        ]
    )
    yield admin_pb2.HaltRequest(scopes=markets, expires_after=Duration(seconds=60), **who)
    yield admin_pb2.ResumeRequest(scopes=["GLOBAL"], **who)
    yield admin_pb2.ResetBreakerRequest(scopes=["GLOBAL", *markets], **who)
    yield admin_pb2.SetPhaseRequest(phase=types_pb2.PHASE_POST_ONLY, scopes=markets, rollback=True, **who)
    yield admin_pb2.ReloadPolicyRequest(**who)
    yield maintenance_pb2.BeginMaintenanceRequest(**who)
    rows = [
        maintenance_pb2.StateRow(
            market=it.market,
            event_time=it.event_time,
            mark_price=it.mark_price,
            index_price=it.index_price,
            funding_index=it.funding_index,
        )
        for it in last
    ]
    yield maintenance_pb2.ValidateStateRequest(actor="alice", rows=rows)
    yield maintenance_pb2.EndMaintenanceRequest(unvalidated=True, **who)
    yield maintenance_pb2.RebaselineRequest(
        baselines=[maintenance_pb2.Baseline(market=it.market, funding_index=it.funding_index) for it in last], **who
    )
    yield maintenance_pb2.RebaselineRequest(checkpoint_id=1, scopes=["GLOBAL"], repaired=markets[:1], **who)
    yield maintenance_pb2.RebaselineRequest(factor="1000", scopes=markets[:1], **who)
    moved = [
        maintenance_pb2.Baseline(market=it.market, funding_index="1", mark_price=it.mark_price, funding_premium="0.1")
        for it in last
    ]
    yield maintenance_pb2.RebaselineRequest(baselines=moved, **who)
