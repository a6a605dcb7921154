"""gRPC server interceptors: a liquidation service that exists executes nothing that the guard has not allowed.

A denied call ends with FAILED_PRECONDITION, one without an answer with UNAVAILABLE; the trailing metadata hold
google.rpc.ErrorInfo and, where asking again can help, RetryInfo. Where a mapping raises, the call ends with an error.
Requests that arrive as a stream are judged one by one, as the method iterates over them.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any, NoReturn, TypeAlias

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from circuit_guard.client.arguments import ArgumentError
from circuit_guard.client.client import AsyncGuardClient, GuardClient
from circuit_guard.client.failures import DETAILS_KEY
from circuit_guard.client.middleware import ClosureDenied, RequestMapping, require, require_async

DOMAIN = "circuit_guard"
CLOSURE_DENIED = "CLOSURE_DENIED"
NO_ANSWER = "NO_ANSWER"

METADATA_CHARACTERS_MAX = 500

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "aio.ServicerContext[Any, Any]"
Behavior = Callable[[Any, Any], Any]


class GuardServerInterceptor(grpc.ServerInterceptor):
    """For `grpc.server(..., interceptors=[...])`. Put it after the interceptors that authenticate callers."""

    def __init__(self, client: GuardClient, mapping: RequestMapping) -> None:
        self._client = client
        self._mapping = mapping

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        behavior, method = _behavior(handler), handler_call_details.method

        def each(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            for request in requests:
                self._ask(method, request, context)
                yield request

        def asking(request: Any, context: grpc.ServicerContext) -> Any:
            if handler.request_streaming:
                return behavior(each(request, context), context)
            self._ask(method, request, context)
            return behavior(request, context)

        return _rebuilt(handler, asking)

    def _ask(self, method: str, request: Any, context: grpc.ServicerContext) -> None:
        try:
            require(self._client, self._mapping(method, request))
        except ArgumentError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, _unaskable(error))
        except ClosureDenied as denied:
            context.set_trailing_metadata(_trailing(denied))
            context.abort(denied.code(), str(denied))


class AsyncGuardServerInterceptor(aio.ServerInterceptor):
    """For `grpc.aio.server(interceptors=[...])`. Put it after the interceptors that authenticate callers.

    Methods that are plain functions are refused: asking would hold up the whole loop. A method that takes its requests
    with `context.read()` instead of the iterator it is given goes round this interceptor.
    """

    def __init__(self, client: AsyncGuardClient, mapping: RequestMapping) -> None:
        self._client = client
        self._mapping = mapping

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method

        async def each(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
            async for request in requests:
                await self._ask(method, request, context)
                yield request

        async def prepare(request: Any, context: Context) -> Any:
            if handler.request_streaming:
                return each(request, context)
            await self._ask(method, request, context)
            return request

        return _rebuilt(handler, _prepared(_behavior(handler), prepare))

    async def _ask(self, method: str, request: Any, context: Context) -> None:
        try:
            await require_async(self._client, self._mapping(method, request))
        except ArgumentError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _unaskable(error))
        except ClosureDenied as denied:
            await context.abort(denied.code(), str(denied), _trailing(denied))


def _prepared(behavior: Behavior, prepare: Callable[[Any, Context], Awaitable[Any]]) -> Behavior:
    """Return the behavior on what `prepare` makes of its request, as the same kind of function: gRPC looks at that."""
    if inspect.isasyncgenfunction(behavior):

        async def asking_stream(request: Any, context: Context) -> AsyncIterator[Any]:
            prepared = await prepare(request, context)
            async with aclosing(behavior(prepared, context)) as responses:
                async for response in responses:
                    yield response

        return asking_stream
    if inspect.iscoroutinefunction(behavior):

        async def asking(request: Any, context: Context) -> Any:
            return await behavior(await prepare(request, context), context)

        return asking

    async def refusing(request: Any, context: Context) -> NoReturn:
        details = "this method is a plain function on an asyncio server, and the guard stands only before `async def`"
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, details)

    return refusing


def _behavior(handler: Handler) -> Behavior:
    found: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    behavior: Behavior = found
    return behavior


def _rebuilt(handler: Handler, behavior: Behavior) -> Handler:
    """Return the handler with another behavior of the same shape."""
    made_by: dict[tuple[bool, bool], Callable[..., Handler]] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    make = made_by[handler.request_streaming, handler.response_streaming]
    return make(behavior, handler.request_deserializer, handler.response_serializer)


def _unaskable(error: ArgumentError) -> str:
    """Return what a caller is told whose request maps to no question that can be asked."""
    return f"the guard cannot be asked about this request: {error}".encode("ascii", "backslashreplace").decode("ascii")


def _trailing(denied: ClosureDenied) -> tuple[tuple[str, bytes]]:
    """Return the google.rpc.Status of a denial as trailing metadata."""
    first = denied.denied[0]
    metadata = {
        "market": first.market,
        "request_id": first.request_id,
        "decision_id": first.decision_id or "",
        "reasons": ",".join(first.reasons),
        "lifted_by": first.lifted_by or "",
        "closures_denied": str(len(denied.denied)),
    }
    info = ErrorInfo(
        reason=CLOSURE_DENIED if denied.code() is grpc.StatusCode.FAILED_PRECONDITION else NO_ANSWER,
        domain=DOMAIN,
        metadata={key: value[:METADATA_CHARACTERS_MAX] for key, value in metadata.items()},
    )
    status = Status(code=denied.code().value[0], message=str(denied))
    status.details.add().Pack(info)
    if denied.ask_again_after is not None:
        retry = RetryInfo()
        retry.retry_delay.FromTimedelta(denied.ask_again_after)
        status.details.add().Pack(retry)
    return ((DETAILS_KEY, status.SerializeToString()),)
