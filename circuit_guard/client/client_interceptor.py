"""gRPC client interceptors: no call that closes positions leaves before the guard has allowed it.

A denied call raises ClosureDenied, an RpcError like every other failed call, and nothing is sent. Methods that take a
stream of requests are refused with NotImplementedError, as half of a stream would be sent before a denial: make those
calls on a channel of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import grpc
from grpc import aio

from circuit_guard.client.client import AsyncGuardClient, GuardClient
from circuit_guard.client.middleware import RequestMapping, require, require_async

Continuation = Callable[[Any, Any], Any]


class GuardClientInterceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """For `grpc.intercept_channel(channel, ...)`."""

    def __init__(self, client: GuardClient, mapping: RequestMapping) -> None:
        self._client = client
        self._mapping = mapping

    def intercept_unary_unary(self, continuation: Continuation, client_call_details: Any, request: Any) -> Any:
        require(self._client, self._mapping(_method(client_call_details), request))
        return continuation(client_call_details, request)

    intercept_unary_stream = intercept_unary_unary

    def intercept_stream_unary(
        self, continuation: Continuation, client_call_details: Any, request_iterator: Any
    ) -> NoReturn:
        raise _stream_of_requests(client_call_details)

    intercept_stream_stream = intercept_stream_unary


def async_client_interceptors(client: AsyncGuardClient, mapping: RequestMapping) -> tuple[aio.ClientInterceptor, ...]:
    """Return what `grpc.aio.insecure_channel(..., interceptors=...)` takes: one for each shape of a method."""
    return (
        _UnaryUnary(client, mapping),
        _UnaryStream(client, mapping),
        _StreamUnary(),
        _StreamStream(),
    )


class _Asking:
    def __init__(self, client: AsyncGuardClient, mapping: RequestMapping) -> None:
        self._client = client
        self._mapping = mapping

    async def ask(self, details: grpc.ClientCallDetails, request: Any) -> None:
        await require_async(self._client, self._mapping(_method(details), request))


class _UnaryUnary(_Asking, aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Continuation, client_call_details: Any, request: Any) -> Any:
        await self.ask(client_call_details, request)
        return await continuation(client_call_details, request)


class _UnaryStream(_Asking, aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Continuation, client_call_details: Any, request: Any) -> Any:
        await self.ask(client_call_details, request)
        return await continuation(client_call_details, request)


class _StreamUnary(aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Continuation, client_call_details: Any, request_iterator: Any
    ) -> NoReturn:
        raise _stream_of_requests(client_call_details)


class _StreamStream(aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Continuation, client_call_details: Any, request_iterator: Any
    ) -> NoReturn:
        raise _stream_of_requests(client_call_details)


def _method(details: grpc.ClientCallDetails) -> str:
    """Return the method as text; channels of grpc.aio give it as bytes."""
    method: str | bytes = details.method
    return method.decode() if isinstance(method, bytes) else method


def _stream_of_requests(details: grpc.ClientCallDetails) -> NotImplementedError:
    return NotImplementedError(
        f"{_method(details)} takes a stream of requests, expected a single one: call it on a channel without the guard"
    )
