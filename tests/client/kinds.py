"""Every way to put the client before a closure, as one function: it gives what was closed and what was said."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc
import pytest
from grpc import aio

from circuit_guard.client import AsyncGuardClient, ClosureDenied, GuardClient, guarded
from circuit_guard.client.client_interceptor import GuardClientInterceptor, async_client_interceptors
from circuit_guard.client.server_interceptor import AsyncGuardServerInterceptor, GuardServerInterceptor
from tests.client import service
from tests.client.guards import closure, order
from tests.client.service import CLOSE, AsyncLiquidations, Liquidations, Request
from tests.raw import raw


@dataclass(frozen=True)
class Said:
    """What came of trying to close: how much was closed, and the words of the denial."""

    closed: int
    words: str


Kind = Callable[[str, float], Awaitable[Said]]


async def library(address: str, deadline_s: float) -> Said:
    def ask() -> Said:
        with GuardClient(address, deadline_s=deadline_s) as client:
            answer = client.check(closure())
            return Said(int(answer.allowed), answer.explanation)

    return await asyncio.to_thread(ask)


async def library_stream(address: str, deadline_s: float) -> Said:
    def ask() -> Said:
        with GuardClient(address, deadline_s=deadline_s, stream=True) as client:
            answer = client.check(closure())
            return Said(int(answer.allowed), answer.explanation)

    return await asyncio.to_thread(ask)


async def library_batch(address: str, deadline_s: float) -> Said:
    def ask() -> Said:
        with GuardClient(address, deadline_s=deadline_s) as client:
            answers = client.check_many([closure(), closure()])
            return Said(sum(answer.allowed for answer in answers), answers[1].explanation)

    return await asyncio.to_thread(ask)


async def library_orders(address: str, deadline_s: float) -> Said:
    def ask() -> Said:
        with GuardClient(address, deadline_s=deadline_s) as client:
            (answer,) = client.check_orders([order()])
            return Said(int(answer.allowed), answer.explanation)

    return await asyncio.to_thread(ask)


async def async_library(address: str, deadline_s: float) -> Said:
    async with AsyncGuardClient(address, deadline_s=deadline_s) as client:
        answer = await client.check(closure())
        return Said(int(answer.allowed), answer.explanation)


async def async_library_stream(address: str, deadline_s: float) -> Said:
    async with AsyncGuardClient(address, deadline_s=deadline_s, stream=True) as client:
        answer = await client.check(closure())
        return Said(int(answer.allowed), answer.explanation)


async def async_library_batch(address: str, deadline_s: float) -> Said:
    async with AsyncGuardClient(address, deadline_s=deadline_s) as client:
        answers = await client.check_many([closure(), closure()])
        return Said(sum(answer.allowed for answer in answers), answers[1].explanation)


async def async_library_orders(address: str, deadline_s: float) -> Said:
    async with AsyncGuardClient(address, deadline_s=deadline_s) as client:
        (answer,) = await client.check_orders([order()])
        return Said(int(answer.allowed), answer.explanation)


async def server_interceptor(address: str, deadline_s: float) -> Said:
    engine = Liquidations()

    def call() -> str:
        with GuardClient(address, deadline_s=deadline_s) as client:
            interceptor = GuardServerInterceptor(client, service.mapping)
            with service.running(engine, interceptor) as served, grpc.insecure_channel(served) as channel:
                close: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CLOSE)
                return _words(lambda: close(Request().encoded(), timeout=30))

    words = await asyncio.to_thread(call)
    return Said(len(engine.closed), words)


async def async_server_interceptor(address: str, deadline_s: float) -> Said:
    engine = AsyncLiquidations()
    async with AsyncGuardClient(address, deadline_s=deadline_s) as client:
        interceptor = AsyncGuardServerInterceptor(client, service.mapping)
        async with service.running_async(engine, interceptor) as served, aio.insecure_channel(served) as channel:
            words = await _async_words(raw(channel, CLOSE)(Request().encoded(), timeout=30))
    return Said(len(engine.closed), words)


async def client_interceptor(address: str, deadline_s: float) -> Said:
    engine = Liquidations()

    def call() -> str:
        with (
            GuardClient(address, deadline_s=deadline_s) as client,
            service.running(engine) as served,
            grpc.insecure_channel(served) as bare,
        ):
            channel = grpc.intercept_channel(bare, GuardClientInterceptor(client, service.mapping))
            return _words(lambda: channel.unary_unary(CLOSE, Request.encoded)(Request(), timeout=30))

    words = await asyncio.to_thread(call)
    return Said(len(engine.closed), words)


async def async_client_interceptor(address: str, deadline_s: float) -> Said:
    engine = AsyncLiquidations()
    async with AsyncGuardClient(address, deadline_s=deadline_s) as client, service.running_async(engine) as served:
        interceptors = async_client_interceptors(client, service.mapping)
        async with aio.insecure_channel(served, interceptors=interceptors) as channel:
            words = await _async_words(channel.unary_unary(CLOSE, Request.encoded)(Request(), timeout=30))
    return Said(len(engine.closed), words)


async def decorator(address: str, deadline_s: float) -> Said:
    closed: list[str] = []

    def call() -> str:
        with GuardClient(address, deadline_s=deadline_s) as client:

            @guarded(client, lambda account: closure(account_id=account))
            def close(account: str) -> None:
                closed.append(account)

            return _words(lambda: close("account-1"))

    words = await asyncio.to_thread(call)
    return Said(len(closed), words)


async def async_decorator(address: str, deadline_s: float) -> Said:
    closed: list[str] = []
    async with AsyncGuardClient(address, deadline_s=deadline_s) as client:

        @guarded(client, lambda account: closure(account_id=account))
        async def close(account: str) -> None:
            closed.append(account)

        words = await _async_words(close("account-1"))
    return Said(len(closed), words)


def _words(call: Callable[[], object]) -> str:
    """Return what a call is told that is denied, or nothing where it goes through."""
    try:
        call()
    except grpc.RpcError as error:
        return _details(error)
    return ""


async def _async_words(call: Awaitable[object]) -> str:
    try:
        await call
    except grpc.RpcError as error:
        return _details(error)
    return ""


def _details(error: grpc.RpcError) -> str:
    assert isinstance(error, grpc.Call | aio.AioRpcError)
    if isinstance(error, ClosureDenied):
        assert str(error) == error.details()
    return error.details() or ""


KINDS: dict[str, Kind] = {
    "library": library,
    "library, on a stream": library_stream,
    "library, a batch": library_batch,
    "library, orders": library_orders,
    "async library": async_library,
    "async library, on a stream": async_library_stream,
    "async library, a batch": async_library_batch,
    "async library, orders": async_library_orders,
    "server interceptor": server_interceptor,
    "async server interceptor": async_server_interceptor,
    "client interceptor": client_interceptor,
    "async client interceptor": async_client_interceptor,
    "decorator": decorator,
    "async decorator": async_decorator,
}

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
