"""Questions as protobuf messages, and messages as answers. What is no answer to the question raises MalformedAnswer."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from circuit_guard.client.answers import (
    Answer,
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
from circuit_guard.client.questions import Account, CheckKind, Closure, Order, OrderAction, Position, Side
from circuit_guard.v1 import liquidation_pb2, order_pb2, types_pb2

KINDS = {
    CheckKind.LIQUIDATION: liquidation_pb2.CHECK_KIND_LIQUIDATION,
    CheckKind.AUTO_DELEVERAGE: liquidation_pb2.CHECK_KIND_AUTO_DELEVERAGE,
    CheckKind.INSURANCE_TRANSFER: liquidation_pb2.CHECK_KIND_INSURANCE_TRANSFER,
    CheckKind.TRIGGER: liquidation_pb2.CHECK_KIND_TRIGGER,
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

VERDICTS = {
    types_pb2.VERDICT_ALLOW: Verdict.ALLOW,
    types_pb2.VERDICT_DENY: Verdict.DENY,
}
SEVERITIES = {
    types_pb2.SEVERITY_WARN: Severity.WARN,
    types_pb2.SEVERITY_DENY: Severity.DENY,
    types_pb2.SEVERITY_TRIP: Severity.TRIP,
    types_pb2.SEVERITY_LATCH: Severity.LATCH,
}
LIFTS = {
    types_pb2.LIFTED_BY_FRESH_DATA: LiftedBy.FRESH_DATA,
    types_pb2.LIFTED_BY_EVIDENCE: LiftedBy.EVIDENCE,
    types_pb2.LIFTED_BY_EXCHANGE: LiftedBy.EXCHANGE,
    types_pb2.LIFTED_BY_CALLER: LiftedBy.CALLER,
    types_pb2.LIFTED_BY_OPERATOR: LiftedBy.OPERATOR,
}
PHASES = {
    types_pb2.PHASE_OPEN: Phase.OPEN,
    types_pb2.PHASE_POST_ONLY: Phase.POST_ONLY,
    types_pb2.PHASE_CANCEL_ONLY: Phase.CANCEL_ONLY,
    types_pb2.PHASE_MAINTENANCE: Phase.MAINTENANCE,
    types_pb2.PHASE_RECOVERING: Phase.RECOVERING,
}
BREAKER_STATES = {
    types_pb2.BREAKER_STATE_CLOSED: BreakerState.CLOSED,
    types_pb2.BREAKER_STATE_OPEN: BreakerState.OPEN,
    types_pb2.BREAKER_STATE_HALF_OPEN: BreakerState.HALF_OPEN,
}
EXPLANATIONS = {
    liquidation_pb2.EXPLANATION_EXPLAINED: Explanation.EXPLAINED,
    liquidation_pb2.EXPLANATION_UNEXPLAINED: Explanation.UNEXPLAINED,
    liquidation_pb2.EXPLANATION_INDETERMINATE: Explanation.INDETERMINATE,
    liquidation_pb2.EXPLANATION_NOT_EVALUATED: Explanation.NOT_EVALUATED,
}


class MalformedAnswer(Exception):
    """What came back is no answer to the question; the message says what is wrong with it, for a person."""


def check(closure: Closure) -> liquidation_pb2.LiquidationCheck:
    """Return a question as it is sent."""
    return liquidation_pb2.LiquidationCheck(
        request_id=closure.request_id or "",
        account_id=closure.account_id,
        market=closure.market,
        size=str(closure.size),
        kind=KINDS[closure.kind],
        execution_price=_text(closure.execution_price),
        basis=liquidation_pb2.Basis(
            mark_price=_text(closure.basis.mark_price), funding_index=_text(closure.basis.funding_index)
        ),
        account=None if closure.account is None else _account(closure.account),
    )


def order(asked: Order) -> order_pb2.Order:
    """Return an order as it is sent."""
    message = order_pb2.Order(
        order_id=asked.order_id,
        market=asked.market,
        side=SIDES[asked.side],
        action=ACTIONS[asked.action],
        price=_text(asked.price),
        post_only=asked.post_only,
        take_profit_or_stop_loss=asked.take_profit_or_stop_loss,
    )
    if asked.created_at is not None:
        message.created_at.FromDatetime(asked.created_at)
    return message


def answer(decision: liquidation_pb2.LiquidationDecision, closure: Closure) -> Answer:
    """Return the decision about that closure. Raise MalformedAnswer where it is about another, or none at all."""
    _same("request_id", decision.request_id, closure.request_id or "")
    _same("market", decision.market, closure.market)
    _same("account_id", decision.account_id, closure.account_id)
    verdict = _verdict(decision.verdict)
    loss = _explained_loss(decision.explained_loss) if decision.HasField("explained_loss") else None
    return Answer(
        market=closure.market,
        verdict=verdict,
        source=Source.GUARD,
        outcome=_outcome(verdict),
        explanation=decision.explanation,
        findings=_findings(decision.findings),
        lifted_by=LIFTS.get(decision.lifted_by),
        ask_again_after=_duration(decision.ask_again_after) if decision.HasField("ask_again_after") else None,
        request_id=decision.request_id,
        account_id=closure.account_id,
        kind=closure.kind,
        decision_id=decision.decision_id,
        shadow_verdict=VERDICTS.get(decision.shadow_verdict),
        explained_loss=loss,
        phase=PHASES.get(decision.phase),
        breaker=BREAKER_STATES.get(decision.breaker),
        policy_revision=decision.policy_revision,
        decided_at=_time(decision.decided_at) if decision.HasField("decided_at") else None,
        repeated=decision.repeated,
    )


def order_answer(judgement: order_pb2.OrderJudgement, asked: Order) -> OrderAnswer:
    """Return the judgement of that order. Raise MalformedAnswer where it is of another, or none at all."""
    _same("order_id", judgement.order_id, asked.order_id)
    _same("market", judgement.market, asked.market)
    verdict = _verdict(judgement.verdict)
    return OrderAnswer(
        market=asked.market,
        verdict=verdict,
        source=Source.GUARD,
        outcome=_outcome(verdict),
        explanation=judgement.explanation,
        findings=_findings(judgement.findings),
        lifted_by=LIFTS.get(judgement.lifted_by),
        ask_again_after=_duration(judgement.ask_again_after) if judgement.HasField("ask_again_after") else None,
        order_id=asked.order_id,
        judged_at=_time(judgement.judged_at) if judgement.HasField("judged_at") else None,
    )


def _account(held: Account) -> liquidation_pb2.Account:
    return liquidation_pb2.Account(collateral=str(held.collateral), positions=map(_position, held.positions))


def _position(position: Position) -> liquidation_pb2.Position:
    return liquidation_pb2.Position(
        market=position.market,
        size=str(position.size),
        entry_price=str(position.entry_price),
        cached_funding_index=str(position.cached_funding_index),
        maintenance_margin_fraction=_text(position.maintenance_margin_fraction),
        maintenance_margin=_text(position.maintenance_margin),
    )


def _text(value: Decimal | None) -> str:
    """Return a decimal as text; None is empty, which means "not given"."""
    return "" if value is None else str(value)


def _same(field: str, answered: str, asked: str) -> None:
    if answered != asked:
        raise MalformedAnswer(f"its {field} was {answered!r:.80}, expected {asked!r}: it answers another question")


def _verdict(number: types_pb2.Verdict) -> Verdict:
    verdict = VERDICTS.get(number)
    if verdict is None:
        raise MalformedAnswer(f"its verdict was {number}, expected 1 (ALLOW) or 2 (DENY)")
    return verdict


def _outcome(verdict: Verdict) -> Outcome:
    return Outcome.ALLOW if verdict is Verdict.ALLOW else Outcome.DENY


def _findings(found: Iterable[types_pb2.Finding]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            reason=one.reason,
            rule=one.rule,
            severity=SEVERITIES.get(one.severity),
            subject=one.subject,
            observed=one.observed,
            limit=one.limit,
            sentence=one.sentence,
            shadow=one.shadow,
            lifted_by=LIFTS.get(one.lifted_by),
            ask_again_after=_duration(one.ask_again_after) if one.HasField("ask_again_after") else None,
        )
        for one in found
    )


def _explained_loss(loss: liquidation_pb2.ExplainedLoss) -> ExplainedLoss:
    return ExplainedLoss(
        verdict=EXPLANATIONS.get(loss.verdict),
        low=_decimal("explained_loss.low", loss.low),
        high=_decimal("explained_loss.high", loss.high),
        unknown_markets=tuple(loss.unknown_markets),
    )


def _decimal(field: str, text: str) -> Decimal | None:
    try:
        return Decimal(text) if text else None
    except InvalidOperation as error:
        raise MalformedAnswer(f"its {field} was {text!r:.80}, expected a decimal") from error


def _duration(message: Duration) -> timedelta:
    try:
        return message.ToTimedelta()
    except (ValueError, OverflowError) as error:
        raise MalformedAnswer(f"its ask_again_after was {message.seconds} s, expected a duration") from error


def _time(message: Timestamp) -> datetime:
    try:
        return message.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise MalformedAnswer(f"its time was {message.seconds} s, expected one of the years 1 to 9999") from error
