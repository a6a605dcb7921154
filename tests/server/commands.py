"""Operators' commands to start from."""

from __future__ import annotations

from typing import Any

from circuit_guard.v1 import admin_pb2, maintenance_pb2, types_pb2
from tests.driver import BTC
from tests.server.harness import Harness

ACT = {"actor": "alice", "reason": "looking into it"}


def halt(**changes: Any) -> admin_pb2.HaltRequest:
    return admin_pb2.HaltRequest(**({"scopes": [BTC]} | ACT | changes))


def resume(**changes: Any) -> admin_pb2.ResumeRequest:
    return admin_pb2.ResumeRequest(**({"scopes": [BTC]} | ACT | changes))


def reset(**changes: Any) -> admin_pb2.ResetBreakerRequest:
    return admin_pb2.ResetBreakerRequest(**({"scopes": [BTC]} | ACT | changes))


def set_phase(**changes: Any) -> admin_pb2.SetPhaseRequest:
    fields: dict[str, Any] = {"phase": types_pb2.PHASE_POST_ONLY, "scopes": [BTC]}
    return admin_pb2.SetPhaseRequest(**(fields | ACT | changes))


def reload_policy(**changes: Any) -> admin_pb2.ReloadPolicyRequest:
    return admin_pb2.ReloadPolicyRequest(**(ACT | changes))


def begin(**changes: Any) -> maintenance_pb2.BeginMaintenanceRequest:
    return maintenance_pb2.BeginMaintenanceRequest(**(ACT | changes))


def end(**changes: Any) -> maintenance_pb2.EndMaintenanceRequest:
    return maintenance_pb2.EndMaintenanceRequest(**(ACT | changes))


def rebaseline(**changes: Any) -> maintenance_pb2.RebaselineRequest:
    return maintenance_pb2.RebaselineRequest(**(ACT | changes))


def validate(*rows: maintenance_pb2.StateRow, **changes: Any) -> maintenance_pb2.ValidateStateRequest:
    return maintenance_pb2.ValidateStateRequest(**({"actor": "deploy", "rows": rows} | changes))


def baseline(market: str = BTC, funding_index: str = "20500") -> maintenance_pb2.Baseline:
    return maintenance_pb2.Baseline(market=market, funding_index=funding_index)


def row(guard: Harness, **changes: Any) -> maintenance_pb2.StateRow:
    """Return the row of a market whose state is as it was, changed; a change to None leaves the field out."""
    fields: dict[str, Any] = {
        "market": BTC,
        "event_time": guard.time(),
        "mark_price": "92600",
        "index_price": "92600",
        "funding_index": "20511",
    }
    return maintenance_pb2.StateRow(**(fields | changes))


def call(guard: Harness, request: Any) -> Any:
    methods = {
        admin_pb2.HaltRequest: guard.admin.Halt,
        admin_pb2.ResumeRequest: guard.admin.Resume,
        admin_pb2.ResetBreakerRequest: guard.admin.ResetBreaker,
        admin_pb2.SetPhaseRequest: guard.admin.SetPhase,
        admin_pb2.ReloadPolicyRequest: guard.admin.ReloadPolicy,
        maintenance_pb2.BeginMaintenanceRequest: guard.maintenance.BeginMaintenance,
        maintenance_pb2.ValidateStateRequest: guard.maintenance.ValidateState,
        maintenance_pb2.EndMaintenanceRequest: guard.maintenance.EndMaintenance,
        maintenance_pb2.RebaselineRequest: guard.maintenance.Rebaseline,
    }
    return methods[type(request)](request)
