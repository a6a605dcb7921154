"""The one place where errors become gRPC statuses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc import aio

from circuit_guard.errors import WireError
from circuit_guard.server import errors

SERVICES_PREFIX = "/circuit_guard."

_log = structlog.get_logger(__name__)

Context = aio.ServicerContext[Any, Any]
Behavior = Callable[[Any, Context], Awaitable[Any]]
Decode = Callable[[bytes], Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class ErrorInterceptor(aio.ServerInterceptor):
    """Turns every error of a service of ours into a status with ErrorInfo. A defect is logged and not explained."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the handler of the method, guarded."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(SERVICES_PREFIX):
            return handler
        decode: Any = handler.request_deserializer
        behavior: Any = handler.unary_stream if handler.response_streaming else handler.unary_unary
        guarded = _guarded(behavior, decode, method)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(guarded, None, handler.response_serializer)
        return grpc.unary_unary_rpc_method_handler(guarded, None, handler.response_serializer)


def _guarded(behavior: Behavior, decode: Decode, method: str) -> Behavior:
    """Return the behavior on undecoded requests, with its errors translated. Streams write to the context."""

    async def guarded(data: bytes, context: Context) -> Any:
        try:
            return await behavior(_decoded(data, decode), context)
        except Exception as error:  # noqa: BLE001 - the last resort: logged, and told as INTERNAL
            refusal = errors.refusal(error)
            if refusal is None:
                _log.error("rpc_failed", method=method, error=repr(error), exc_info=error)
                refusal = errors.defect()
            await context.abort(refusal.code, refusal.message, ((errors.DETAILS_KEY, refusal.details()),))

    return guarded


def _decoded(data: bytes, decode: Decode) -> Any:
    try:
        return decode(data)
    except DecodeError as error:
        expected = "the protobuf message of this method, with all text in UTF-8"
        raise WireError("request", f"{len(data)} bytes", expected) from error
