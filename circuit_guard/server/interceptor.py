"""Every RPC passes here: admission first, and its errors become gRPC statuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc import aio

from circuit_guard.config.security import Role
from circuit_guard.errors import WireError
from circuit_guard.server import errors
from circuit_guard.server.admission import LIBRARY_PREFIX, Admission
from circuit_guard.server.errors import RefusalError
from circuit_guard.server.security.access import ROLES, Caller, Context

_log = structlog.get_logger(__name__)

Behavior = Callable[[Any, Context], Awaitable[Any]]
Decode = Callable[[bytes], Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class GuardedServer:
    """Takes services as a server does, on behalf of one: every RPC passes admission, every error becomes a status.

    A defect is logged and not explained. Generated code offers each method twice. gRPC keeps a queue for every method
    that is registered, and one for all others: so each kind of check waits in a queue of its own, and market data,
    operators and probes in one that checks cannot fill. (Registering all of them would be dearer: grpc.aio looks at
    every queue whenever an RPC has come.)
    """

    def __init__(self, server: aio.Server, admission: Admission) -> None:
        self._server = server
        self._admission = admission

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Take the methods of services."""
        self._server.add_generic_rpc_handlers(tuple(_Methods(handler, self._admission) for handler in handlers))

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Take the methods by which closures and orders are checked."""
        paths = {name: f"/{service}/{name}" for name in handlers}
        checks = {
            name: _guard(handler, paths[name], self._admission)
            for name, handler in handlers.items()
            if ROLES.get(paths[name]) is Role.LIQUIDATOR
        }
        self._server.add_registered_method_handlers(service, checks)


class _Methods(grpc.GenericRpcHandler):
    """The methods of some services, guarded. (An interceptor would do the same work again for every RPC.)"""

    def __init__(self, methods: grpc.GenericRpcHandler, admission: Admission) -> None:
        self._methods = methods
        self._admission = admission
        self._guarded: dict[str, Handler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return the handler of the method, guarded; it is made once."""
        method = handler_call_details.method
        guarded = self._guarded.get(method)
        if guarded is None:
            handler = self._methods.service(handler_call_details)
            if handler is None:
                return None
            guarded = self._guarded[method] = _guard(handler, method, self._admission)
        return guarded


def _guard(handler: Handler, method: str, admission: Admission) -> Handler:
    if method.startswith(LIBRARY_PREFIX):
        return _guard_library(handler, method, admission)
    decode: Any = handler.request_deserializer
    if handler.request_streaming:
        asked = _asked(handler.stream_stream, decode, method, admission)
        return grpc.stream_stream_rpc_method_handler(asked, None, _serializer(handler))
    behavior: Any = handler.unary_stream if handler.response_streaming else handler.unary_unary
    guarded = _guarded(behavior, decode, method, admission, streaming=handler.response_streaming)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(guarded, None, handler.response_serializer)
    return grpc.unary_unary_rpc_method_handler(guarded, None, _serializer(handler))


def _serializer(handler: Handler) -> Callable[[Any], bytes]:
    """Return what makes bytes of a response; a service may give the bytes themselves."""
    serialize: Any = handler.response_serializer

    def serialized(response: Any) -> bytes:
        data: bytes = response if isinstance(response, bytes) else serialize(response)
        return data

    return serialized


def _guarded(behavior: Behavior, decode: Decode, method: str, admission: Admission, *, streaming: bool) -> Behavior:
    """Return the behavior for undecoded requests, with its errors translated. Streams write to the context."""

    async def guarded(data: bytes, context: Context) -> Any:
        try:
            with admission.admitted(method, context, streaming=streaming) as caller:
                request = _decoded(data, decode)
                async with admission.turn(caller, method, request, context):
                    return await behavior(request, context)
        except asyncio.CancelledError:
            admission.cancelled(context)
            raise
        except Exception as error:  # noqa: BLE001 - the last resort: logged, and told as INTERNAL
            await _abort(_refusal(error, method), method, context, admission)

    return guarded


def _asked(behavior: Any, decode: Decode, method: str, admission: Admission) -> Behavior:
    """Return the behavior for a stream of undecoded requests, with its errors translated. It writes to the context."""

    async def asked(_: Any, context: Context) -> None:
        try:
            with admission.admitted(method, context, streaming=True) as caller:
                await behavior(Questions(context, decode, admission, caller, method), context)
        except Exception as error:  # noqa: BLE001 - the last resort: logged, and told as INTERNAL
            await _abort(_refusal(error, method), method, context, admission)

    return asked


class Questions:
    """The requests of a stream, decoded as they are read. Each is charged by itself."""

    def __init__(
        self, context: Context, decode: Decode, admission: Admission, caller: Caller | None, method: str
    ) -> None:
        self._context = context
        self._decode = decode
        self._admission = admission
        self._caller = caller
        self._method = method

    async def next(self) -> Any:
        """Return the next request; None after the last. Raise WireError for one that cannot be read."""
        data = await self._context.read()
        return None if data is aio.EOF else _decoded(data, self._decode)

    def charge(self, request: Any) -> None:
        """Charge one request to the caller's rate. Raise RefusalError if that is exceeded: the stream may go on."""
        self._admission.charge(self._caller, self._method, request)

    def refused(self, refusal: RefusalError) -> None:
        """Count and log a request that was refused."""
        self._admission.refused(refusal, self._method, self._context)


def _refusal(error: Exception, method: str) -> RefusalError:
    refusal = errors.refusal(error)
    if refusal is None:
        _log.error("rpc_failed", method=method, error=repr(error), exc_info=error)
        refusal = errors.defect()
    return refusal


def _guard_library(handler: Handler, method: str, admission: Admission) -> Handler:
    """Return a handler of gRPC's own with admission before it; it reports its errors itself."""
    behavior: Any = handler.stream_stream or handler.unary_stream or handler.unary_unary

    async def streaming(requests: Any, context: Context) -> AsyncIterator[Any]:
        try:
            with admission.admitted(method, context, streaming=True):
                async for response in behavior(requests, context):
                    yield response
        except RefusalError as refusal:
            await _abort(refusal, method, context, admission)

    async def single(request: Any, context: Context) -> Any:
        try:
            with admission.admitted(method, context, streaming=handler.response_streaming):
                return await behavior(request, context)
        except RefusalError as refusal:
            await _abort(refusal, method, context, admission)

    codec = (handler.request_deserializer, handler.response_serializer)
    if handler.request_streaming:
        return grpc.stream_stream_rpc_method_handler(streaming, *codec)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(single, *codec)
    return grpc.unary_unary_rpc_method_handler(single, *codec)


async def _abort(refusal: RefusalError, method: str, context: Context, admission: Admission) -> None:
    admission.refused(refusal, method, context)
    await context.abort(refusal.code, refusal.message, ((errors.DETAILS_KEY, refusal.details()),))


def _decoded(data: bytes, decode: Decode) -> Any:
    try:
        return decode(data)
    except DecodeError as error:
        expected = "the protobuf message of this method, with all text in UTF-8"
        raise WireError("request", f"{len(data)} bytes", expected) from error
