"""Questions to the guard: closures and orders. Each is checked when it is made; a bad one raises ArgumentError.

Prices and funding indices are Decimal in quote currency per 1 base unit; None means "not given" and never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from circuit_guard.client import arguments
from circuit_guard.client.arguments import ArgumentError

POSITIONS_MAX = 1_000
ASSETS_MAX = 100


class CheckKind(StrEnum):
    """The kind of forced closure. Wrong data harms through each of them."""

    LIQUIDATION = "LIQUIDATION"
    AUTO_DELEVERAGE = "AUTO_DELEVERAGE"
    INSURANCE_TRANSFER = "INSURANCE_TRANSFER"
    TRIGGER = "TRIGGER"
    SETTLEMENT = "SETTLEMENT"


class Side(StrEnum):
    """The side of an order."""

    BUY = "BUY"
    SELL = "SELL"


class OrderAction(StrEnum):
    """What is about to happen to an order; RESTING asks whether it may stay in the book."""

    NEW = "NEW"
    MODIFY = "MODIFY"
    RESTING = "RESTING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """The values that you computed with; the guard judges them even where its own feed looks clean."""

    mark_price: Decimal | None = None
    funding_index: Decimal | None = None

    def __post_init__(self) -> None:
        arguments.optional_decimal("Basis.mark_price", self.mark_price)
        arguments.optional_decimal("Basis.funding_index", self.funding_index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One position of the account: its signed size in base units, entry price, and the funding index last settled with.

    The maintenance margin is given either as a fraction of the notional value or as an amount in quote currency.
    """

    market: str
    size: Decimal
    entry_price: Decimal
    cached_funding_index: Decimal
    maintenance_margin_fraction: Decimal | None = None
    maintenance_margin: Decimal | None = None

    def __post_init__(self) -> None:
        arguments.market("Position.market", self.market)
        arguments.size("Position.size", self.size)
        arguments.decimal("Position.entry_price", self.entry_price)
        arguments.decimal("Position.cached_funding_index", self.cached_funding_index)
        fraction, amount = self.maintenance_margin_fraction, self.maintenance_margin
        if fraction is not None:
            arguments.fraction("Position.maintenance_margin_fraction", fraction)
        elif amount is None:
            expected = "a fraction from 0 to 1, or maintenance_margin in quote currency in its place"
            raise ArgumentError("Position.maintenance_margin_fraction", fraction, expected)
        if amount is not None:
            arguments.amount("Position.maintenance_margin", amount)
            if fraction is not None:
                expected = "None where maintenance_margin_fraction is given"
                raise ArgumentError("Position.maintenance_margin", amount, expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """Collateral that is not quote currency: so many base units of a market, which the guard values at its mark price.

    `haircut` is the fraction of the value that does not count, from 0 to 1.
    """

    market: str
    quantity: Decimal
    haircut: Decimal | None = None

    def __post_init__(self) -> None:
        arguments.market("Asset.market", self.market)
        arguments.decimal("Asset.quantity", self.quantity)
        if self.quantity <= 0:
            raise ArgumentError("Asset.quantity", self.quantity, "a quantity in base units, more than 0")
        if self.haircut is not None:
            arguments.fraction("Asset.haircut", self.haircut)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account as its exchange sees it: collateral in quote currency, and all open positions.

    At most one long and one short per market, as in hedge mode. What stands in `assets` is left out of `collateral`:
    the guard values it, and believes `collateral` as it is given.
    """

    collateral: Decimal
    positions: tuple[Position, ...]
    assets: tuple[Asset, ...] = ()

    def __post_init__(self) -> None:
        arguments.decimal("Account.collateral", self.collateral)
        arguments.instance("Account.positions", self.positions, tuple)
        if len(self.positions) > POSITIONS_MAX:
            raise ArgumentError("Account.positions", len(self.positions), f"at most {POSITIONS_MAX} positions")
        seen: set[tuple[str, bool]] = set()
        for number, position in enumerate(self.positions):
            arguments.instance(f"Account.positions[{number}]", position, Position)
            if (side := (position.market, position.size > 0)) in seen:
                expected = "at most one long and one short per market"
                raise ArgumentError(f"Account.positions[{number}].market", position.market, expected)
            seen.add(side)
        arguments.instance("Account.assets", self.assets, tuple)
        if len(self.assets) > ASSETS_MAX:
            raise ArgumentError("Account.assets", len(self.assets), f"at most {ASSETS_MAX} assets")
        for number, asset in enumerate(self.assets):
            arguments.instance(f"Account.assets[{number}]", asset, Asset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """One forced closure to ask about.

    `size` is the closing trade in base units, signed: a long is closed by a sell, so its size is negative.
    `execution_price` None means at mark, so the mark is judged. With `account` the guard can also say whether
    admissible values explain the account's loss.

    `request_id` None: each call asks a new question under an id of its own. Given: the guard answers the same id with
    the same decision for as long as it remembers it, also when the data have changed since; give one only where you
    must be able to repeat one and the same question, and a new one for each new try.

    `judge_anew`: an ALLOW that the `request_id` was given before is not repeated, but judged on what is true now. The
    interceptors and `@guarded` always ask like that.
    """

    market: str
    account_id: str
    size: Decimal
    basis: Basis = Basis()
    execution_price: Decimal | None = None
    kind: CheckKind = CheckKind.LIQUIDATION
    account: Account | None = None
    request_id: str | None = None
    judge_anew: bool = False

    def __post_init__(self) -> None:
        arguments.market("Closure.market", self.market)
        arguments.name("Closure.account_id", self.account_id)
        arguments.size("Closure.size", self.size)
        arguments.instance("Closure.basis", self.basis, Basis)
        arguments.optional_decimal("Closure.execution_price", self.execution_price)
        arguments.choice("Closure.kind", self.kind, CheckKind)
        if self.account is not None:
            arguments.instance("Closure.account", self.account, Account)
        if self.request_id is not None:
            arguments.name("Closure.request_id", self.request_id)
        arguments.instance("Closure.judge_anew", self.judge_anew, bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order to ask about. `price` None is a market order; `created_at` None is not known."""

    order_id: str
    market: str
    side: Side
    action: OrderAction
    price: Decimal | None = None
    post_only: bool = False
    take_profit_or_stop_loss: bool = False
    created_at: datetime | None = None

    def __post_init__(self) -> None:
        arguments.name("Order.order_id", self.order_id)
        arguments.market("Order.market", self.market)
        arguments.choice("Order.side", self.side, Side)
        arguments.choice("Order.action", self.action, OrderAction)
        arguments.optional_decimal("Order.price", self.price)
        arguments.instance("Order.post_only", self.post_only, bool)
        arguments.instance("Order.take_profit_or_stop_loss", self.take_profit_or_stop_loss, bool)
        if self.created_at is not None:
            arguments.time("Order.created_at", self.created_at)
