"""MaintenanceService: malformed requests are refused by name, and change nothing."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from circuit_guard.server.convert.requests import ROWS_MAX
from circuit_guard.v1 import maintenance_pb2
from tests.driver import BTC, ETH
from tests.server.commands import baseline, begin, call, end, rebaseline, validate
from tests.server.harness import BATCH_MAX, Harness, refused

BOUNDED_TEXT = "1 to 128 printable characters without space around them"
BOUNDED_REASON = "1 to 512 printable characters without space around them"
DECIMAL = "a decimal of at most 40 digits, for instance 92600.5"
FINITE = "a finite decimal of at most 40 digits and a magnitude within 1e-30 .. 1e30"
ONE_OF_THREE = "at least one, or a checkpoint_id, or a factor, or repaired markets"
FACTOR = "a finite number above 0 and other than 1, from 1e-12 to 1e12"


def row(**changes: Any) -> maintenance_pb2.StateRow:
    fields: dict[str, Any] = {
        "market": BTC,
        "event_time": Timestamp(seconds=1),
        "mark_price": "1",
        "funding_index": "1",
    }
    return maintenance_pb2.StateRow(**(fields | changes))


def fix(**changes: Any) -> maintenance_pb2.RebaselineRequest:
    return rebaseline(**({"baselines": [baseline()]} | changes))


def back(**changes: Any) -> maintenance_pb2.RebaselineRequest:
    return rebaseline(**({"checkpoint_id": 7, "scopes": [BTC]} | changes))


def scaled(**changes: Any) -> maintenance_pb2.RebaselineRequest:
    return rebaseline(**({"factor": "1000", "scopes": [BTC]} | changes))


def priced(**changes: str) -> maintenance_pb2.Baseline:
    return maintenance_pb2.Baseline(**({"market": BTC, "funding_index": "1", "mark_price": "2"} | changes))


MALFORMED = [
    *((make(actor=""), "actor", "", BOUNDED_TEXT) for make in (begin, end, fix)),
    *((make(actor="a" * 129), "actor", "a" * 77 + "...", BOUNDED_TEXT) for make in (begin, end, fix)),
    *((make(reason=""), "reason", "", BOUNDED_REASON) for make in (begin, end, fix)),
    *((make(reason="two\nlines"), "reason", "two\nlines", BOUNDED_REASON) for make in (begin, end, fix)),
    (validate(row(), actor=""), "actor", "", BOUNDED_TEXT),
    (validate(), "rows", "0 items", f"1 to {ROWS_MAX} items"),
    (validate(*[row()] * (ROWS_MAX + 1)), "rows", f"{ROWS_MAX + 1} items", f"1 to {ROWS_MAX} items"),
    (validate(row(), row(market=ETH), row()), "rows[2].market", BTC, "each one once"),
    (validate(row(market="")), "rows[0].market", "", BOUNDED_TEXT),
    (validate(row(market=" BTC")), "rows[0].market", " BTC", BOUNDED_TEXT),
    (validate(row(), row(market=ETH, event_time=None)), "rows[1].event_time", "", "a time"),
    (
        validate(row(event_time=Timestamp(nanos=-1))),
        "rows[0].event_time",
        "0 s + -1 ns",
        "a time of the years 1 to 9999 with 0 to 999999999 nanos",
    ),
    *(
        (validate(row(**{name: value})), f"rows[0].{name}", value, DECIMAL)
        for name in ("mark_price", "index_price", "funding_index")
        for value in ("1,5", "0x10", " 1", "1" * 41, "none")
    ),
    (fix(baselines=[]), "baselines", "0 items", ONE_OF_THREE),
    (
        fix(baselines=[baseline()] * (BATCH_MAX + 1)),
        "baselines",
        f"{BATCH_MAX + 1} items",
        f"1 to {BATCH_MAX} items",
    ),
    (fix(baselines=[baseline(), baseline()]), "baselines[1].market", BTC, "each one once"),
    (fix(baselines=[baseline("")]), "baselines[0].market", "", BOUNDED_TEXT),
    *(
        (fix(baselines=[baseline(ETH), baseline(BTC, value)]), "baselines[1].funding_index", value, FINITE)
        for value in ("", "NaN", "inf", "1e31")
    ),
    (fix(baselines=[baseline(BTC, "1,5")]), "baselines[0].funding_index", "1,5", DECIMAL),
    (fix(checkpoint_id=7), "baselines", "1 items", "none beside a checkpoint_id"),
    (fix(scopes=[BTC]), "scopes", BTC, "none without a checkpoint_id or a factor: they are what it is for"),
    (fix(repaired=[BTC, BTC]), "repaired[1]", BTC, "each one once"),
    (fix(repaired=[""]), "repaired[0]", "", BOUNDED_TEXT),
    (fix(repaired=["M"] * (BATCH_MAX + 1)), "repaired", f"{BATCH_MAX + 1} items", f"1 to {BATCH_MAX} items"),
    *((scaled(factor=value), "factor", value, FACTOR) for value in ("0", "-1000", "1", "1.0", "1e13", "1e-13")),
    *((scaled(factor=value), "factor", value, FINITE) for value in ("NaN", "inf", "-Infinity", "1e31")),
    (scaled(factor="1,000"), "factor", "1,000", DECIMAL),
    (fix(factor="1000"), "factor", "1000", "none beside baselines: values move by one of them"),
    (back(factor="1000"), "factor", "1000", "none beside a checkpoint_id: values move by one of them"),
    (scaled(scopes=[]), "scopes", "0 items", f"1 to {BATCH_MAX} items"),
    (scaled(scopes=[BTC, BTC]), "scopes[1]", BTC, "each one once"),
    (scaled(scopes=["GLOBAL"]), "scopes", "GLOBAL", "markets: a factor is for those that are redenominated"),
    *(
        (fix(baselines=[priced(**{name: value})]), f"baselines[0].{name}", value, FINITE)
        for name in ("mark_price", "index_price", "funding_premium")
        for value in ("NaN", "inf", "1e31")
    ),
    (
        fix(baselines=[priced(mark_price="", index_price="7")]),
        "baselines[0].index_price",
        "7",
        "none without a mark_price: they move together",
    ),
    (back(scopes=[]), "scopes", "0 items", f"1 to {BATCH_MAX} items"),
    (back(scopes=[BTC, BTC]), "scopes[1]", BTC, "each one once"),
    (back(scopes=[BTC, "GLOBAL"]), "scopes", f"{BTC}, GLOBAL", "GLOBAL alone, or markets"),
    (back(checkpoint_id=-1), "checkpoint_id", "-1", "a whole number, 0 or more"),
]


def named(rows: list[tuple[Any, str, str, str]]) -> list[str]:
    return [f"{type(request).__name__}-{field}-{value[:12]!r}" for request, field, value, _ in rows]


@pytest.mark.parametrize(("request_", "field", "value", "expected"), MALFORMED, ids=named(MALFORMED))
async def test_request_when_a_field_is_malformed_then_it_is_refused_by_name_and_nothing_changes(
    guard: Harness, request_: Any, field: str, value: str, expected: str
) -> None:
    before = guard.state()

    code, info, message = await refused(call(guard, request_))

    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")
    assert dict(info.metadata) == {"field": field, "value": value, "expected": expected}
    assert message.startswith(f"{field} was ")
    assert guard.state() == before


OUT_OF_ORDER = [
    (validate(row()), "maintenance", "a maintenance that has begun"),
    (end(), "maintenance", "a maintenance that has begun"),
    (end(unvalidated=True), "maintenance", "a maintenance that has begun"),
]


@pytest.mark.parametrize(("request_", "field", "expected"), OUT_OF_ORDER)
async def test_request_when_it_comes_out_of_order_then_it_is_refused_and_nothing_changes(
    guard: Harness, request_: Any, field: str, expected: str
) -> None:
    before = guard.state()

    code, info, message = await refused(call(guard, request_))

    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "COMMAND_REFUSED")
    assert (info.metadata["field"], info.metadata["expected"]) == (field, expected)
    assert "nothing was changed" in message
    assert guard.state().markets == before.markets


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (fix(baselines=[baseline(), baseline("DOGE-USD-PERP")]), "markets"),
        (fix(baselines=[], repaired=["DOGE-USD-PERP"]), "markets"),
        (back(scopes=[BTC, "DOGE-USD-PERP"]), "scopes"),
    ],
)
async def test_rebaseline_when_a_market_is_unknown_then_nothing_is_found_and_nothing_changes(
    recorded: Harness, request_: Any, field: str
) -> None:
    before = recorded.state()

    code, info, message = await refused(call(recorded, request_))

    assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_MARKET")
    assert (info.metadata["field"], info.metadata["value"]) == (field, "DOGE-USD-PERP")
    assert "nothing was changed" in message
    assert recorded.state().markets == before.markets
