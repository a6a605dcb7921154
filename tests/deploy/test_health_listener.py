"""The listener for probes: it says what the main one says, and nothing else can be asked of it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from circuit_guard.config.settings import GrpcSettings, Settings, load_settings
from circuit_guard.core.types import LIVENESS, READINESS
from circuit_guard.server.build import GuardServer, create_server
from circuit_guard.server.transport import ListenError
from circuit_guard.v1 import admin_pb2
from tests.driver import BTC, Driver, policy_of
from tests.raw import raw
from tests.server.harness import nothing_reloaded

ANY_PORT = "127.0.0.1:0"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@asynccontextmanager
async def guarding(**probes: str) -> AsyncIterator[GuardServer]:
    """Run a server over an engine whose market is cold."""
    settings = Settings(grpc=GrpcSettings(listen="127.0.0.1:0", **probes))  # type: ignore[arg-type]
    driver = Driver(policy_of(BTC))
    server = create_server(driver.engine, settings, nothing_reloaded)
    await server.start()
    try:
        yield server
    finally:
        await server.drain(grace_s=0)


async def health_at(address: str, service: str) -> int:
    async with aio.insecure_channel(address) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
        return int(answer.status)


async def code_of(address: str, method: str, message: bytes = b"") -> grpc.StatusCode:
    async with aio.insecure_channel(address) as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await raw(channel, method)(message)
        return caught.value.code()


async def test_liveness_when_no_market_data_have_come_then_it_is_serving_and_readiness_is_not() -> None:
    async with guarding(health_listen=ANY_PORT) as server:
        for address in (server.address, server.health_address):
            assert await health_at(address, READINESS) == NOT_SERVING
            assert await health_at(address, LIVENESS) == SERVING


async def test_readiness_when_it_is_given_and_taken_then_both_listeners_say_so_and_liveness_stays() -> None:
    async with guarding(health_listen=ANY_PORT) as server:
        await server.set_serving(True)
        assert [await health_at(it, READINESS) for it in (server.address, server.health_address)] == [SERVING] * 2
        await server.set_serving(False)
        assert [await health_at(it, READINESS) for it in (server.address, server.health_address)] == [NOT_SERVING] * 2
        assert await health_at(server.health_address, LIVENESS) == SERVING


@pytest.mark.parametrize(
    "method",
    [
        "/circuit_guard.v1.AdminService/GetStatus",
        "/circuit_guard.v1.AdminService/Halt",
        "/circuit_guard.v1.LiquidationGuardService/CheckLiquidation",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.health.v1.Health/Watch",
    ],
)
async def test_listener_when_asked_anything_but_health_then_it_knows_nothing_of_it(method: str) -> None:
    async with guarding(health_listen=ANY_PORT) as server:
        assert await code_of(server.health_address, method) is grpc.StatusCode.UNIMPLEMENTED


async def test_listener_when_asked_by_an_unknown_name_then_that_is_not_found() -> None:
    question = health_pb2.HealthCheckRequest(service="lively").SerializeToString()
    async with guarding(health_listen=ANY_PORT) as server:
        assert await code_of(server.health_address, "/grpc.health.v1.Health/Check", question) is (
            grpc.StatusCode.NOT_FOUND
        )


async def test_listener_when_a_question_is_far_too_large_then_it_is_refused() -> None:
    question = health_pb2.HealthCheckRequest(service="x" * 5000).SerializeToString()
    async with guarding(health_listen=ANY_PORT) as server:
        assert await code_of(server.health_address, "/grpc.health.v1.Health/Check", question) is (
            grpc.StatusCode.RESOURCE_EXHAUSTED
        )


async def test_listener_when_none_is_set_then_health_is_answered_where_everything_is() -> None:
    async with guarding() as server:
        assert server.health_address == ""
        assert await health_at(server.address, LIVENESS) == SERVING


async def test_listener_when_its_address_is_taken_then_the_error_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ListenError, match=f"grpc.health_listen was {address}, expected an address"):
            async with guarding(health_listen=address):
                pass


async def test_listener_when_the_guard_has_stopped_then_it_answers_no_more() -> None:
    async with guarding(health_listen=ANY_PORT) as server:
        address = server.health_address

    assert await code_of(address, "/grpc.health.v1.Health/Check") is grpc.StatusCode.UNAVAILABLE


async def test_status_when_the_main_listener_is_asked_then_it_still_answers_everything() -> None:
    async with guarding(health_listen=ANY_PORT) as server, aio.insecure_channel(server.address) as channel:
        answer = await raw(channel, "/circuit_guard.v1.AdminService/GetStatus")(b"")

    assert not admin_pb2.GetStatusResponse.FromString(answer).status.ready


@pytest.mark.parametrize("listen", ["0.0.0.0:50052", "[::]:50052", "127.0.0.1:0"])
def test_setting_when_the_address_is_any_then_it_is_taken(listen: str) -> None:
    assert load_settings(None, {"CIRCUIT_GUARD_GRPC__HEALTH_LISTEN": listen}).grpc.health_listen == listen
