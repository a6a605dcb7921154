"""Which role each RPC needs. The one place: an RPC that is not listed is denied to everybody who is authenticated."""

from __future__ import annotations

from collections.abc import Collection

from circuit_guard.config.security import Role

_LIQUIDATOR, _PUBLISHER, _OPERATOR, _VIEWER = Role.LIQUIDATOR, Role.PUBLISHER, Role.OPERATOR, Role.VIEWER
_REFLECTION: dict[str, Role | None] = {"ServerReflectionInfo": _VIEWER}

_SERVICES: dict[str, dict[str, Role | None]] = {
    "circuit_guard.v1.LiquidationGuardService": {"CheckLiquidation": _LIQUIDATOR, "CheckLiquidations": _LIQUIDATOR},
    "circuit_guard.v1.OrderGuardService": {"CheckOrders": _LIQUIDATOR},
    "circuit_guard.v1.MarketDataService": {"PublishObservations": _PUBLISHER, "PublishReferences": _PUBLISHER},
    "circuit_guard.v1.AdminService": {
        "Halt": _OPERATOR,
        "Resume": _OPERATOR,
        "ResetBreaker": _OPERATOR,
        "SetPhase": _OPERATOR,
        "ReloadPolicy": _OPERATOR,
        "GetStatus": _VIEWER,
        "WatchEvents": _VIEWER,
    },
    "circuit_guard.v1.MaintenanceService": {
        "BeginMaintenance": _OPERATOR,
        "ValidateState": _OPERATOR,
        "EndMaintenance": _OPERATOR,
        "Rebaseline": _OPERATOR,
    },
    "envoy.service.auth.v3.Authorization": {"Check": _LIQUIDATOR},
    "grpc.health.v1.Health": {"Check": None, "List": None, "Watch": None},
    "grpc.reflection.v1alpha.ServerReflection": _REFLECTION,
}

ROLES = {f"/{service}/{rpc}": role for service, rpcs in _SERVICES.items() for rpc, role in rpcs.items()}
"""The role that each RPC needs; None: none, as the answer says nothing but whether the guard serves."""

INCLUDED = {Role.OPERATOR: frozenset({Role.VIEWER})}
"""What a role may do besides: whoever halts has to see."""


def may(roles: Collection[Role], needed: Role) -> bool:
    """Return whether somebody with these roles has the one that is needed."""
    return any(needed is role or needed in INCLUDED.get(role, ()) for role in roles)
