"""Attacks on the server: each is answered clearly or not at all, changes nothing, and holds nobody else up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import grpc
import pytest
from grpc import aio
from prometheus_client import CollectorRegistry

from circuit_guard.config.security import LimitSettings
from circuit_guard.telemetry.metrics import Metrics
from circuit_guard.v1 import admin_pb2, liquidation_pb2, market_data_pb2, types_pb2
from tests.driver import BTC, ETH, Driver, policy_of
from tests.raw import raw
from tests.security.identities import Start
from tests.server import commands
from tests.server.harness import Harness, check, order, refused

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
CHECK_LIQUIDATION = "/circuit_guard.v1.LiquidationGuardService/CheckLiquidation"
PUBLISH_OBSERVATIONS = "/circuit_guard.v1.MarketDataService/PublishObservations"
HALT = "/circuit_guard.v1.AdminService/Halt"
NAMES = 10_000


async def warm(start: Start, metrics: Metrics | None = None, **limits: Any) -> Harness:
    driver = Driver(policy_of(BTC, ETH), () if metrics is None else (metrics,))
    driver.run(40, BTC, ETH)
    return await start(driver, **limits)


def frame(kind: int, flags: int, stream: int, payload: bytes, length: int | None = None) -> bytes:
    """Return an HTTP/2 frame; its length may be a lie."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


MALFORMED = {
    "no HTTP/2": b"GET /metrics HTTP/1.1\r\nHost: guard\r\n\r\n",
    "noise": bytes(range(256)) * 64,
    "a preface cut short": PREFACE[:11],
    "a preface, then noise": PREFACE + b"\xff" * 64,
    "a frame larger than allowed": PREFACE + SETTINGS + frame(0, 0, 1, b"", length=0xFFFFFF) + b"x" * 65_536,
    "data of a stream that was never opened": PREFACE + SETTINGS + frame(0, 1, 7, b"\x00\x00\x00\x00\x01x"),
    "headers that are no HPACK": PREFACE + SETTINGS + frame(1, 5, 1, b"\xff" * 40),
    "settings of odd length": PREFACE + frame(4, 0, 0, b"\x00\x03\x00"),
    "a window of zero": PREFACE + SETTINGS + frame(8, 0, 0, b"\x00\x00\x00\x00"),
    "a flood of pings": PREFACE + SETTINGS + frame(6, 0, 0, b"12345678") * 1000,
    "a flood of resets": PREFACE + SETTINGS + b"".join(frame(3, 0, n, b"\0\0\0\x08") for n in range(1, 1001, 2)),
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=list(MALFORMED))
async def test_connection_when_its_bytes_are_not_grpc_then_nothing_happens_and_others_are_served(
    start: Start, sent: bytes
) -> None:
    guard = await warm(start, per_client=LimitSettings(handshake_s=1))
    before = guard.state()
    host, port = guard.server.address.split(":")
    _, writer = await asyncio.open_connection(host, int(port))

    writer.write(sent)
    served = [await guard.admin.GetStatus(admin_pb2.GetStatusRequest()) for _ in range(5)]
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()

    assert all(response.status.policy_revision for response in served)
    assert guard.state() == before


@pytest.mark.parametrize("sent", [b"", PREFACE[:5], PREFACE, PREFACE + SETTINGS[:4]], ids=["nothing", "5", "24", "28"])
async def test_connection_when_it_says_almost_nothing_then_others_are_served_and_it_is_closed(
    start: Start, sent: bytes
) -> None:
    guard = await warm(start, per_client=LimitSettings(handshake_s=1))
    host, port = guard.server.address.split(":")
    slow = [await asyncio.open_connection(host, int(port)) for _ in range(30)]
    for _, writer in slow:
        writer.write(sent)

    decision = await guard.decide(check())
    async with asyncio.timeout(20):
        for reader, writer in slow:
            while await reader.read(65_536):
                pass
            writer.close()

    assert decision.verdict == types_pb2.VERDICT_ALLOW


async def test_connections_when_there_are_more_than_the_limit_then_the_next_is_closed_and_the_rest_go_on(
    start: Start,
) -> None:
    guard = await warm(start, per_client=LimitSettings(connections_max=4))
    await guard.decide(check(request_id="first"))
    async with AsyncExitStack() as stack:
        refusals = 0
        for number in range(8):
            options = (("grpc.use_local_subchannel_pool", 1),)
            channel = await stack.enter_async_context(aio.insecure_channel(guard.server.address, options))
            request = liquidation_pb2.CheckLiquidationRequest(check=check(request_id=f"request-{number}"))
            try:
                await raw(channel, CHECK_LIQUIDATION)(request.SerializeToString(), timeout=5)
            except aio.AioRpcError as error:
                refusals += 1
                assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017  # not every one is refused

        again = await guard.decide(check(request_id="first"))

    assert refusals >= 4
    assert again.repeated


async def test_streams_when_one_connection_opens_more_than_the_limit_then_they_wait_in_the_client(
    start: Start,
) -> None:
    guard = await warm(start, per_client=LimitSettings(streams_max=3))
    watches = [guard.admin.WatchEvents(admin_pb2.WatchEventsRequest()) for _ in range(3)]
    for watch in watches:
        await watch.initial_metadata()
    waiting = asyncio.ensure_future(guard.decide(check()))
    async with aio.insecure_channel(guard.server.address, (("grpc.use_local_subchannel_pool", 1),)) as other:
        request = liquidation_pb2.CheckLiquidationRequest(check=check(request_id="other"))
        await raw(other, CHECK_LIQUIDATION)(request.SerializeToString())

    assert not waiting.done()
    watches[0].cancel()
    assert (await waiting).verdict == types_pb2.VERDICT_ALLOW


async def test_queue_when_hundreds_of_checks_are_ahead_then_market_data_and_a_halt_do_not_wait_for_them(
    start: Start,
) -> None:
    guard = await warm(start, per_client=LimitSettings(streams_max=1000, checks_waiting_max=800))
    async with aio.insecure_channel(guard.server.address, (("grpc.use_local_subchannel_pool", 1),)) as other:
        await other.channel_ready()  # connecting takes its time, in which checks are answered
        asked = [asyncio.ensure_future(guard.decide(check(request_id=f"request-{number}"))) for number in range(600)]
        await asked[0]
        request = market_data_pb2.PublishObservationsRequest(observations=[guard.observation()])
        await raw(other, PUBLISH_OBSERVATIONS)(request.SerializeToString())
        await raw(other, HALT)(commands.halt().SerializeToString())
    answered = sum(future.done() for future in asked)
    verdicts = [decision.verdict for decision in await asyncio.gather(*asked)]

    assert answered < 300
    assert verdicts.count(types_pb2.VERDICT_DENY) > 200


LONG = "x" * 129
TOO_LONG: dict[str, Callable[[Harness], Any]] = {
    "market": lambda guard: guard.decide(check(market=LONG)),
    "request_id": lambda guard: guard.decide(check(request_id=LONG)),
    "account_id": lambda guard: guard.decide(check(account_id=LONG)),
    "size": lambda guard: guard.decide(check(size="1" * 65)),
    "actor": lambda guard: guard.admin.Halt(commands.halt(actor=LONG)),
    "reason": lambda guard: guard.admin.Halt(commands.halt(reason="x" * 513)),
    "scopes[0]": lambda guard: guard.admin.Halt(commands.halt(scopes=[LONG])),
}


@pytest.mark.parametrize("field", TOO_LONG)
async def test_text_when_it_is_too_long_then_the_field_is_named_and_the_answer_stays_short(
    start: Start, field: str
) -> None:
    guard = await warm(start)
    before = guard.state()

    code, info, message = await refused(TOO_LONG[field](guard))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert info.metadata["field"].endswith(field)
    assert len(message) < 400
    assert guard.state() == before


def series(registry: CollectorRegistry) -> set[tuple[str, str]]:
    return {(sample.name, str(sample.labels)) for family in registry.collect() for sample in family.samples}


async def test_names_when_there_are_ten_thousand_unknown_ones_then_neither_state_nor_metrics_grow(
    start: Start,
) -> None:
    metrics = Metrics(policy_of(BTC, ETH), "test", 0)
    guard = await warm(start, metrics)
    await guard.decide(check(market="unknown", request_id="unknown"))
    await guard.observe(guard.observation(market="unknown", source="unknown"))
    await guard.refer(guard.reference(market="unknown", source="unknown"))
    before, known = guard.state(), series(metrics.registry) | series(guard.registry)

    for first in range(0, NAMES, 100):
        names = [f"{number:05d}-name" for number in range(first, first + 100)]
        checks = [check(market=name, request_id=name, account_id=name, account=None) for name in names]
        await guard.liquidations.CheckLiquidations(liquidation_pb2.CheckLiquidationsRequest(checks=checks))
        if first % 1000 == 0:
            await guard.observe(*(guard.observation(market=name, source=name) for name in names))
            await guard.refer(*(guard.reference(market=name, source=name) for name in names))
            await guard.judge(*(order(market=name, order_id=name) for name in names))

    after = guard.state()
    assert after.markets == before.markets
    assert len(after.remembered) <= guard.engine.policy.remembered_requests_max
    assert (series(metrics.registry) | series(guard.registry)) == known


async def test_labels_when_sources_actors_and_reasons_are_all_new_then_no_metric_has_them(start: Start) -> None:
    metrics = Metrics(policy_of(BTC, ETH), "test", 0)
    guard = await warm(start, metrics)
    await guard.refer(guard.reference(source="new"))
    await guard.admin.Halt(commands.halt())
    await guard.admin.Resume(commands.resume())
    known = series(metrics.registry) | series(guard.registry)

    for number in range(300):
        name = f"name-{number}"
        await guard.refer(guard.reference(source=name))
        await guard.admin.Halt(commands.halt(actor=name, reason=name))
        await guard.admin.Resume(commands.resume(actor=name, reason=name))

    assert (series(metrics.registry) | series(guard.registry)) == known


async def test_request_id_when_it_is_replayed_then_the_same_question_gets_its_answer_and_another_is_refused(
    start: Start,
) -> None:
    guard = await warm(start)
    first = await guard.decide(check())
    before = guard.state()

    again = await guard.decide(check())
    code, info, _ = await refused(guard.decide(check(account_id="account-2")))

    assert (again.decision_id, again.verdict, again.repeated) == (first.decision_id, first.verdict, True)
    assert (code, info.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_CONFLICT")
    assert guard.state() == before


async def test_request_id_when_an_allow_is_replayed_in_a_halt_then_it_is_judged_again_and_denied(start: Start) -> None:
    guard = await warm(start)
    first = await guard.decide(check())
    await guard.admin.Halt(commands.halt())

    judged = await guard.decide(check())
    again = await guard.decide(check())

    assert (first.verdict, judged.verdict, judged.repeated) == (types_pb2.VERDICT_ALLOW, types_pb2.VERDICT_DENY, False)
    assert (again.decision_id, again.repeated) == (judged.decision_id, True)


async def test_message_when_it_is_too_large_then_it_is_refused_and_the_connection_serves_on(start: Start) -> None:
    guard = await warm(start, message_bytes_max=65_536)
    before = guard.state()

    with pytest.raises(aio.AioRpcError) as caught:
        await guard.observe(guard.observation(source="x" * 70_000))

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert guard.state() == before
    [result] = await guard.observe(guard.observation())
    assert result.status == market_data_pb2.PUBLISH_STATUS_ACCEPTED


async def test_metadata_when_it_is_too_large_then_the_request_is_refused(start: Start) -> None:
    guard = await warm(start)
    before = guard.state()

    with pytest.raises(aio.AioRpcError) as caught:
        await guard.admin.Halt(commands.halt(), metadata=(("authorization", "Bearer " + "x" * 60_000),))

    assert caught.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
    assert guard.state() == before
