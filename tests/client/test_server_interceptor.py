"""The server interceptors: every shape of method, what a caller is told, and what a mapping may do wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from circuit_guard.client import AsyncGuardClient, GuardClient, LiftedBy, RequestMapping
from circuit_guard.client.server_interceptor import AsyncGuardServerInterceptor, GuardServerInterceptor
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
from tests.raw import raw

DENIED = grpc.StatusCode.FAILED_PRECONDITION


@pytest.fixture
def guard() -> Iterator[FakeGuard]:
    with FakeGuard() as guard:
        guard.allow()
        yield guard


class Served:
    """A guarded service and a channel to it; every call is made in a thread, so that one test serves both kinds."""

    def __init__(self, engine: Liquidations, address: str) -> None:
        self.engine = engine
        self.channel = grpc.insecure_channel(address)

    async def call(self, method: str, *requests: Request) -> list[bytes]:
        """Call a method of any shape."""
        one, many = requests[0], iter(requests)
        encoded, channel = Request.encoded, self.channel
        calls: dict[str, Callable[[], Any]] = {
            CLOSE: lambda: [channel.unary_unary(method, encoded)(one, timeout=PATIENT_S)],
            PING: lambda: [channel.unary_unary(method, encoded)(one, timeout=PATIENT_S)],
            CLOSE_AND_WATCH: lambda: list(channel.unary_stream(method, encoded)(one, timeout=PATIENT_S)),
            CLOSE_EACH: lambda: [channel.stream_unary(method, encoded)(many, timeout=PATIENT_S)],
            CLOSE_EACH_AND_WATCH: lambda: list(channel.stream_stream(method, encoded)(many, timeout=PATIENT_S)),
        }
        found: list[bytes] = await asyncio.to_thread(calls[method])
        return found

    async def failing(self, method: str, *requests: Request) -> grpc.Call:
        """Call a method that must fail."""
        with pytest.raises(grpc.RpcError) as caught:
            await self.call(method, *requests)
        assert isinstance(caught.value, grpc.Call)
        return caught.value


Serve = Callable[[RequestMapping], Any]


@pytest_asyncio.fixture(params=["threads", "asyncio"])
async def serve(request: pytest.FixtureRequest, guard: FakeGuard) -> AsyncIterator[Serve]:
    """Return a way to serve the guarded service with a mapping, in threads and in an event loop."""
    closing: list[Callable[[], Any]] = []

    async def in_threads(mapping: RequestMapping) -> Served:
        client, engine = GuardClient(guard.address, deadline_s=PATIENT_S), Liquidations()
        context = service.running(engine, GuardServerInterceptor(client, mapping))
        served = Served(engine, context.__enter__())
        closing.extend([served.channel.close, lambda: context.__exit__(None, None, None), client.close])
        return served

    async def in_a_loop(mapping: RequestMapping) -> Served:
        client, engine = AsyncGuardClient(guard.address, deadline_s=PATIENT_S), AsyncLiquidations()
        context = service.running_async(engine, AsyncGuardServerInterceptor(client, mapping))
        served = Served(engine, await context.__aenter__())
        closing.extend([served.channel.close, lambda: context.__aexit__(None, None, None), client.close])
        return served

    yield in_threads if request.param == "threads" else in_a_loop
    for close in closing:
        ending = close()
        if ending is not None and not isinstance(ending, bool):
            await ending


@pytest.mark.parametrize("method", [CLOSE, CLOSE_AND_WATCH, CLOSE_EACH, CLOSE_EACH_AND_WATCH])
async def test_call_when_the_guard_allows_then_it_goes_through_whatever_its_shape(serve: Serve, method: str) -> None:
    served = await serve(service.mapping)

    assert await served.call(method, Request())
    assert served.engine.closed == ["-0.5"]


@pytest.mark.parametrize("method", [CLOSE, CLOSE_AND_WATCH, CLOSE_EACH, CLOSE_EACH_AND_WATCH])
async def test_call_when_the_guard_denies_then_it_ends_before_anything_is_closed_whatever_its_shape(
    serve: Serve, guard: FakeGuard, method: str
) -> None:
    guard.deny(sentence="the funding index cannot be true")
    served = await serve(service.mapping)

    error = await served.failing(method, Request())

    assert error.code() is DENIED
    assert error.details() == f"DENY {BTC}: the funding index cannot be true."
    assert served.engine.closed == []


@pytest.mark.parametrize("method", [CLOSE_EACH, CLOSE_EACH_AND_WATCH])
async def test_stream_when_one_of_its_requests_is_denied_then_what_came_before_is_all_that_happens(
    serve: Serve, guard: FakeGuard, method: str
) -> None:
    guard.deny(market=ETH)
    served = await serve(service.mapping)

    error = await served.failing(method, Request(("-1",)), Request(("-2",), ETH), Request(("-3",)))

    assert error.code() is DENIED
    assert served.engine.closed == ["-1"]


async def test_call_when_one_of_its_closures_is_denied_then_none_goes_ahead(serve: Serve, guard: FakeGuard) -> None:
    guard.deny(market=ETH)

    def two(method: str, request: Request) -> Any:
        return [service.mapping(method, request), service.mapping(method, Request(request.sizes, ETH))]

    served = await serve(two)

    error = await served.failing(CLOSE, Request())

    assert error.code() is DENIED
    assert error.details().startswith(f"1 of 2 closures are denied, so none goes ahead; the first: DENY {ETH}: ")
    assert served.engine.closed == []
    assert len(guard.tokens) == 1, "both are asked about in one call"


async def test_call_when_it_closes_nothing_then_the_guard_is_not_asked(serve: Serve, guard: FakeGuard) -> None:
    guard.kill()
    served = await serve(service.mapping)

    assert await served.call(PING, Request()) == [b"pong"]
    assert guard.closures == []


async def test_call_when_denied_then_the_trailing_metadata_say_why_and_when_to_come_back(
    serve: Serve, guard: FakeGuard
) -> None:
    guard.deny("breaker_open", lifted_by=LiftedBy.EVIDENCE, ask_again_after=timedelta(seconds=2.5))
    served = await serve(service.mapping)

    status, info, retry = details(await served.failing(CLOSE, Request()))

    assert status.code == DENIED.value[0]
    assert (info.reason, info.domain) == ("CLOSURE_DENIED", "circuit_guard")
    assert info.metadata["market"] == BTC
    assert (info.metadata["reasons"], info.metadata["lifted_by"]) == ("breaker_open", "EVIDENCE")
    assert info.metadata["decision_id"].startswith("fake-")
    assert info.metadata["request_id"] == guard.closures[0].request_id
    assert retry is not None
    assert retry.retry_delay.ToTimedelta() == timedelta(seconds=2.5)


async def test_call_when_somebody_has_to_act_first_then_there_is_no_time_to_come_back(
    serve: Serve, guard: FakeGuard
) -> None:
    guard.deny("operator_halt", lifted_by=LiftedBy.OPERATOR, ask_again_after=None)
    served = await serve(service.mapping)

    _, info, retry = details(await served.failing(CLOSE, Request()))

    assert info.metadata["lifted_by"] == "OPERATOR"
    assert retry is None


async def test_call_when_the_guard_is_dead_then_it_is_unavailable_and_says_so(serve: Serve, guard: FakeGuard) -> None:
    guard.kill()
    served = await serve(service.mapping)

    error = await served.failing(CLOSE, Request())
    _, info, retry = details(error)

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert f"no guard answers at {guard.address}" in error.details()
    assert (info.reason, info.metadata["decision_id"]) == ("NO_ANSWER", "")
    assert retry is not None
    assert served.engine.closed == []


async def test_call_when_its_request_maps_to_no_question_then_it_is_an_invalid_argument(serve: Serve) -> None:
    served = await serve(service.mapping)

    error = await served.failing(CLOSE, Request(("0",)))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == (
        "the guard cannot be asked about this request: "
        "Closure.size was Decimal('0'), expected a size other than zero, in base units"
    )
    assert served.engine.closed == []


@pytest.mark.parametrize("mapped", [[], True, "BTC-USD-PERP", [None]])
async def test_call_when_its_mapping_returns_what_is_no_closure_then_nothing_goes_ahead(
    serve: Serve, guard: FakeGuard, mapped: Any
) -> None:
    served = await serve(lambda method, request: mapped)

    error = await served.failing(CLOSE, Request())

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "expected a Closure, a list of them, or None where nothing is closed" in error.details()
    assert (served.engine.closed, guard.closures) == ([], [])


async def test_call_when_its_mapping_raises_then_nothing_goes_ahead(serve: Serve, guard: FakeGuard) -> None:
    def broken(method: str, request: Request) -> None:
        raise KeyError(request.market)

    served = await serve(broken)

    error = await served.failing(CLOSE, Request())

    assert error.code() is grpc.StatusCode.UNKNOWN
    assert (served.engine.closed, guard.closures) == ([], [])


async def test_call_when_there_is_no_such_method_then_that_is_what_its_caller_is_told(serve: Serve) -> None:
    served = await serve(service.mapping)

    call = served.channel.unary_unary("/exchange.Liquidations/Open")
    with pytest.raises(grpc.RpcError) as caught:
        await asyncio.to_thread(call, b"", timeout=PATIENT_S)

    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_call_when_its_method_is_a_plain_function_on_an_asyncio_server_then_it_is_refused(
    guard: FakeGuard,
) -> None:
    plain = Liquidations()
    async with AsyncGuardClient(guard.address, deadline_s=PATIENT_S) as client:
        interceptor = AsyncGuardServerInterceptor(client, service.mapping)
        async with service.running_async(plain, interceptor) as address, aio.insecure_channel(address) as channel:
            with pytest.raises(aio.AioRpcError, match="a plain function on an asyncio server") as caught:
                await raw(channel, CLOSE)(Request().encoded(), timeout=PATIENT_S)

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert plain.closed == []


def details(error: grpc.Call) -> tuple[Status, ErrorInfo, RetryInfo | None]:
    """Return what the trailing metadata of a denied call hold."""
    metadata = {key: value for key, value in error.trailing_metadata() or ()}  # noqa: C416 - pairs of gRPC's own kind
    status = Status.FromString(metadata["grpc-status-details-bin"])
    info, retry = ErrorInfo(), RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.message == error.details()
    return status, info, retry if len(status.details) > 1 and status.details[1].Unpack(retry) else None
