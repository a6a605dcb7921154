"""Every RPC with every role, over real gRPC: the table in the code against the table here, and nothing in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from circuit_guard.config.security import Role
from circuit_guard.server.build import SERVICES
from circuit_guard.server.security.access import ROLES, may
from circuit_guard.v1 import admin_pb2, liquidation_pb2, market_data_pb2, order_pb2
from tests.security.identities import NAMES, as_, refusals
from tests.server import commands
from tests.server.harness import Harness, check, order

GUARD = "/circuit_guard.v1."
ALL = frozenset(Role)
LIQUIDATORS, PUBLISHERS, OPERATORS = (frozenset({role}) for role in (Role.LIQUIDATOR, Role.PUBLISHER, Role.OPERATOR))
VIEWERS = frozenset({Role.VIEWER, Role.OPERATOR})
ALLOWED: dict[str, frozenset[Role]] = {
    f"{GUARD}LiquidationGuardService/CheckLiquidation": LIQUIDATORS,
    f"{GUARD}LiquidationGuardService/CheckLiquidations": LIQUIDATORS,
    f"{GUARD}LiquidationGuardService/CheckLiquidationStream": LIQUIDATORS,
    f"{GUARD}OrderGuardService/CheckOrders": LIQUIDATORS,
    f"{GUARD}MarketDataService/PublishObservations": PUBLISHERS,
    f"{GUARD}MarketDataService/PublishReferences": PUBLISHERS,
    f"{GUARD}AdminService/Halt": OPERATORS,
    f"{GUARD}AdminService/Resume": OPERATORS,
    f"{GUARD}AdminService/ResetBreaker": OPERATORS,
    f"{GUARD}AdminService/SetPhase": OPERATORS,
    f"{GUARD}AdminService/ReloadPolicy": OPERATORS,
    f"{GUARD}AdminService/GetStatus": VIEWERS,
    f"{GUARD}AdminService/WatchEvents": VIEWERS,
    f"{GUARD}MaintenanceService/BeginMaintenance": OPERATORS,
    f"{GUARD}MaintenanceService/ValidateState": OPERATORS,
    f"{GUARD}MaintenanceService/EndMaintenance": OPERATORS,
    f"{GUARD}MaintenanceService/Rebaseline": OPERATORS,
    "/grpc.health.v1.Health/Check": ALL,
    "/grpc.health.v1.Health/Watch": ALL,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": VIEWERS,
}
REQUESTS: dict[str, Callable[[Harness], Any]] = {
    "CheckLiquidation": lambda _: liquidation_pb2.CheckLiquidationRequest(check=check()),
    "CheckLiquidations": lambda _: liquidation_pb2.CheckLiquidationsRequest(checks=[check()]),
    "CheckLiquidationStream": lambda _: liquidation_pb2.CheckLiquidationStreamRequest(check=check()),
    "CheckOrders": lambda _: order_pb2.CheckOrdersRequest(orders=[order()]),
    "PublishObservations": lambda guard: market_data_pb2.PublishObservationsRequest(observations=[guard.observation()]),
    "PublishReferences": lambda guard: market_data_pb2.PublishReferencesRequest(references=[guard.reference()]),
    "Halt": lambda _: commands.halt(),
    "Resume": lambda _: commands.resume(),
    "ResetBreaker": lambda _: commands.reset(),
    "SetPhase": lambda _: commands.set_phase(),
    "ReloadPolicy": lambda _: commands.reload_policy(),
    "GetStatus": lambda _: admin_pb2.GetStatusRequest(),
    "WatchEvents": lambda _: admin_pb2.WatchEventsRequest(),
    "BeginMaintenance": lambda _: commands.begin(),
    "ValidateState": lambda guard: commands.validate(commands.row(guard)),
    "EndMaintenance": lambda _: commands.end(),
    "Rebaseline": lambda _: commands.rebaseline(baselines=[commands.baseline()]),
    "Check": lambda _: health_pb2.HealthCheckRequest(),
    "Watch": lambda _: health_pb2.HealthCheckRequest(),
    "ServerReflectionInfo": lambda _: reflection_pb2.ServerReflectionRequest(list_services=""),
}
STREAMS = ("WatchEvents", "Watch")
ASKED_IN_STREAMS = ("ServerReflectionInfo", "CheckLiquidationStream")
REFUSED = {Role: grpc.StatusCode.PERMISSION_DENIED, type(None): grpc.StatusCode.UNAUTHENTICATED}


async def called(guard: Harness, method: str, metadata: Any, *, streams: bool = False) -> aio.AioRpcError | None:
    """Call a method with a request that has an effect, and return its error; `streams`: a stream is to begin."""
    name = method.rpartition("/")[2]
    request = REQUESTS[name](guard).SerializeToString()
    try:
        if name in ASKED_IN_STREAMS:
            stream: Any = guard.channel.stream_stream(method)(iter([request]), metadata=metadata)
            await stream.read()
        elif name in STREAMS:
            stream = guard.channel.unary_stream(method)(request, metadata=metadata)
            await (stream.initial_metadata() if streams else asyncio.wait_for(stream.read(), 5))
            stream.cancel()
        else:
            await guard.channel.unary_unary(method)(request, metadata=metadata)
    except aio.AioRpcError as error:
        return error
    return None


def info(error: aio.AioRpcError) -> ErrorInfo:
    found = ErrorInfo()
    status = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    assert status.details[0].Unpack(found)
    return found


def served() -> set[str]:
    """Return every RPC of the services that the server has."""
    pool = descriptor_pool.Default()
    names = (*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection")
    services = [pool.FindServiceByName(name) for name in names]
    return {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}


def test_table_when_a_proto_has_an_rpc_then_the_table_has_it_too() -> None:
    optional = {"/envoy.service.auth.v3.Authorization/Check"}

    assert set(ROLES) - optional == served() | {"/grpc.health.v1.Health/List"}


def test_table_when_written_out_then_it_says_what_is_meant() -> None:
    by_code = {
        method: ALL if role is None else frozenset(one for one in Role if may((one,), role))
        for method, role in ROLES.items()
    }

    assert {method: by_code[method] for method in ALLOWED} == ALLOWED
    assert by_code["/envoy.service.auth.v3.Authorization/Check"] == LIQUIDATORS


@pytest.mark.parametrize("role", [*Role, None], ids=[*Role, "nobody"])
async def test_rpc_when_called_in_a_role_then_only_those_of_the_role_take_effect(
    guard: Harness, role: Role | None
) -> None:
    for method, roles in ALLOWED.items():
        before = guard.state()

        allowed = role in roles or (role is None and roles is ALL)

        error = await called(guard, method, as_(role), streams=allowed)

        if allowed:
            code = None if error is None else error.code()
            assert code in (None, grpc.StatusCode.FAILED_PRECONDITION), f"{method} as {role}: {error}"
            continue
        assert error is not None, f"{method} as {role} took effect"
        assert error.code() is REFUSED[type(role) if role is None else Role], f"{method} as {role}: {error}"
        assert guard.state() == before, f"{method} as {role} changed the state"


async def test_rpc_when_the_role_is_missing_then_the_error_names_role_and_caller(guard: Harness) -> None:
    error = await called(guard, f"{GUARD}AdminService/Halt", as_(Role.VIEWER))

    assert error is not None
    assert error.details() == (
        "/circuit_guard.v1.AdminService/Halt needs the role operator; the caller is dashboard, viewer; "
        "nothing of the request took effect"
    )
    assert info(error).reason == "ROLE_MISSING"
    assert dict(info(error).metadata)["identity"] == NAMES[Role.VIEWER]
    assert refusals(guard, "role_missing") == 1


async def test_rpc_when_it_is_not_in_the_table_then_nobody_may(guard: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ROLES, f"{GUARD}AdminService/GetStatus")

    known = await called(guard, f"{GUARD}AdminService/GetStatus", as_(Role.OPERATOR))
    unknown = await called(guard, f"{GUARD}AdminService/GetStatus", ())

    assert known is not None
    assert known.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "is in no role's table" in (known.details() or "")
    assert unknown is not None
    assert unknown.code() is grpc.StatusCode.UNAUTHENTICATED
