"""The enumerations of the core and their numbers in the contract, where each name has a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from circuit_guard.core.inputs import OrderAction, Side
from circuit_guard.core.types import BreakerState, CheckKind, Explanation, Lift, Outcome, Phase, Severity, Verdict
from circuit_guard.v1 import liquidation_pb2, order_pb2, types_pb2

Member = TypeVar("Member", bound=Enum)
Number = TypeVar("Number", bound=int)


def _table(core: type[Member], contract: type[Number], prefix: str) -> dict[Member, Number]:
    numbers: Any = contract  # the stubs call it a class
    return {member: numbers.Value(f"{prefix}_{member.name}") for member in core}


VERDICTS = _table(Verdict, types_pb2.Verdict, "VERDICT")
SEVERITIES = _table(Severity, types_pb2.Severity, "SEVERITY")
LIFTS = _table(Lift, types_pb2.LiftedBy, "LIFTED_BY")
PHASES = _table(Phase, types_pb2.Phase, "PHASE")
BREAKER_STATES = _table(BreakerState, types_pb2.BreakerState, "BREAKER_STATE")
OUTCOMES = _table(Outcome, types_pb2.Outcome, "OUTCOME")
KINDS = _table(CheckKind, liquidation_pb2.CheckKind, "CHECK_KIND")
EXPLANATIONS = _table(Explanation, liquidation_pb2.Explanation, "EXPLANATION")
SIDES = _table(Side, order_pb2.OrderSide, "ORDER_SIDE")
ACTIONS = _table(OrderAction, order_pb2.OrderAction, "ORDER_ACTION")

OF_CONTRACT: dict[str, Mapping[Any, int]] = {
    "Verdict": VERDICTS,
    "Severity": SEVERITIES,
    "LiftedBy": LIFTS,
    "Phase": PHASES,
    "BreakerState": BREAKER_STATES,
    "Outcome": OUTCOMES,
    "CheckKind": KINDS,
    "Explanation": EXPLANATIONS,
}
"""By the name in the contract."""
