"""What cannot be asked is refused where it is made, with the field, the value and what was expected."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from circuit_guard.client import (
    Account,
    ArgumentError,
    AsyncGuardClient,
    Basis,
    CheckKind,
    FailOpen,
    GuardClient,
    OrderAction,
    Position,
    Side,
    Tls,
)
from tests.client.guards import BTC, ETH, closure, order

ADDRESS = "127.0.0.1:1"
SIZE = "a size other than zero, in base units"
FINITE = "a finite decimal of at most 40 digits and a magnitude within 1e-30 .. 1e30"
DECIMAL = 'a decimal.Decimal made from text, for instance Decimal("92600.5")'
NAME = "1 to 128 printable characters without space around them"


def position(**changes: Any) -> Position:
    fields: dict[str, Any] = {
        "market": BTC,
        "size": Decimal("0.5"),
        "entry_price": Decimal(94_000),
        "cached_funding_index": Decimal(20_500),
        "maintenance_margin_fraction": Decimal("0.01"),
    }
    return Position(**(fields | changes))


@pytest.mark.parametrize(
    ("field", "value", "shown", "expected"),
    [
        ("size", Decimal(0), "Decimal('0')", SIZE),
        ("size", 0.5, "0.5", DECIMAL),
        ("size", 1, "1", DECIMAL),
        ("size", "0.5", "'0.5'", DECIMAL),
        ("size", None, "None", DECIMAL),
        ("size", Decimal("NaN"), "Decimal('NaN')", FINITE),
        ("size", Decimal("-Infinity"), "Decimal('-Infinity')", FINITE),
        ("size", Decimal("1e31"), "Decimal('1E+31')", FINITE),
        ("size", Decimal("1e-31"), "Decimal('1E-31')", FINITE),
        ("size", Decimal("1." + "1" * 40), f"Decimal('1.{'1' * 40}')", FINITE),
        ("market", "", "''", NAME),
        ("market", " BTC", "' BTC'", NAME),
        ("market", "a\nb", "'a\\nb'", NAME),
        ("market", "x" * 129, f"'{'x' * 79}... (131 characters)", NAME),
        ("account_id", 7, "7", NAME),
        ("request_id", "", "''", NAME),
        ("execution_price", 92610.0, "92610.0", DECIMAL),
        ("kind", "LIQUIDATION", "'LIQUIDATION'", "one of CheckKind.LIQUIDATION, CheckKind.AUTO_DELEVERAGE, "),
        ("basis", None, "None", "an instance of Basis"),
        ("account", {}, "{}", "an instance of Account"),
    ],
)
def test_closure_when_a_field_cannot_be_used_then_it_is_named_with_its_value_and_what_was_expected(
    field: str, value: object, shown: str, expected: str
) -> None:
    with pytest.raises(ValueError) as caught:
        closure(**{field: value})

    assert str(caught.value).startswith(f"Closure.{field} was {shown}, expected {expected}")


@pytest.mark.parametrize("field", ["mark_price", "funding_index"])
def test_basis_when_it_is_a_float_then_it_is_refused(field: str) -> None:
    with pytest.raises(ArgumentError, match=rf"^Basis\.{field} was 20511\.9, expected a decimal\.Decimal made from"):
        Basis(**{field: 20511.9})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": Decimal(0)}, "Position.size was Decimal('0'), expected a size other than zero"),
        ({"entry_price": 1.5}, "Position.entry_price was 1.5, expected a decimal.Decimal"),
        ({"cached_funding_index": None}, "Position.cached_funding_index was None, expected a decimal.Decimal"),
        ({"maintenance_margin_fraction": Decimal(2)}, "expected a fraction from 0 to 1"),
        ({"maintenance_margin_fraction": None}, "expected a fraction from 0 to 1, or maintenance_margin in quote"),
        ({"maintenance_margin": Decimal(1)}, "expected None where maintenance_margin_fraction is given"),
        (
            {"maintenance_margin_fraction": None, "maintenance_margin": Decimal(-1)},
            "Position.maintenance_margin was Decimal('-1'), expected an amount in quote currency, 0 or more",
        ),
    ],
)
def test_position_when_a_field_cannot_be_used_then_it_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        position(**changes)

    assert message in str(caught.value)


def test_account_when_its_positions_cannot_be_then_they_are_refused() -> None:
    with pytest.raises(
        ArgumentError, match=r"^Account\.positions\[1\]\.market was 'BTC-USD-PERP', expected at most one long"
    ):
        Account(collateral=Decimal(1), positions=(position(), position()))
    with pytest.raises(ArgumentError, match=r"^Account\.positions was 1001, expected at most 1000 positions"):
        Account(collateral=Decimal(1), positions=tuple(position(market=f"M-{number}") for number in range(1001)))
    with pytest.raises(ArgumentError, match=r"^Account\.positions was \[.*expected an instance of tuple"):
        Account(collateral=Decimal(1), positions=[position()])  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"^Account\.collateral was 1000, expected a decimal\.Decimal"):
        Account(collateral=1000, positions=())  # type: ignore[arg-type]


def test_account_when_its_margin_is_an_amount_then_it_is_taken() -> None:
    held = position(market=ETH, maintenance_margin_fraction=None, maintenance_margin=Decimal("46.3"))

    assert Account(collateral=Decimal(-5), positions=(position(), held)).positions[1] == held


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("order_id", "", NAME),
        ("side", "BUY", "one of Side.BUY, Side.SELL"),
        ("action", None, "one of OrderAction.NEW, OrderAction.MODIFY, OrderAction.RESTING"),
        ("price", 1.5, DECIMAL),
        ("post_only", 1, "an instance of bool"),
        ("created_at", datetime(2026, 1, 19), "a datetime with a time zone, for instance"),  # noqa: DTZ001 - the point
    ],
)
def test_order_when_a_field_cannot_be_used_then_it_is_refused(field: str, value: object, expected: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        order(**{field: value})

    assert str(caught.value).startswith(f"Order.{field} was ")
    assert expected in str(caught.value)


def test_questions_when_they_are_sound_then_they_are_taken() -> None:
    closure(kind=CheckKind.TRIGGER, size=Decimal("1E+3"), execution_price=None, request_id="r-1")
    order(side=Side.SELL, action=OrderAction.RESTING, price=None, created_at=datetime(2026, 1, 19, tzinfo=UTC))
    assert Basis(funding_index=Decimal("-0.0")) == Basis(funding_index=Decimal(0))


@pytest.mark.parametrize("deadline_s", [0, -1, 30.1, float("nan"), float("inf"), True, "0.1", Decimal("0.1")])
def test_client_when_its_deadline_cannot_be_then_it_is_refused(deadline_s: Any) -> None:
    expected = r"^deadline_s was .*, expected seconds, more than 0 and at most 30$"
    with pytest.raises(ArgumentError, match=expected):
        GuardClient(ADDRESS, deadline_s=deadline_s)
    with GuardClient(ADDRESS) as client, pytest.raises(ArgumentError, match=expected):
        client.check(closure(), deadline_s=deadline_s)


async def test_async_client_when_an_argument_cannot_be_then_it_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"^deadline_s was 0, expected seconds"):
        AsyncGuardClient(ADDRESS, deadline_s=0)
    async with AsyncGuardClient(ADDRESS) as client:
        with pytest.raises(ArgumentError, match=r"^closures was '0 items', expected 1 to 1000 items$"):
            await client.check_many([])


@pytest.mark.parametrize("count", [0, 1001])
def test_batch_when_it_has_no_items_or_too_many_then_it_is_refused(count: int) -> None:
    with GuardClient(ADDRESS) as client:
        with pytest.raises(ArgumentError, match=rf"^closures was '{count} items', expected 1 to 1000 items$"):
            client.check_many([closure()] * count)
        with pytest.raises(ArgumentError, match=rf"^orders was '{count} items', expected 1 to 1000 items$"):
            client.check_orders([order()] * count)


def test_batch_when_an_item_is_none_that_can_be_asked_about_then_it_is_refused() -> None:
    with (
        GuardClient(ADDRESS) as client,
        pytest.raises(ArgumentError, match=r"^closures\[1\] was None, expected an instance of Clos"),
    ):
        client.check_many([closure(), None])  # type: ignore[list-item]


@pytest.mark.parametrize("for_s", [0, -1, 3601, float("inf"), float("nan"), "30", None])
def test_fail_open_when_its_time_is_not_bounded_then_it_is_refused(for_s: Any) -> None:
    with pytest.raises(
        ArgumentError, match=r"^FailOpen\.for_s was .*, expected seconds, more than 0 and at most 3600$"
    ):
        FailOpen(for_s)


def test_fail_open_when_it_names_no_market_or_no_time_then_it_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"^fail_open was '', expected 1 to 128 printable characters"):
        GuardClient(ADDRESS, fail_open={"": FailOpen(30)})
    with pytest.raises(ArgumentError, match=r"^fail_open\['BTC-USD-PERP'\] was 30, expected an instance of FailOpen$"):
        GuardClient(ADDRESS, fail_open={BTC: 30})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "address", ["", "localhost", "localhost:0", "localhost:65536", "http://a:1", "unix:", "a b:1", 1]
)
def test_client_when_its_address_cannot_be_then_it_is_refused(address: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^address was .*, expected host:port or unix:path, for instance"):
        GuardClient(address)


def test_tls_when_its_files_cannot_be_used_then_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # so that the path is short, and not cut in the message
    with pytest.raises(ArgumentError, match=r"^Tls\.key was None, expected the path of a file, as the other one is"):
        Tls(ca="ca.pem", certificate="client.pem")
    missing = "ca.pem"
    with pytest.raises(ArgumentError, match=rf"^Tls\.ca was '{missing}', expected a file in PEM that can be read \(No"):
        GuardClient(ADDRESS, tls=Tls(ca=missing))
    with pytest.raises(ArgumentError, match=r"^tls was 'ca\.pem', expected an instance of Tls$"):
        GuardClient(ADDRESS, tls="ca.pem")  # type: ignore[arg-type]


def test_token_when_others_could_read_it_then_it_is_refused() -> None:
    with pytest.raises(
        ArgumentError, match=r"^tls was None, expected TLS where a token is sent to guard\.internal:50051"
    ):
        GuardClient("guard.internal:50051", token="secret")  # noqa: S106 - of a test


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "ümlaut", "x" * 4097])
def test_token_when_it_is_none_then_it_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        GuardClient(ADDRESS, token=token)

    assert str(caught.value) == "token was '***', expected 1 to 4096 printable ASCII characters without space"
