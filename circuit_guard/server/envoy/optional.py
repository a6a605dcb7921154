"""Answering Envoy is optional: its messages come from a package that only the extra `envoy` installs."""

from __future__ import annotations

from circuit_guard.config.envoy import ExtAuthzSettings
from circuit_guard.errors import Problem, SettingsError
from circuit_guard.server.envoy.mapping import Mapping
from circuit_guard.server.interceptor import Entrance
from circuit_guard.server.services.liquidation import LiquidationGuardService


def add_authorization(server: Entrance, liquidations: LiquidationGuardService, settings: ExtAuthzSettings) -> str:
    """Have the server answer Envoy through the service for liquidations, and return the name of what it serves.

    Raise SettingsError where the extra is not installed.
    """
    try:
        from envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc
    except ModuleNotFoundError as error:
        expected = f"the extra beside it, {error.name} is not installed: pip install 'circuit-guard[envoy]'"
        raise SettingsError("settings", [Problem("ext_authz.enabled", "true", expected)]) from error
    from circuit_guard.server.envoy.service import AuthorizationService

    service = AuthorizationService(liquidations, Mapping(settings))
    external_auth_pb2_grpc.add_AuthorizationServicer_to_server(service, server)
    name: str = external_auth_pb2.DESCRIPTOR.services_by_name["Authorization"].full_name
    return name
