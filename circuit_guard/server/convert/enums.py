"""The enumerations of the core and of the contract, each a table, core first."""

from __future__ import annotations

from circuit_guard.core.inputs import OrderAction, Side
from circuit_guard.core.types import BreakerState, CheckKind, Explanation, Lift, Outcome, Phase, Severity, Verdict
from circuit_guard.v1 import liquidation_pb2, order_pb2, types_pb2

VERDICTS = {
    Verdict.ALLOW: types_pb2.VERDICT_ALLOW,
    Verdict.DENY: types_pb2.VERDICT_DENY,
}
SEVERITIES = {
    Severity.WARN: types_pb2.SEVERITY_WARN,
    Severity.DENY: types_pb2.SEVERITY_DENY,
    Severity.TRIP: types_pb2.SEVERITY_TRIP,
    Severity.LATCH: types_pb2.SEVERITY_LATCH,
}
LIFTS = {
    Lift.FRESH_DATA: types_pb2.LIFTED_BY_FRESH_DATA,
    Lift.EVIDENCE: types_pb2.LIFTED_BY_EVIDENCE,
    Lift.EXCHANGE: types_pb2.LIFTED_BY_EXCHANGE,
    Lift.CALLER: types_pb2.LIFTED_BY_CALLER,
    Lift.OPERATOR: types_pb2.LIFTED_BY_OPERATOR,
}
"""In the order of how hard a denial is to lift, and so are the numbers."""
PHASES = {
    Phase.OPEN: types_pb2.PHASE_OPEN,
    Phase.POST_ONLY: types_pb2.PHASE_POST_ONLY,
    Phase.CANCEL_ONLY: types_pb2.PHASE_CANCEL_ONLY,
    Phase.MAINTENANCE: types_pb2.PHASE_MAINTENANCE,
    Phase.RECOVERING: types_pb2.PHASE_RECOVERING,
}
BREAKER_STATES = {
    BreakerState.CLOSED: types_pb2.BREAKER_STATE_CLOSED,
    BreakerState.OPEN: types_pb2.BREAKER_STATE_OPEN,
    BreakerState.HALF_OPEN: types_pb2.BREAKER_STATE_HALF_OPEN,
}
KINDS = {
    CheckKind.LIQUIDATION: liquidation_pb2.CHECK_KIND_LIQUIDATION,
    CheckKind.AUTO_DELEVERAGE: liquidation_pb2.CHECK_KIND_AUTO_DELEVERAGE,
    CheckKind.INSURANCE_TRANSFER: liquidation_pb2.CHECK_KIND_INSURANCE_TRANSFER,
    CheckKind.TRIGGER: liquidation_pb2.CHECK_KIND_TRIGGER,
}
EXPLANATIONS = {
    Explanation.EXPLAINED: liquidation_pb2.EXPLANATION_EXPLAINED,
    Explanation.UNEXPLAINED: liquidation_pb2.EXPLANATION_UNEXPLAINED,
    Explanation.INDETERMINATE: liquidation_pb2.EXPLANATION_INDETERMINATE,
    Explanation.NOT_EVALUATED: liquidation_pb2.EXPLANATION_NOT_EVALUATED,
}
SIDES = {
    Side.BUY: order_pb2.ORDER_SIDE_BUY,
    Side.SELL: order_pb2.ORDER_SIDE_SELL,
}
ACTIONS = {
    OrderAction.NEW: order_pb2.ORDER_ACTION_NEW,
    OrderAction.MODIFY: order_pb2.ORDER_ACTION_MODIFY,
    OrderAction.RESTING: order_pb2.ORDER_ACTION_RESTING,
}
OUTCOMES = {
    Outcome.OK: types_pb2.OUTCOME_OK,
    Outcome.FUNDING_JUMP: types_pb2.OUTCOME_FUNDING_JUMP,
    Outcome.PRICE: types_pb2.OUTCOME_PRICE,
    Outcome.SWAPPED: types_pb2.OUTCOME_SWAPPED,
    Outcome.INVALID: types_pb2.OUTCOME_INVALID,
    Outcome.STALE: types_pb2.OUTCOME_STALE,
    Outcome.MISSING: types_pb2.OUTCOME_MISSING,
    Outcome.EXTRA: types_pb2.OUTCOME_EXTRA,
    Outcome.NO_BASELINE: types_pb2.OUTCOME_NO_BASELINE,
}
