"""envoy.service.auth.v3.Authorization: may this request go on to the service behind Envoy? Needs the extra `envoy`."""

# ruff: noqa: N802 - the method is named as in Envoy's contract
from __future__ import annotations

from typing import Any

from envoy.service.auth.v3.external_auth_pb2_grpc import AuthorizationServicer

from circuit_guard.errors import WireError
from circuit_guard.server.convert.answers import MALFORMED_REQUEST, request_error
from circuit_guard.server.envoy import answers
from circuit_guard.server.envoy.mapping import SETTINGS, Mapping
from circuit_guard.server.envoy.places import is_grpc
from circuit_guard.server.interceptor import Context
from circuit_guard.server.services.liquidation import LiquidationGuardService
from circuit_guard.v1 import liquidation_pb2


class AuthorizationService(AuthorizationServicer):  # type: ignore[misc] # the extra has no types
    """Answers Envoy. Whatever it asks about is judged as a closure: a request that is none is denied."""

    def __init__(self, liquidations: LiquidationGuardService, mapping: Mapping) -> None:
        self._liquidations = liquidations
        self._mapping = mapping

    async def Check(self, request: Any, context: Context) -> Any:
        """Judge the closure that a request asks for."""
        http = request.attributes.request.http
        return answers.answer(await self._result(http), for_grpc=is_grpc(http))

    async def _result(self, http: Any) -> liquidation_pb2.LiquidationResult:
        try:
            check = self._mapping.check(http)
        except WireError as error:
            return liquidation_pb2.LiquidationResult(error=request_error(error, MALFORMED_REQUEST))
        result = await self._liquidations.result(check, "check")
        if result.error.field in SETTINGS:
            named = self._mapping.named(result.error.field)
            result.error.message = result.error.message.replace(result.error.field, named, 1)
            result.error.field = named
        return result
