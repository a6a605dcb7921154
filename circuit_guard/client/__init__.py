"""The client of circuit_guard: ask before each forced closure, and get a verdict also when nobody answers.

It needs grpcio and protobuf and imports nothing of the guard itself. Middleware and the rest are modules of their own:
`server_interceptor`, `client_interceptor`, `metrics` (needs prometheus_client) and `testing`.
"""

from circuit_guard.client.answers import (
    Answer,
    BaseAnswer,
    BreakerState,
    ExplainedLoss,
    Explanation,
    Finding,
    LiftedBy,
    OrderAnswer,
    Outcome,
    Phase,
    Severity,
    Source,
    Verdict,
)
from circuit_guard.client.arguments import ArgumentError
from circuit_guard.client.base import Observer
from circuit_guard.client.client import AsyncGuardClient, GuardClient
from circuit_guard.client.connection import Tls
from circuit_guard.client.fail_policy import FailOpen
from circuit_guard.client.middleware import ClosureDenied, Mapped, RequestMapping, guarded
from circuit_guard.client.questions import Account, Asset, Basis, CheckKind, Closure, Order, OrderAction, Position, Side

__all__ = [
    "Account",
    "Answer",
    "ArgumentError",
    "Asset",
    "AsyncGuardClient",
    "BaseAnswer",
    "Basis",
    "BreakerState",
    "CheckKind",
    "Closure",
    "ClosureDenied",
    "ExplainedLoss",
    "Explanation",
    "FailOpen",
    "Finding",
    "GuardClient",
    "LiftedBy",
    "Mapped",
    "Observer",
    "Order",
    "OrderAction",
    "OrderAnswer",
    "Outcome",
    "Phase",
    "Position",
    "RequestMapping",
    "Severity",
    "Side",
    "Source",
    "Tls",
    "Verdict",
    "guarded",
]
