"""The client interceptors: nothing leaves before the guard has allowed it, and a denial is an error like any other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc import aio

from circuit_guard.client import AsyncGuardClient, ClosureDenied, GuardClient
from circuit_guard.client.client_interceptor import GuardClientInterceptor, async_client_interceptors
from circuit_guard.client.testing import FakeGuard
from tests.client import service
from tests.client.guards import BTC, ETH, PATIENT_S
from tests.client.service import (
    CLOSE,
    CLOSE_AND_WATCH,
    CLOSE_EACH,
    CLOSE_EACH_AND_WATCH,
    PING,
    AsyncLiquidations,
    Liquidations,
    Request,
)

REFUSED = r"^/exchange\.Liquidations/CloseEach(AndWatch)? takes a stream of requests, expected a single one: "


@pytest.fixture
def guard() -> Iterator[FakeGuard]:
    with FakeGuard() as guard:
        guard.allow()
        yield guard


@pytest.fixture
def engine() -> Liquidations:
    return Liquidations()


@pytest.fixture
def channel(guard: FakeGuard, engine: Liquidations) -> Iterator[grpc.Channel]:
    with (
        service.running(engine) as address,
        GuardClient(guard.address, deadline_s=PATIENT_S) as client,
        grpc.insecure_channel(address) as bare,
    ):
        yield grpc.intercept_channel(bare, GuardClientInterceptor(client, service.mapping))


@pytest_asyncio.fixture
async def async_channel(guard: FakeGuard) -> AsyncIterator[aio.Channel]:
    async with (
        service.running_async(AsyncLiquidations()) as address,
        AsyncGuardClient(guard.address, deadline_s=PATIENT_S) as client,
        aio.insecure_channel(address, interceptors=async_client_interceptors(client, service.mapping)) as channel,
    ):
        yield channel


def test_call_when_the_guard_allows_then_it_goes_through(channel: grpc.Channel, engine: Liquidations) -> None:
    assert channel.unary_unary(CLOSE, Request.encoded)(Request()) == b"closed"
    assert list(channel.unary_stream(CLOSE_AND_WATCH, Request.encoded)(Request(("-1", "-2")))) == [b"-1", b"-2"]
    assert engine.closed == ["-0.5", "-1", "-2"]


def test_call_when_the_guard_denies_then_nothing_is_sent_and_the_error_has_the_answers(
    channel: grpc.Channel, engine: Liquidations, guard: FakeGuard
) -> None:
    guard.deny(market=ETH)

    with pytest.raises(ClosureDenied) as caught:
        channel.unary_unary(CLOSE, Request.encoded)(Request(("-1",), ETH))
    with pytest.raises(ClosureDenied):
        list(channel.unary_stream(CLOSE_AND_WATCH, Request.encoded)(Request(("-1",), ETH)))

    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == str(caught.value) == f"DENY {ETH}: a test told this fake guard to deny."
    [answer] = caught.value.denied
    assert (answer.market, answer.reasons) == (ETH, ("breaker_open",))
    assert engine.closed == []


def test_call_when_the_guard_denies_and_it_is_a_future_then_its_result_is_the_denial(
    channel: grpc.Channel, engine: Liquidations, guard: FakeGuard
) -> None:
    guard.deny()

    with pytest.raises(ClosureDenied):
        channel.unary_unary(CLOSE, Request.encoded).future(Request()).result()
    assert engine.closed == []


def test_call_when_there_are_interceptors_outside_of_ours_then_they_see_a_failed_call(
    channel: grpc.Channel, guard: FakeGuard
) -> None:
    guard.kill()
    codes = []

    class Watching(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            call = continuation(client_call_details, request)
            codes.append(call.code())
            return call

    with pytest.raises(grpc.RpcError) as caught:
        grpc.intercept_channel(channel, Watching()).unary_unary(CLOSE, Request.encoded)(Request())

    assert isinstance(caught.value, ClosureDenied)
    assert codes == [grpc.StatusCode.UNAVAILABLE]


def test_call_when_it_closes_nothing_then_the_guard_is_not_asked(channel: grpc.Channel, guard: FakeGuard) -> None:
    guard.kill()

    assert channel.unary_unary(PING, Request.encoded)(Request()) == b"pong"


def test_call_when_it_takes_a_stream_of_requests_then_it_is_refused(
    channel: grpc.Channel, engine: Liquidations
) -> None:
    with pytest.raises(NotImplementedError, match=REFUSED):
        channel.stream_unary(CLOSE_EACH, Request.encoded)(iter([Request()]))
    with pytest.raises(NotImplementedError, match=REFUSED):
        list(channel.stream_stream(CLOSE_EACH_AND_WATCH, Request.encoded)(iter([Request()])))
    assert engine.closed == []


async def test_async_call_when_the_guard_allows_then_it_goes_through(async_channel: aio.Channel) -> None:
    watching: aio.UnaryStreamCall[Request, bytes] = async_channel.unary_stream(CLOSE_AND_WATCH, Request.encoded)(
        Request(("-1", "-2"))
    )

    assert await async_channel.unary_unary(CLOSE, Request.encoded)(Request()) == b"closed"
    assert [size async for size in watching] == [b"-1", b"-2"]


async def test_async_call_when_the_guard_denies_then_the_error_has_the_answers_in_every_shape(
    async_channel: aio.Channel, guard: FakeGuard
) -> None:
    guard.deny()

    call: aio.UnaryUnaryCall[Request, bytes] = async_channel.unary_unary(CLOSE, Request.encoded)(Request(("-1", "-2")))
    with pytest.raises(ClosureDenied) as caught:
        await call
    with pytest.raises(ClosureDenied):
        async for _ in async_channel.unary_stream(CLOSE_AND_WATCH, Request.encoded)(Request()):
            pass

    assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert [answer.market for answer in caught.value.denied] == [BTC, BTC]
    assert str(caught.value).startswith("2 of 2 closures are denied, so none goes ahead; the first: DENY")


async def test_async_call_when_it_takes_a_stream_of_requests_then_it_is_refused(async_channel: aio.Channel) -> None:
    with pytest.raises(NotImplementedError, match=REFUSED):
        await async_channel.stream_unary(CLOSE_EACH, Request.encoded)(iter([Request()]))
    with pytest.raises(NotImplementedError, match=REFUSED):
        async for _ in async_channel.stream_stream(CLOSE_EACH_AND_WATCH, Request.encoded)(iter([Request()])):
            pass


async def test_async_call_when_it_closes_nothing_then_the_guard_is_not_asked(
    async_channel: aio.Channel, guard: FakeGuard
) -> None:
    guard.kill()

    assert await async_channel.unary_unary(PING, Request.encoded)(Request()) == b"pong"
