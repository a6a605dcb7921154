"""LiquidationGuardService: malformed checks are refused by name, unusual ones are answered."""

from __future__ import annotations

import grpc
import pytest

from circuit_guard.v1 import liquidation_pb2, types_pb2
from tests.driver import BTC, ETH
from tests.server.harness import Harness, account, basis, check, position, refused

BOUNDED_TEXT = "1 to 128 printable characters without space around them"
FINITE = "a finite decimal of at most 40 digits and a magnitude within 1e-30 .. 1e30"
DECIMAL = "a decimal of at most 40 digits, for instance 92600.5"
SIZE = "a size other than zero, in base units"
FRACTION = "a fraction from 0 to 1"
AMOUNT = "an amount in quote currency, 0 or more"


def with_position(**changes: object) -> liquidation_pb2.LiquidationCheck:
    return check(account=account(position(), position(market=ETH, **changes)))


def with_amount(amount: str) -> liquidation_pb2.LiquidationCheck:
    return with_position(maintenance_margin_fraction="", maintenance_margin=amount)


MALFORMED = [
    ("request_id missing", check(request_id=""), "request_id", "", BOUNDED_TEXT),
    ("request_id huge", check(request_id="x" * 129), "request_id", "x" * 77 + "...", BOUNDED_TEXT),
    ("request_id with a control character", check(request_id="a\nb"), "request_id", "a\nb", BOUNDED_TEXT),
    ("request_id with a space", check(request_id=" a"), "request_id", " a", BOUNDED_TEXT),
    ("account_id missing", check(account_id=""), "account_id", "", BOUNDED_TEXT),
    ("account_id huge", check(account_id="x" * 129), "account_id", "x" * 77 + "...", BOUNDED_TEXT),
    ("market missing", check(market=""), "market", "", BOUNDED_TEXT),
    ("market huge", check(market="x" * 5000), "market", "x" * 77 + "...", BOUNDED_TEXT),
    ("kind unknown", check(kind=99), "kind", "99", "one of 0 (LIQUIDATION)"),
    ("size missing", check(size=""), "size", "", FINITE),
    ("size zero", check(size="0"), "size", "0", SIZE),
    ("size zero with exponent", check(size="-0.0e5"), "size", "-0.0e5", SIZE),
    ("size NaN", check(size="NaN"), "size", "NaN", FINITE),
    ("size negative infinity", check(size="-Infinity"), "size", "-Infinity", FINITE),
    ("size signalling NaN", check(size="sNaN"), "size", "sNaN", DECIMAL),
    ("size huge", check(size="1.1e30"), "size", "1.1e30", FINITE),
    ("size tiny", check(size="9e-31"), "size", "9e-31", FINITE),
    ("size absurd", check(size="9.9e999999"), "size", "9.9e999999", FINITE),
    ("size beyond absurd", check(size="1e9999999"), "size", "1e9999999", DECIMAL),
    ("size of 41 digits", check(size="1" * 41), "size", "1" * 41, DECIMAL),
    ("size of 65 characters", check(size="0" * 65), "size", "0" * 65, DECIMAL),
    ("size not a number", check(size="half"), "size", "half", DECIMAL),
    ("size hexadecimal", check(size="0x10"), "size", "0x10", DECIMAL),
    ("size with separators", check(size="1_000"), "size", "1_000", DECIMAL),
    ("size with a comma", check(size="1,5"), "size", "1,5", DECIMAL),
    ("size with a space", check(size="1 "), "size", "1 ", DECIMAL),
    ("size in fullwidth digits", check(size="\uff11"), "size", "\\uff11", DECIMAL),
    ("execution price NaN", check(execution_price="nan"), "execution_price", "nan", FINITE),
    ("execution price infinite", check(execution_price="inf"), "execution_price", "inf", FINITE),
    ("execution price huge", check(execution_price="2e30"), "execution_price", "2e30", FINITE),
    ("basis mark NaN", check(basis=basis(mark_price="NaN")), "basis.mark_price", "NaN", FINITE),
    ("basis mark text", check(basis=basis(mark_price="-")), "basis.mark_price", "-", DECIMAL),
    ("basis funding infinite", check(basis=basis(funding_index="-inf")), "basis.funding_index", "-inf", FINITE),
    ("basis funding huge", check(basis=basis(funding_index="1e31")), "basis.funding_index", "1e31", FINITE),
    ("collateral missing", check(account=account(collateral="")), "account.collateral", "", FINITE),
    ("collateral NaN", check(account=account(collateral="NaN")), "account.collateral", "NaN", FINITE),
    (
        "position market missing",
        check(account=account(position(market=""))),
        "account.positions[0].market",
        "",
        BOUNDED_TEXT,
    ),
    ("position size missing", with_position(size=""), "account.positions[1].size", "", FINITE),
    ("position size zero", with_position(size="0.00"), "account.positions[1].size", "0.00", SIZE),
    ("entry price missing", with_position(entry_price=""), "account.positions[1].entry_price", "", FINITE),
    ("entry price NaN", with_position(entry_price="NaN"), "account.positions[1].entry_price", "NaN", FINITE),
    (
        "cached funding index missing",
        with_position(cached_funding_index=""),
        "account.positions[1].cached_funding_index",
        "",
        FINITE,
    ),
    (
        "margin fraction missing",
        with_position(maintenance_margin_fraction=""),
        "account.positions[1].maintenance_margin_fraction",
        "",
        f"{FRACTION}, or maintenance_margin in quote currency in its place",
    ),
    (
        "margin fraction and amount",
        with_position(maintenance_margin="463"),
        "account.positions[1].maintenance_margin",
        "463",
        "none where maintenance_margin_fraction is given",
    ),
    (
        "margin fraction zero and amount zero",
        with_position(maintenance_margin_fraction="0", maintenance_margin="0"),
        "account.positions[1].maintenance_margin",
        "0",
        "none where maintenance_margin_fraction is given",
    ),
    ("margin amount negative", with_amount("-0.01"), "account.positions[1].maintenance_margin", "-0.01", AMOUNT),
    ("margin amount NaN", with_amount("NaN"), "account.positions[1].maintenance_margin", "NaN", FINITE),
    ("margin amount infinite", with_amount("Infinity"), "account.positions[1].maintenance_margin", "Infinity", FINITE),
    ("margin amount huge", with_amount("1e31"), "account.positions[1].maintenance_margin", "1e31", FINITE),
    ("margin amount not a number", with_amount("1 %"), "account.positions[1].maintenance_margin", "1 %", DECIMAL),
    (
        "margin amount of 41 digits",
        with_amount("1" * 41),
        "account.positions[1].maintenance_margin",
        "1" * 41,
        DECIMAL,
    ),
    (
        "margin fraction NaN",
        with_position(maintenance_margin_fraction="NaN"),
        "account.positions[1].maintenance_margin_fraction",
        "NaN",
        FINITE,
    ),
    (
        "margin fraction over 1",
        with_position(maintenance_margin_fraction="1.01"),
        "account.positions[1].maintenance_margin_fraction",
        "1.01",
        FRACTION,
    ),
    (
        "margin fraction negative",
        with_position(maintenance_margin_fraction="-0.01"),
        "account.positions[1].maintenance_margin_fraction",
        "-0.01",
        FRACTION,
    ),
    (
        "long twice",
        check(account=account(position(), position())),
        "account.positions[1].market",
        BTC,
        "at most one long and one short per market",
    ),
    (
        "1,001 positions",
        check(account=account(*(position(market=f"M-{number}") for number in range(1001)))),
        "account.positions",
        "1001 positions",
        "at most 1000",
    ),
]


@pytest.mark.parametrize(
    ("malformed", "field", "value", "expected"), [row[1:] for row in MALFORMED], ids=[row[0] for row in MALFORMED]
)
async def test_check_when_a_field_is_malformed_then_it_is_refused_by_name_and_nothing_changes(
    guard: Harness, malformed: liquidation_pb2.LiquidationCheck, field: str, value: str, expected: str
) -> None:
    before = guard.state()

    code, info, message = await refused(guard.decide(malformed))

    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")
    assert (info.metadata["field"], info.metadata["value"]) == (f"check.{field}", value)
    assert info.metadata["expected"].startswith(expected)
    assert message.startswith(f"check.{field} was ")
    assert guard.state() == before


async def test_check_when_it_is_missing_altogether_then_the_first_required_field_is_named(guard: Harness) -> None:
    code, info, _ = await refused(guard.liquidations.CheckLiquidation(liquidation_pb2.CheckLiquidationRequest()))

    assert (code, info.metadata["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, "check.request_id")


@pytest.mark.parametrize(
    "unusual",
    [
        check(size="-5e-1"),
        check(size="-.5"),
        check(size="+0.5", account=account(position(size="-0.5", entry_price="91200"))),
        check(size="-0." + "5" + "0" * 38),
        check(account=account(collateral="-250.75")),
        check(account=account(collateral="0e-999999")),
        check(account=account(position(maintenance_margin_fraction="", maintenance_margin="463"))),
        check(account=account(position(maintenance_margin_fraction="", maintenance_margin="4.63E+2"))),
        check(account=account(position(maintenance_margin_fraction="0"), collateral="-250.75")),
        check(account=account(position(maintenance_margin_fraction="", maintenance_margin="-0"), collateral="0")),
        check(execution_price=""),
        check(kind=liquidation_pb2.CHECK_KIND_TRIGGER),
        check(request_id="Ünïcode-ℵ"),
    ],
)
async def test_check_when_a_field_is_unusual_but_meant_then_it_is_answered(
    guard: Harness, unusual: liquidation_pb2.LiquidationCheck
) -> None:
    decision = await guard.decide(unusual)

    assert decision.verdict == types_pb2.VERDICT_ALLOW, decision.explanation
    assert decision.request_id == unusual.request_id
