"""Questions and answers as protobuf messages. A response that does not answer the question raises MalformedAnswer."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, TypeVar

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
from circuit_guard.client.questions import Account, Asset, Basis, CheckKind, Closure, Order, OrderAction, Position, Side
from circuit_guard.v1 import liquidation_pb2, order_pb2, types_pb2

Member = TypeVar("Member", bound=Enum)
Number = TypeVar("Number", bound=int)


def _numbers(kind: type[Member], contract: type[Number], prefix: str) -> dict[Member, Number]:
    """Return the number of each member: in the contract it has the same name, with a prefix."""
    numbers: Any = contract  # the stubs call it a class
    return {member: numbers.Value(f"{prefix}_{member.name}") for member in kind}


def _inverse(numbers: dict[Member, Number]) -> dict[Number, Member]:
    return {number: member for member, number in numbers.items()}


KINDS = _numbers(CheckKind, liquidation_pb2.CheckKind, "CHECK_KIND")
SIDES = _numbers(Side, order_pb2.OrderSide, "ORDER_SIDE")
ACTIONS = _numbers(OrderAction, order_pb2.OrderAction, "ORDER_ACTION")
LIFTS = _numbers(LiftedBy, types_pb2.LiftedBy, "LIFTED_BY")
_KINDS, _SIDES, _ACTIONS, _LIFTS = _inverse(KINDS), _inverse(SIDES), _inverse(ACTIONS), _inverse(LIFTS)
_VERDICTS = _inverse(_numbers(Verdict, types_pb2.Verdict, "VERDICT"))
_SEVERITIES = _inverse(_numbers(Severity, types_pb2.Severity, "SEVERITY"))
_PHASES = _inverse(_numbers(Phase, types_pb2.Phase, "PHASE"))
_BREAKER_STATES = _inverse(_numbers(BreakerState, types_pb2.BreakerState, "BREAKER_STATE"))
_EXPLANATIONS = _inverse(_numbers(Explanation, liquidation_pb2.Explanation, "EXPLANATION"))


class MalformedAnswer(Exception):
    """A response is not an answer to the question; the message says why."""


def check(closure: Closure) -> liquidation_pb2.LiquidationCheck:
    """Return a question as it is sent."""
    return liquidation_pb2.LiquidationCheck(**_fields(closure))


def order(asked: Order) -> order_pb2.Order:
    """Return an order as it is sent."""
    return order_pb2.Order(**_fields(asked))


def _fields(question: Closure | Order | Basis | Account | Position | Asset) -> dict[str, Any]:
    """Return the fields of a message, which have the same names; what is None is not given."""
    values = {field.name: getattr(question, field.name) for field in dataclasses.fields(question)}
    return {name: _written(value) for name, value in values.items() if value is not None}


def _written(value: object) -> Any:
    match value:
        case Decimal():
            return str(value)
        case CheckKind():
            return KINDS[value]
        case Side():
            return SIDES[value]
        case OrderAction():
            return ACTIONS[value]
        case Basis() | Account() | Position() | Asset():
            return _fields(value)
        case tuple():
            return list(map(_written, value))
        case _:
            return value


def answer(decision: liquidation_pb2.LiquidationDecision, closure: Closure) -> Answer:
    """Return the decision about that closure. Raise MalformedAnswer if it is about another, or is not a decision."""
    _same("request_id", decision.request_id, closure.request_id or "")
    _same("market", decision.market, closure.market)
    _same("account_id", decision.account_id, closure.account_id)
    return Answer(
        **_judged(decision),
        request_id=decision.request_id,
        account_id=closure.account_id,
        kind=closure.kind,
        decision_id=decision.decision_id,
        shadow_verdict=_VERDICTS.get(decision.shadow_verdict),
        explained_loss=_explained_loss(decision.explained_loss) if decision.HasField("explained_loss") else None,
        phase=_PHASES.get(decision.phase),
        breaker=_BREAKER_STATES.get(decision.breaker),
        policy_revision=decision.policy_revision,
        decided_at=_time(decision.decided_at) if decision.HasField("decided_at") else None,
        repeated=decision.repeated,
        age=_duration("age", decision.age) if decision.HasField("age") else None,
    )


def order_answer(judgement: order_pb2.OrderJudgement, asked: Order) -> OrderAnswer:
    """Return the judgement of that order. Raise MalformedAnswer if it is of another, or is not a judgement."""
    _same("order_id", judgement.order_id, asked.order_id)
    _same("market", judgement.market, asked.market)
    return OrderAnswer(
        **_judged(judgement),
        order_id=asked.order_id,
        judged_at=_time(judgement.judged_at) if judgement.HasField("judged_at") else None,
    )


def _same(field: str, answered: str, asked: str) -> None:
    if answered != asked:
        raise MalformedAnswer(f"its {field} was {answered!r:.80}, expected {asked!r}: it answers another question")


def _judged(message: liquidation_pb2.LiquidationDecision | order_pb2.OrderJudgement) -> dict[str, Any]:
    """Return what answers of both kinds have."""
    verdict = _VERDICTS.get(message.verdict)
    if verdict is None:
        raise MalformedAnswer(f"its verdict was {message.verdict}, expected 1 (ALLOW) or 2 (DENY)")
    return {
        "market": message.market,
        "verdict": verdict,
        "source": Source.GUARD,
        "outcome": Outcome.ALLOW if verdict is Verdict.ALLOW else Outcome.DENY,
        "explanation": message.explanation,
        "findings": tuple(map(_finding, message.findings)),
        **_lift(message),
    }


def _finding(found: types_pb2.Finding) -> Finding:
    return Finding(
        reason=found.reason,
        rule=found.rule,
        severity=_SEVERITIES.get(found.severity),
        subject=found.subject,
        observed=found.observed,
        limit=found.limit,
        sentence=found.sentence,
        shadow=found.shadow,
        **_lift(found),
    )


def _lift(
    message: liquidation_pb2.LiquidationDecision | order_pb2.OrderJudgement | types_pb2.Finding,
) -> dict[str, Any]:
    given = message.HasField("ask_again_after")
    wait = _duration("ask_again_after", message.ask_again_after) if given else None
    return {"lifted_by": _LIFTS.get(message.lifted_by), "ask_again_after": wait}


def _duration(field: str, message: Duration) -> timedelta:
    try:
        return message.ToTimedelta()
    except (ValueError, OverflowError) as error:
        raise MalformedAnswer(f"its {field} was {message.seconds} s, expected a duration") from error


def _explained_loss(loss: liquidation_pb2.ExplainedLoss) -> ExplainedLoss:
    return ExplainedLoss(
        verdict=_EXPLANATIONS.get(loss.verdict),
        low=_decimal("explained_loss.low", loss.low),
        high=_decimal("explained_loss.high", loss.high),
        unknown_markets=tuple(loss.unknown_markets),
    )


def _decimal(field: str, text: str) -> Decimal | None:
    try:
        return Decimal(text) if text else None
    except InvalidOperation as error:
        raise MalformedAnswer(f"its {field} was {text!r:.80}, expected a decimal") from error


def _time(message: Timestamp) -> datetime:
    try:
        return message.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise MalformedAnswer(f"its time was {message.seconds} s, expected one of the years 1 to 9999") from error


def closure_of(check: liquidation_pb2.LiquidationCheck) -> Closure:
    """Return the closure that a message asks about; for the fake guard."""
    return Closure(
        market=check.market,
        account_id=check.account_id,
        size=Decimal(check.size),
        basis=Basis(mark_price=_given(check.basis.mark_price), funding_index=_given(check.basis.funding_index)),
        execution_price=_given(check.execution_price),
        kind=_KINDS[check.kind],
        account=_account_of(check.account) if check.HasField("account") else None,
        request_id=check.request_id,
        judge_anew=check.judge_anew,
    )


def order_of(message: order_pb2.Order) -> Order:
    """Return the order that a message asks about; for the fake guard."""
    return Order(
        order_id=message.order_id,
        market=message.market,
        side=_SIDES[message.side],
        action=_ACTIONS[message.action],
        price=_given(message.price),
        post_only=message.post_only,
        take_profit_or_stop_loss=message.take_profit_or_stop_loss,
        created_at=message.created_at.ToDatetime(UTC) if message.HasField("created_at") else None,
    )


def _account_of(message: liquidation_pb2.Account) -> Account:
    positions = tuple(
        Position(
            market=held.market,
            size=Decimal(held.size),
            entry_price=Decimal(held.entry_price),
            cached_funding_index=Decimal(held.cached_funding_index),
            maintenance_margin_fraction=_given(held.maintenance_margin_fraction),
            maintenance_margin=_given(held.maintenance_margin),
        )
        for held in message.positions
    )
    assets = tuple(
        Asset(market=owned.market, quantity=Decimal(owned.quantity), haircut=_given(owned.haircut))
        for owned in message.assets
    )
    return Account(collateral=Decimal(message.collateral), positions=positions, assets=assets)


def _given(text: str) -> Decimal | None:
    return Decimal(text) if text else None
