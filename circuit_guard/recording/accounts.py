"""The account of a check as JSON has it, in a recording and in a file of its own; read strictly, and written."""

from __future__ import annotations

from decimal import Decimal

from circuit_guard.core.inputs import Account, Position
from circuit_guard.recording import fields
from circuit_guard.recording.fields import JsonObject

FRACTION, AMOUNT = "maintenance_margin_fraction", "maintenance_margin"

_ACCOUNT_KEYS = frozenset({"collateral", "positions"})
_POSITION_KEYS = frozenset({"market", "size", "entry_price", "cached_funding_index", FRACTION, AMOUNT})


def read_account(body: JsonObject, where: str) -> Account:
    """Return the account that a JSON object spells; `where` is its path, empty for a document. Raises FieldError."""
    fields.refuse_unknown(body, _ACCOUNT_KEYS, where)
    collateral = fields.required_decimal(body, "collateral", where)
    positions = body.get("positions")
    if not isinstance(positions, list) or not all(isinstance(position, dict) for position in positions):
        fields.refuse(body, "positions", where, "a list of JSON objects")
    path = f"{where}.positions" if where else "positions"
    return Account(collateral, tuple(_position(one, f"{path}[{number}]") for number, one in enumerate(positions)))


def account_object(account: Account) -> JsonObject:
    """Return an account as `read_account` reads it."""
    return {"collateral": str(account.collateral), "positions": [_position_object(one) for one in account.positions]}


def margin_texts(position: Position) -> tuple[str | None, str | None]:
    """Return a position's maintenance margin as a fraction and as an amount; None for the one that is not given."""
    amount = str(position.maintenance_margin) if position.maintenance_margin else None
    fraction = position.maintenance_margin_fraction
    return str(fraction) if fraction or amount is None else None, amount


def _position(body: JsonObject, where: str) -> Position:
    fields.refuse_unknown(body, _POSITION_KEYS, where)
    fraction, amount = _margin(body, where)
    return Position(
        fields.required_name(body, "market", where),
        fields.required_size(body, "size", where),
        fields.required_decimal(body, "entry_price", where),
        fields.required_decimal(body, "cached_funding_index", where),
        fraction,
        amount,
    )


def _margin(body: JsonObject, where: str) -> tuple[Decimal, Decimal]:
    """Return the maintenance margin as a fraction and as an amount; one of them is given, the other is zero."""
    if FRACTION not in body and AMOUNT not in body:
        fields.refuse(body, FRACTION, where, f"a share of the notional from 0 to 1, or {AMOUNT} in its place")
    if FRACTION in body and AMOUNT in body:
        fields.refuse(body, AMOUNT, where, f"none where {FRACTION} is given")
    if AMOUNT in body:
        amount = fields.required_decimal(body, AMOUNT, where)
        if amount < 0:
            fields.refuse(body, AMOUNT, where, "an amount in quote currency, 0 or more")
        return Decimal(0), amount
    fraction = fields.required_decimal(body, FRACTION, where)
    if not 0 <= fraction <= 1:
        fields.refuse(body, FRACTION, where, "a share of the notional from 0 to 1")
    return fraction, Decimal(0)


def _position_object(position: Position) -> JsonObject:
    fraction, amount = margin_texts(position)
    margin = {FRACTION: fraction, AMOUNT: amount}
    return {
        "market": position.market,
        "size": str(position.size),
        "entry_price": str(position.entry_price),
        "cached_funding_index": str(position.cached_funding_index),
        **{key: text for key, text in margin.items() if text is not None},
    }
