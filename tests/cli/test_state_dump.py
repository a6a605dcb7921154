"""The dump of an exchange's state: read exactly, refused by name, and written so that it reads back."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from circuit_guard.cli import state_dump
from circuit_guard.cli.output import CommandError, ExitCode
from circuit_guard.core.inputs import StateRow
from circuit_guard.core.types import SECOND_NS

AT = "2026-11-22T22:30:00.5Z"
AT_NS = 1_795_386_600 * SECOND_NS + SECOND_NS // 2
HEADING = "market,event_time,mark_price,index_price,funding_index"
ROW: dict[str, Any] = {
    "market": "BTC",
    "event_time": AT,
    "mark_price": "92600.1",
    "index_price": "92610",
    "funding_index": "20511.930",
}
READ = StateRow("BTC", AT_NS, Decimal("92600.1"), Decimal(92610), Decimal("20511.930"))
DECIMAL = "expected a decimal of at most 40 digits, for instance 92600.5"


def read_text(folder: Path, text: str, name: str = "dump.json") -> list[StateRow]:
    (folder / name).write_text(text, encoding="utf-8")
    return state_dump.read(folder / name)


def read_rows(folder: Path, *rows: Any) -> list[StateRow]:
    return read_text(folder, json.dumps({"markets": rows}))


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in ROW.items() if name != key}


def test_json_when_values_are_text_then_they_are_exact(tmp_path: Path) -> None:
    [row] = read_rows(tmp_path, ROW)

    assert row == READ
    assert str(row.funding_index) == "20511.930"


def test_json_when_values_are_numbers_then_no_digit_is_lost(tmp_path: Path) -> None:
    text = f"""{{"markets": [{{"market": "BTC", "event_time": "{AT}", "mark_price": 92600.100000000000000001,
        "index_price": 92610, "funding_index": -0.1e-7}}]}}"""

    [row] = read_text(tmp_path, text)

    assert (str(row.mark_price), str(row.index_price)) == ("92600.100000000000000001", "92610")
    assert row.funding_index == Decimal("-0.00000001")


@pytest.mark.parametrize("nothing", [None, ""])
def test_json_when_a_value_was_not_given_then_it_is_none_and_zero_is_zero(tmp_path: Path, nothing: str | None) -> None:
    [row] = read_rows(tmp_path, ROW | {"mark_price": nothing, "index_price": nothing, "funding_index": "0"})

    assert (row.mark_price, row.index_price, row.funding_index) == (None, None, Decimal(0))


def test_json_when_a_value_is_not_a_number_then_that_is_for_the_guard_to_judge(tmp_path: Path) -> None:
    [row] = read_rows(tmp_path, ROW | {"mark_price": "NaN", "index_price": "-inf"})

    assert row.mark_price is not None
    assert row.mark_price.is_nan()
    assert row.index_price == Decimal("-Infinity")


def test_json_when_it_comes_on_standard_input_then_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps({"markets": [ROW]}).encode())))

    assert state_dump.read(Path("-")) == [READ]


def test_csv_when_columns_are_in_another_order_then_they_are_read_by_name(tmp_path: Path) -> None:
    text = f"\ufefffunding_index, market,mark_price,index_price,event_time\r\n20511.930,BTC,92600.1,92610,{AT}\r\n"

    assert read_text(tmp_path, text, "dump.CSV") == [READ]


def test_csv_when_a_cell_is_empty_then_the_value_was_not_given(tmp_path: Path) -> None:
    [row] = read_text(tmp_path, f"{HEADING}\nBTC,{AT},,,0\n", "dump.csv")

    assert row == StateRow("BTC", AT_NS, None, None, Decimal(0))


@pytest.mark.parametrize("name", ["out.json", "out.csv"])
def test_write_when_read_again_then_it_is_the_same(tmp_path: Path, name: str) -> None:
    odd = [StateRow(market, AT_NS + 1, Decimal("1E-8"), None, Decimal("-0.10")) for market in ("ETH,USD", "@107", "=1")]
    rows = [READ, *odd]

    state_dump.write(rows, tmp_path / name)

    assert state_dump.read(tmp_path / name) == rows


def test_csv_when_a_market_looks_like_a_formula_then_a_spreadsheet_does_not_run_it(tmp_path: Path) -> None:
    state_dump.write([StateRow("@SUM(A1)", AT_NS)], tmp_path / "out.csv")

    assert "\n'@SUM(A1)," in (tmp_path / "out.csv").read_text()


def test_write_when_the_folder_is_missing_then_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"out\.json: cannot be written \(No such file or directory\)") as caught:
        state_dump.write([READ], tmp_path / "none" / "out.json")

    assert caught.value.exit_code is ExitCode.BAD_INPUT


BAD_ROWS: list[tuple[Any, str]] = [
    (7, "markets[1] was 7, expected an object with market, event_time, mark_price, index_price, funding_index"),
    ([], "markets[1] was [], expected an object"),
    *((without(key), f"markets[1].{key} is missing, expected it, with null for what is not given") for key in ROW),
    (ROW | {"mark": "1"}, 'markets[1] has the key "mark", expected only market, event_time, mark_price'),
    (ROW, 'markets[1].market was "BTC", expected each market once'),
    (ROW | {"market": ""}, "markets[1].market was empty, expected 1 to 128 printable characters"),
    (ROW | {"market": 5}, 'markets[1].market was "5", expected text'),
    (ROW | {"market": None}, 'markets[1].market was "null", expected text'),
    (ROW | {"market": "E", "event_time": 1795386600}, "markets[1].event_time was "),
    (ROW | {"market": "E", "event_time": "yesterday"}, 'markets[1].event_time was "yesterday", expected a time in UTC'),
    (ROW | {"market": "E", "event_time": "2026-11-22T22:30:00+02:00"}, "markets[1].event_time was "),
    (ROW | {"market": "E", "mark_price": "1,5"}, f'markets[1].mark_price was "1,5", {DECIMAL}'),
    (ROW | {"market": "E", "mark_price": " 1"}, f'markets[1].mark_price was " 1", {DECIMAL}'),
    (ROW | {"market": "E", "mark_price": "0x1F"}, f'markets[1].mark_price was "0x1F", {DECIMAL}'),
    (ROW | {"market": "E", "index_price": "1" * 41}, "markets[1].index_price was "),
    (ROW | {"market": "E", "index_price": 10**50}, "markets[1].index_price was "),
    (ROW | {"market": "E", "funding_index": True}, 'markets[1].funding_index was "true", expected a decimal as text'),
    (ROW | {"market": "E", "funding_index": ["1"]}, "markets[1].funding_index was "),
    (ROW | {"market": "E", "funding_index": {}}, 'markets[1].funding_index was "{}", expected a decimal as text'),
]


@pytest.mark.parametrize(("row", "problem"), BAD_ROWS, ids=[problem[:40] for _, problem in BAD_ROWS])
def test_json_when_a_row_cannot_be_used_then_file_row_field_and_value_are_named(
    tmp_path: Path, row: Any, problem: str
) -> None:
    with pytest.raises(CommandError) as caught:
        read_rows(tmp_path, ROW, row)

    assert caught.value.exit_code is ExitCode.BAD_INPUT
    assert caught.value.message.startswith(f"{tmp_path / 'dump.json'}: {problem}")


BAD_JSON = [
    ("", ":1: is not JSON at column 1 (Expecting value), expected JSON"),
    ('{"markets": [\n,]}', ":2: is not JSON at column 1"),
    ('{"markets": []} 1', ":1: is not JSON at column 17 (Extra data)"),
    ('{"markets": [], "markets": []}', ': is not readable JSON (the key "markets" stands twice in one object)'),
    ('{"markets": [NaN]}', ': is not readable JSON (NaN is no JSON: write it as text, "NaN"'),
    ('{"markets": [-Infinity]}', ": is not readable JSON (-Infinity is no JSON"),
    ("[" * 100_000, ": is not readable JSON ("),
    ("[]", ': was [], expected {"markets": [...]} and nothing else'),
    ('"markets"', ': was "markets", expected {"markets": [...]}'),
    ('{"markets": {}}', ': was {"markets": {}}, expected {"markets": [...]}'),
    ('{"markets": [], "at": 1}', ': was {"markets": [], "at": "1"}, expected {"markets": [...]}'),
    ('{"markets": []}', ": has no market, expected at least one"),
]


@pytest.mark.parametrize(("text", "problem"), BAD_JSON, ids=[text[:30] for text, _ in BAD_JSON])
def test_json_when_it_is_another_document_then_that_is_said(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(CommandError) as caught:
        read_text(tmp_path, text)

    assert caught.value.exit_code is ExitCode.BAD_INPUT
    assert caught.value.message.startswith(f"{tmp_path / 'dump.json'}{problem}")


GOOD_LINE = f"BTC,{AT},1,1,1"
BAD_CSV = [
    ("", ":1: the heading was empty, expected market,event_time,mark_price,index_price,funding_index, in any order"),
    (GOOD_LINE, ":1: the heading was "),
    (HEADING + ",at\n", ":1: the heading was "),
    (HEADING.replace("index_price", "mark_price") + "\n", ":1: the heading was "),
    (f"{HEADING}\n", ": has no market, expected at least one"),
    (f"{HEADING}\n{GOOD_LINE}\nETH,{AT},1,1\n", ":3: has 4 values, expected one for each of market, event_time"),
    (f"{HEADING}\n{GOOD_LINE}\nETH,{AT},1,1,1,1\n", ":3: has 6 values"),
    (f"{HEADING}\n{GOOD_LINE}\n\nETH,{AT},1,1,1\n", ":3: has 0 values"),
    (f"{HEADING}\n{GOOD_LINE}\n{GOOD_LINE}\n", ':3: market was "BTC", expected each market once'),
    (f"{HEADING}\nBTC,{AT},x,1,1\n", f':2: mark_price was "x", {DECIMAL}'),
    (f"{HEADING}\nBTC,,1,1,1\n", ":2: event_time was empty, expected a time in UTC"),
    (f"{HEADING}\n,{AT},1,1,1\n", ":2: market was empty, expected 1 to 128 printable characters"),
    (f'{HEADING}\n"BTC,{AT},1,1,1\n', ":2: is not CSV (unexpected end of data)"),
]


@pytest.mark.parametrize(("text", "problem"), BAD_CSV, ids=[problem[:40] for _, problem in BAD_CSV])
def test_csv_when_a_line_cannot_be_used_then_file_line_field_and_value_are_named(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(CommandError) as caught:
        read_text(tmp_path, text, "dump.csv")

    assert caught.value.exit_code is ExitCode.BAD_INPUT
    assert caught.value.message.startswith(f"{tmp_path / 'dump.csv'}{problem}")


def test_dump_when_it_has_too_many_markets_then_it_is_refused_where_that_is(tmp_path: Path) -> None:
    lines = "".join(f"M{number},{AT},1,1,1\n" for number in range(5_001))

    with pytest.raises(CommandError, match=r"dump\.csv:5002: expected at most 5000 markets in one dump"):
        read_text(tmp_path, f"{HEADING}\n{lines}", "dump.csv")


def test_dump_when_it_is_very_large_then_it_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"dump\.json: is larger than 16777216 bytes"):
        read_text(tmp_path, " " * (state_dump.BYTES_MAX + 1))


def test_dump_when_it_is_no_text_then_the_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "dump.json").write_bytes(b"{\n\n\xff")

    with pytest.raises(CommandError, match=r"dump\.json:3: is not UTF-8, expected UTF-8 text"):
        state_dump.read(tmp_path / "dump.json")


@pytest.mark.parametrize(("name", "reason"), [("none.json", "No such file or directory"), (".", "Is a directory")])
def test_dump_when_it_cannot_be_read_then_the_reason_is_told(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(CommandError, match=rf"cannot be read \({reason}\), expected a dump of the exchange's state"):
        state_dump.read(tmp_path / name)
