"""Questions as they arrive, back in the words of whoever asked: for the fake guard."""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal

from circuit_guard.client import wire
from circuit_guard.client.questions import Account, Basis, Closure, Order, Position
from circuit_guard.v1 import liquidation_pb2, order_pb2

KINDS = {number: kind for kind, number in wire.KINDS.items()}
SIDES = {number: side for side, number in wire.SIDES.items()}
ACTIONS = {number: action for action, number in wire.ACTIONS.items()}


def closure(check: liquidation_pb2.LiquidationCheck) -> Closure:
    """Return the closure that a message asks about."""
    return Closure(
        market=check.market,
        account_id=check.account_id,
        size=Decimal(check.size),
        basis=Basis(mark_price=_decimal(check.basis.mark_price), funding_index=_decimal(check.basis.funding_index)),
        execution_price=_decimal(check.execution_price),
        kind=KINDS[check.kind],
        account=_account(check.account) if check.HasField("account") else None,
        request_id=check.request_id,
    )


def order(message: order_pb2.Order) -> Order:
    """Return the order that a message asks about."""
    return Order(
        order_id=message.order_id,
        market=message.market,
        side=SIDES[message.side],
        action=ACTIONS[message.action],
        price=_decimal(message.price),
        post_only=message.post_only,
        take_profit_or_stop_loss=message.take_profit_or_stop_loss,
        created_at=message.created_at.ToDatetime(UTC) if message.HasField("created_at") else None,
    )


def _account(message: liquidation_pb2.Account) -> Account:
    return Account(collateral=Decimal(message.collateral), positions=tuple(map(_position, message.positions)))


def _position(message: liquidation_pb2.Position) -> Position:
    return Position(
        market=message.market,
        size=Decimal(message.size),
        entry_price=Decimal(message.entry_price),
        cached_funding_index=Decimal(message.cached_funding_index),
        maintenance_margin_fraction=_decimal(message.maintenance_margin_fraction),
        maintenance_margin=_decimal(message.maintenance_margin),
    )


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None
