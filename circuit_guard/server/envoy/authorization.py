"""envoy.service.auth.v3.Authorization: may this request go on to the service behind Envoy? Needs the extra `envoy`."""

# ruff: noqa: N802 - the method is named as in Envoy's contract
from __future__ import annotations

import base64
import math
from typing import Any

import grpc
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.service.auth.v3.external_auth_pb2 import CheckResponse, DeniedHttpResponse, OkHttpResponse
from envoy.service.auth.v3.external_auth_pb2_grpc import AuthorizationServicer
from envoy.type.v3.http_status_pb2 import HttpStatus
from google.protobuf.json_format import MessageToJson
from google.rpc.status_pb2 import Status

from circuit_guard.errors import WireError
from circuit_guard.server.convert.answers import request_error
from circuit_guard.server.envoy.mapping import SETTINGS, Mapping, is_grpc
from circuit_guard.server.errors import DETAILS_KEY, RefusalError
from circuit_guard.server.security.access import Context
from circuit_guard.server.services.liquidation import LiquidationGuardService
from circuit_guard.v1 import liquidation_pb2, types_pb2

CLOSURE_DENIED = "CLOSURE_DENIED"
"""ErrorInfo.reason of a DENY, as the client's interceptors have it."""

FORBIDDEN = 403
"""Envoy makes PERMISSION_DENIED of it for a gRPC call."""

DECISION_HEADER = "x-circuit-guard-decision"
DECIDED_HEADER = "x-circuit-guard-decided-at"
"""When, RFC 3339: a service that lets requests wait can tell that an ALLOW has grown old."""
REASONS_HEADER = "x-circuit-guard-reasons"
RETRY_HEADER = "retry-after"

Response = Any
"""envoy.service.auth.v3.CheckResponse: it comes from an extra, and without types."""


class AuthorizationService(AuthorizationServicer):  # type: ignore[misc] # the extra has no types
    """Answers Envoy. Every request is judged as a closure: one that is not a closure is denied."""

    def __init__(self, liquidations: LiquidationGuardService, mapping: Mapping) -> None:
        self._liquidations = liquidations
        self._mapping = mapping

    async def Check(self, request: Any, context: Context) -> Any:
        """Judge the closure that a request asks for."""
        http = request.attributes.request.http
        return _answer(await self._result(http), for_grpc=is_grpc(http))

    async def _result(self, http: Any) -> liquidation_pb2.LiquidationResult:
        try:
            check = self._mapping.check(http)
        except WireError as error:
            return liquidation_pb2.LiquidationResult(error=request_error(error))
        result = await self._liquidations.result(check, "check")
        if result.error.field in SETTINGS:
            named = self._mapping.named(result.error.field)
            result.error.message = result.error.message.replace(result.error.field, named, 1)
            result.error.field = named
        return result


def _answer(result: liquidation_pb2.LiquidationResult, *, for_grpc: bool) -> Response:
    """Return the answer for a request: it goes on only where the decision is ALLOW.

    The caller of a denied HTTP request gets the result as JSON; of a gRPC call a status with ErrorInfo, and RetryInfo
    where asking again can help.
    """
    if result.decision.verdict == types_pb2.VERDICT_ALLOW:
        return _allowed(result.decision)
    refusal = _refusal(result)
    headers = {**_headers(result), **({} if refusal.retry_after_s is None else _retry(refusal.retry_after_s))}
    if for_grpc:
        body = refusal.message
        headers[DETAILS_KEY] = base64.b64encode(refusal.details()).decode()
    else:
        body = MessageToJson(result, preserving_proto_field_name=True, indent=None) + "\n"
        headers["content-type"] = "application/json"
    denied = DeniedHttpResponse(status=HttpStatus(code=FORBIDDEN), headers=_options(headers), body=body)
    return CheckResponse(status=Status(code=refusal.code.value[0], message=refusal.message), denied_response=denied)


def _allowed(decision: liquidation_pb2.LiquidationDecision) -> Response:
    """Return the answer that lets a request through, with the decision's id and time for the service and the caller."""
    decided_at = decision.decided_at.ToJsonString()
    options = _options({DECISION_HEADER: decision.decision_id, DECIDED_HEADER: decided_at})
    return CheckResponse(status=Status(), ok_response=OkHttpResponse(headers=options, response_headers_to_add=options))


def _refusal(result: liquidation_pb2.LiquidationResult) -> RefusalError:
    code, decision, error = grpc.StatusCode.PERMISSION_DENIED, result.decision, result.error
    if result.HasField("error"):
        metadata = {"field": error.field, "value": error.value, "expected": error.expected}
        return RefusalError(error.reason, error.message, metadata, code=code)
    metadata = {
        "market": decision.market,
        "request_id": decision.request_id,
        "decision_id": decision.decision_id,
        "reasons": ",".join(_reasons(decision)),
        "lifted_by": types_pb2.LiftedBy.Name(decision.lifted_by).removeprefix("LIFTED_BY_"),
    }
    after = decision.ask_again_after.ToTimedelta().total_seconds() if decision.HasField("ask_again_after") else None
    return RefusalError(CLOSURE_DENIED, decision.explanation, metadata, after, code)


def _reasons(decision: liquidation_pb2.LiquidationDecision) -> list[str]:
    """Return the reasons that denied, each once."""
    denying = (found for found in decision.findings if found.severity >= types_pb2.SEVERITY_DENY and not found.shadow)
    return list(dict.fromkeys(found.reason for found in denying))


def _headers(result: liquidation_pb2.LiquidationResult) -> dict[str, str]:
    if result.HasField("error"):
        return {REASONS_HEADER: result.error.reason}
    return {DECISION_HEADER: result.decision.decision_id, REASONS_HEADER: ",".join(_reasons(result.decision))}


def _retry(after_s: float) -> dict[str, str]:
    """Return when to ask again, in whole seconds: earlier would be in vain."""
    return {RETRY_HEADER: str(max(1, math.ceil(after_s)))}


def _options(headers: dict[str, str]) -> list[Any]:
    """Return headers for Envoy; one that the request or the response already has is overwritten."""
    overwrite = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    return [
        HeaderValueOption(header=HeaderValue(key=key, value=value), append_action=overwrite)
        for key, value in headers.items()
    ]
