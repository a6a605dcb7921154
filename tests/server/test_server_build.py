"""The server as a whole: health, reflection, limits, addresses, draining, and what is not protobuf at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from circuit_guard.core.facts import Fact
from circuit_guard.core.types import AllowedCheck
from circuit_guard.server.build import SERVICES
from circuit_guard.server.transport import ListenError
from circuit_guard.v1 import admin_pb2, liquidation_pb2, types_pb2
from tests.driver import BTC, Driver, policy_of
from tests.raw import raw
from tests.server.conftest import Start
from tests.server.harness import Harness, check, refused

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
CHECK_LIQUIDATION = "/circuit_guard.v1.LiquidationGuardService/CheckLiquidation"


@pytest.mark.parametrize("service", ["", *SERVICES])
async def test_health_when_the_guard_is_told_to_serve_or_not_then_every_service_says_so(
    guard: Harness, service: str
) -> None:
    at_first = await guard.serving(service)
    await guard.server.set_serving(True)
    ready = await guard.serving(service)
    await guard.server.set_serving(False)

    assert (at_first, ready, await guard.serving(service)) == (NOT_SERVING, SERVING, NOT_SERVING)


async def test_health_when_the_server_drains_then_it_says_so_before_requests_end(guard: Harness) -> None:
    await guard.server.set_serving(True)
    watch = guard.health.Watch(health_pb2.HealthCheckRequest())
    before = (await watch.read()).status

    draining = asyncio.create_task(guard.server.drain(grace_s=30))
    after = (await watch.read()).status
    watch.cancel()
    await draining
    await guard.server.set_serving(True)

    assert (before, after) == (SERVING, NOT_SERVING)


async def test_reflection_when_asked_then_it_lists_every_service(guard: Harness) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(guard.channel)
    stream = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))

    names = {service.name for service in (await stream.read()).list_services_response.service}

    assert names == {*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    stream.cancel()


async def test_address_when_the_port_is_0_then_the_bound_one_is_told(guard: Harness) -> None:
    host, _, port = guard.server.address.rpartition(":")

    assert host == "127.0.0.1"
    assert int(port) > 0


async def test_address_when_it_is_taken_then_the_error_names_it(guard: Harness, start: Start) -> None:
    with pytest.raises(ListenError, match=f"grpc.listen was {guard.server.address}, expected an address"):
        await start(Driver(policy_of(BTC)), guard.server.address)


async def test_address_when_it_is_a_socket_then_a_live_one_is_refused_and_a_stale_one_replaced(
    start: Start, tmp_path: Path
) -> None:
    listen = f"unix:{tmp_path}/guard.sock"
    guard = await start(Driver(policy_of(BTC)), listen)

    with pytest.raises(ListenError, match=r"grpc.listen was unix:.*guard.sock"):
        await start(Driver(policy_of(BTC)), listen)

    assert guard.server.address == listen
    assert (await guard.decide(check())).verdict == types_pb2.VERDICT_DENY


async def test_address_when_its_folder_is_missing_then_the_error_names_it(start: Start, tmp_path: Path) -> None:
    with pytest.raises(ListenError, match=r"grpc.listen was unix:.*/none/guard.sock"):
        await start(Driver(policy_of(BTC)), f"unix:{tmp_path}/none/guard.sock")


async def test_message_when_it_is_larger_than_the_limit_then_it_is_refused(start: Start) -> None:
    guard = await start(Driver(policy_of(BTC)), message_bytes_max=65_536)

    with pytest.raises(aio.AioRpcError) as caught:
        await guard.decide(check(account_id="x" * 70_000))

    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_rpcs_when_there_are_more_than_the_limit_then_the_next_is_refused(start: Start) -> None:
    guard = await start(Driver(policy_of(BTC)), concurrent_rpcs_max=2, watchers_max=1)
    watches = [guard.health.Watch(health_pb2.HealthCheckRequest()) for _ in range(2)]
    for watch in watches:
        await watch.read()

    with pytest.raises(aio.AioRpcError) as caught:
        await guard.decide(check())

    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    for watch in watches:
        watch.cancel()


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x0a\x7f", b"\x0a\x04\x0a\x02\xff\xfe"])
async def test_request_when_it_is_no_protobuf_then_it_is_an_error_and_the_server_lives_on(
    guard: Harness, garbage: bytes
) -> None:
    before = guard.state()

    code, info, _ = await refused(raw(guard.channel, CHECK_LIQUIDATION)(garbage))

    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")
    assert (info.metadata["field"], info.metadata["value"]) == ("request", f"{len(garbage)} bytes")
    assert guard.state() == before
    assert (await guard.decide(check())).verdict == types_pb2.VERDICT_ALLOW


async def test_request_when_it_has_fields_of_a_later_version_then_they_are_passed_over(guard: Harness) -> None:
    later = liquidation_pb2.CheckLiquidationRequest(check=check()).SerializeToString() + b"\xfa\x7f\x03new"

    answer = await raw(guard.channel, CHECK_LIQUIDATION)(later)

    decision = liquidation_pb2.CheckLiquidationResponse.FromString(answer).decision
    assert decision.verdict == types_pb2.VERDICT_ALLOW


async def test_method_when_it_is_unknown_then_it_is_unimplemented(guard: Harness) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await raw(guard.channel, "/circuit_guard.v1.AdminService/Explode")(b"")

    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_answer_when_it_is_larger_than_the_limit_for_requests_then_it_is_sent_all_the_same(start: Start) -> None:
    guard = await start(Driver(policy_of(BTC)), message_bytes_max=65_536)
    checks = [check(request_id=f"request-{number}") for number in range(100)]

    request = liquidation_pb2.CheckLiquidationsRequest(checks=checks)
    response = await guard.liquidations.CheckLiquidations(request)

    assert request.ByteSize() < 65_536 < response.ByteSize()
    assert {result.decision.verdict for result in response.results} == {types_pb2.VERDICT_DENY}


class FailingObserver:
    """An observer whose disk is full from some moment on."""

    def __init__(self) -> None:
        self.failing = False

    def on_facts(self, facts: Sequence[Fact], took_ns: int) -> None:
        if self.failing:
            raise OSError("disk full")

    def on_allowed(self, checks: Sequence[AllowedCheck]) -> None:
        self.on_facts([], 0)


async def test_engine_when_it_has_stopped_then_every_question_is_an_error_and_no_answer(start: Start) -> None:
    observer = FailingObserver()
    driver = Driver(policy_of(BTC), [observer])
    driver.run(40, BTC)
    guard = await start(driver)
    observer.failing = True

    asked = [await refused(guard.decide(check(request_id=name))) for name in ("first", "second")]
    batch = await refused(
        guard.liquidations.CheckLiquidations(liquidation_pb2.CheckLiquidationsRequest(checks=[check()]))
    )
    published = await refused(guard.observe(guard.observation()))
    status = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest())).status

    for code, info, message in [*asked, batch, published]:
        assert (code, info.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_FAILED")
        assert message == "the engine has stopped: treat this as a deny"
    assert not status.ready
    assert "disk full" in status.not_ready_reasons[0]
