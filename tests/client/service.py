"""A liquidation service as others have it, with a method of each shape, and channels to it. It knows no guard."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import grpc
from grpc import aio

from circuit_guard.client import Closure
from tests.client.guards import BTC

SERVICE = "exchange.Liquidations"
CLOSE = f"/{SERVICE}/Close"
CLOSE_AND_WATCH = f"/{SERVICE}/CloseAndWatch"
CLOSE_EACH = f"/{SERVICE}/CloseEach"
CLOSE_EACH_AND_WATCH = f"/{SERVICE}/CloseEachAndWatch"
PING = f"/{SERVICE}/Ping"


@dataclass(frozen=True)
class Request:
    """A request of the service: the sizes to close in one market."""

    sizes: tuple[str, ...] = ("-0.5",)
    market: str = BTC

    def encoded(self) -> bytes:
        return json.dumps([self.market, *self.sizes]).encode()


def decoded(data: bytes) -> Request:
    market, *sizes = json.loads(data)
    return Request(tuple(sizes), market)


def mapping(method: str, request: Request) -> list[Closure] | Closure | None:
    """Map a request of the service to what it closes."""
    if method == PING:
        return None
    closures = [Closure(market=request.market, account_id="account-1", size=Decimal(size)) for size in request.sizes]
    return closures[0] if len(closures) == 1 else closures


class Liquidations:
    """The service for threads; `closed` is what it has done."""

    def __init__(self) -> None:
        self.closed: list[str] = []

    def close(self, request: Request, context: Any) -> bytes:
        self.closed.extend(request.sizes)
        return b"closed"

    def close_and_watch(self, request: Request, context: Any) -> Iterator[bytes]:
        for size in request.sizes:
            self.closed.append(size)
            yield size.encode()

    def close_each(self, requests: Iterator[Request], context: Any) -> bytes:
        for request in requests:
            self.close(request, context)
        return b"closed"

    def close_each_and_watch(self, requests: Iterator[Request], context: Any) -> Iterator[bytes]:
        for request in requests:
            yield self.close(request, context)

    def ping(self, request: Request, context: Any) -> bytes:
        return b"pong"


class AsyncLiquidations(Liquidations):
    """The service for an event loop."""

    async def close(self, request: Request, context: Any) -> bytes:  # type: ignore[override]
        self.closed.extend(request.sizes)
        return b"closed"

    async def close_and_watch(self, request: Request, context: Any) -> AsyncIterator[bytes]:  # type: ignore[override]
        for size in request.sizes:
            self.closed.append(size)
            yield size.encode()

    async def close_each(self, requests: AsyncIterator[Request], context: Any) -> bytes:  # type: ignore[override]
        async for request in requests:
            await self.close(request, context)
        return b"closed"

    async def close_each_and_watch(  # type: ignore[override]
        self, requests: AsyncIterator[Request], context: Any
    ) -> AsyncIterator[bytes]:
        async for request in requests:
            yield await self.close(request, context)

    async def ping(self, request: Request, context: Any) -> bytes:  # type: ignore[override]
        return b"pong"


def handlers(service: Liquidations) -> grpc.GenericRpcHandler:
    """Return the service as gRPC wants it."""
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Close": grpc.unary_unary_rpc_method_handler(service.close, decoded),
            "CloseAndWatch": grpc.unary_stream_rpc_method_handler(service.close_and_watch, decoded),
            "CloseEach": grpc.stream_unary_rpc_method_handler(service.close_each, decoded),
            "CloseEachAndWatch": grpc.stream_stream_rpc_method_handler(service.close_each_and_watch, decoded),
            "Ping": grpc.unary_unary_rpc_method_handler(service.ping, decoded),
        },
    )


@contextmanager
def running(service: Liquidations, *interceptors: grpc.ServerInterceptor) -> Iterator[str]:
    """Run the service in threads, and give its address."""
    server = grpc.server(ThreadPoolExecutor(4), handlers=[handlers(service)], interceptors=list(interceptors))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@asynccontextmanager
async def running_async(service: Liquidations, *interceptors: aio.ServerInterceptor) -> AsyncIterator[str]:
    """Run the service in this loop, and give its address."""
    server = aio.server(handlers=[handlers(service)], interceptors=interceptors)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
