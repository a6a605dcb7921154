"""Operators' commands to start from."""

from __future__ import annotations

from typing import Any

from circuit_guard.v1 import admin_pb2, types_pb2
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


def call(guard: Harness, request: Any) -> Any:
    methods = {
        admin_pb2.HaltRequest: guard.admin.Halt,
        admin_pb2.ResumeRequest: guard.admin.Resume,
        admin_pb2.ResetBreakerRequest: guard.admin.ResetBreaker,
        admin_pb2.SetPhaseRequest: guard.admin.SetPhase,
        admin_pb2.ReloadPolicyRequest: guard.admin.ReloadPolicy,
    }
    return methods[type(request)](request)
