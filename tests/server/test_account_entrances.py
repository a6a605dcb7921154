"""An account is the same wherever it comes in: wire, recording or JSON file, client, journal."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from circuit_guard.cli import wire as cli_wire
from circuit_guard.client import questions as client
from circuit_guard.client import wire as client_wire
from circuit_guard.client.arguments import ArgumentError
from circuit_guard.core.inputs import ASSETS_MAX, POSITIONS_MAX, Account, Asset, Check, Position
from circuit_guard.errors import WireError
from circuit_guard.journal import codec
from circuit_guard.recording.format import FieldError, LabelledCheck, entry_line, read_account
from circuit_guard.server.convert import requests
from circuit_guard.v1 import liquidation_pb2
from tests.driver import BTC, ETH

Entrance = Callable[[Account], Account]


def held(market: str, size: str, entry: str = "93500") -> Position:
    return Position(market, Decimal(size), Decimal(entry), Decimal("20500"), Decimal("0.01"))


def asking(account: Account) -> Check:
    return Check(0, "r1", "account-1", BTC, Decimal(-1), account=account)


def read_from_the_wire(message: liquidation_pb2.LiquidationCheck) -> Account:
    account = requests.check(
        liquidation_pb2.LiquidationCheck.FromString(message.SerializeToString()), "check", 0
    ).account
    assert account is not None
    return account


def over_the_wire(account: Account) -> Account:
    return read_from_the_wire(cli_wire.check(asking(account)))


def from_a_recording(account: Account) -> Account:
    line: Any = entry_line(LabelledCheck(asking(account)))
    return read_account(line["check"]["account"], "check.account")


def from_the_client(account: Account) -> Account:
    fields = ("market", "size", "entry_price", "cached_funding_index", "maintenance_margin_fraction")
    positions = tuple(client.Position(**{name: getattr(one, name) for name in fields}) for one in account.positions)
    assets = tuple(
        client.Asset(market=one.market, quantity=one.quantity, haircut=one.haircut or None) for one in account.assets
    )
    given = client.Account(collateral=account.collateral, positions=positions, assets=assets)
    closure = client.Closure(market=BTC, account_id="account-1", size=Decimal(-1), account=given, request_id="r1")
    message = client_wire.check(closure)
    assert client_wire.closure_of(message).account == given
    return read_from_the_wire(message)


def through_the_journal(account: Account) -> Account:
    check = codec.decode_as(Check, codec.encode(asking(account)))
    assert check.account is not None
    return check.account


ENTRANCES = {"wire": over_the_wire, "recording": from_a_recording, "client": from_the_client}
TAKEN = {
    "long and short": [held(BTC, "1"), held(BTC, "-0.4", "91000")],
    "short and long, and one elsewhere": [held(ETH, "-30"), held(BTC, "2.5"), held(ETH, "30")],
    "as many as there may be": [held(f"M{number // 2}", ("7", "-7")[number % 2]) for number in range(POSITIONS_MAX)],
}
REFUSED = {
    "the same long twice": (
        [held(BTC, "1"), held(BTC, "0.4")],
        "positions[1].market",
        "at most one long and one short",
    ),
    "the same short twice": (
        [held(BTC, "1"), held(ETH, "-3"), held(BTC, "-2"), held(ETH, "-0.1")],
        "positions[3].market",
        "at most one long and one short per market",
    ),
    "one too many": (
        [held(f"M{number}", "1") for number in range(POSITIONS_MAX + 1)],
        "positions",
        f"at most {POSITIONS_MAX}",
    ),
}


@pytest.mark.parametrize("positions", TAKEN.values(), ids=TAKEN)
@pytest.mark.parametrize("entrance", [*ENTRANCES.values(), through_the_journal], ids=[*ENTRANCES, "journal"])
def test_account_when_it_comes_in_then_it_is_the_same_at_every_entrance(
    entrance: Entrance, positions: list[Position]
) -> None:
    account = Account(Decimal(1000), tuple(positions))
    assert entrance(account) == account


@pytest.mark.parametrize(("positions", "field", "expected"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("entrance", ENTRANCES.values(), ids=ENTRANCES)
def test_account_when_it_cannot_be_then_every_entrance_refuses_it_and_names_the_field(
    entrance: Entrance, positions: list[Position], field: str, expected: str
) -> None:
    with pytest.raises((WireError, FieldError, ArgumentError)) as refused:
        entrance(Account(Decimal(1000), tuple(positions)))
    assert f"ccount.{field} was " in str(refused.value)
    assert f"expected {expected}" in str(refused.value)


OWNED = (
    Asset(ETH, Decimal(10)),
    Asset(ETH, Decimal("0.5"), Decimal("0.25")),
    Asset("stSOL/USD", Decimal("1e-8"), Decimal(1)),
)
BAD_ASSETS = {
    "nothing of it": ((Asset(ETH, Decimal(0)),), "assets[0].quantity", "a quantity in base units, more than 0"),
    "less than nothing": ((OWNED[0], Asset(ETH, Decimal("-0.1"))), "assets[1].quantity", "a quantity in base units"),
    "a haircut over all of it": ((Asset(ETH, Decimal(1), Decimal("1.01")),), "assets[0].haircut", ""),
    "a negative haircut": ((Asset(ETH, Decimal(1), Decimal("-0.01")),), "assets[0].haircut", ""),
    "a market without a name": ((Asset("", Decimal(1)),), "assets[0].market", "1 to 128"),
    "one too many": ((Asset(ETH, Decimal(1)),) * (ASSETS_MAX + 1), "assets", f"at most {ASSETS_MAX}"),
}


@pytest.mark.parametrize("assets", [OWNED, (), OWNED[:1] * ASSETS_MAX], ids=["three", "none", "most"])
@pytest.mark.parametrize("entrance", [*ENTRANCES.values(), through_the_journal], ids=[*ENTRANCES, "journal"])
def test_assets_when_they_come_in_then_they_are_the_same_at_every_entrance(
    entrance: Entrance, assets: tuple[Asset, ...]
) -> None:
    account = Account(Decimal(-5), (held(BTC, "1"),), assets)
    assert entrance(account) == account


@pytest.mark.parametrize(("assets", "field", "expected"), BAD_ASSETS.values(), ids=BAD_ASSETS)
@pytest.mark.parametrize("entrance", ENTRANCES.values(), ids=ENTRANCES)
def test_assets_when_they_cannot_be_then_every_entrance_refuses_them_and_names_the_field(
    entrance: Entrance, assets: tuple[Asset, ...], field: str, expected: str
) -> None:
    with pytest.raises((WireError, FieldError, ArgumentError)) as refused:
        entrance(Account(Decimal(1000), (), assets))
    said = str(refused.value)
    assert f"ccount.{field} was " in said or f"Asset.{field.rpartition('.')[2]} was " in said
    assert expected in said


def test_account_when_it_was_recorded_before_there_were_assets_then_it_has_none() -> None:
    text = codec.encode(asking(Account(Decimal(1), (held(BTC, "1"),))))
    before = text.replace(',"assets":[]', "")
    assert before != text
    assert codec.decode_as(Check, before) == codec.decode_as(Check, text)
