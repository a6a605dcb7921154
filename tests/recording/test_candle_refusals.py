"""Every way in which a row of candles or rates can be wrong: file, row, column, value, and what was expected."""

from __future__ import annotations

import gzip
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from circuit_guard.errors import RecordingError
from circuit_guard.recording import history
from circuit_guard.recording.candles import CandleOptions, from_candles

HEADING = "market,t,open,high,low,close"
GOOD = "BTC-USD-PERP,2026-01-19T04:00:00Z,100,104,99,101"
NEXT = "BTC-USD-PERP,2026-01-19T04:01:00Z,101,104,99,101"
DECIMAL = 'a decimal as a string, such as "92600.1", of at most 40 digits and within 1e-30 .. 1e30'
TIME = "a time in UTC, as 2026-01-19T04:30:00Z or since 1970 in s, ms, us or ns"


def refusal(path: Path, funding: Path | None = None, options: CandleOptions | None = None) -> str:
    with pytest.raises(RecordingError) as raised:
        list(from_candles(path, funding, options or CandleOptions()).entries)
    return str(raised.value).removeprefix(str(funding or path))


def prices_of(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "prices.csv"
    path.write_text("\n".join(lines))
    return path


ROWS = [
    (",2026-01-19T04:02:00Z,1,1,1,1", 'market was "", expected a string of 1 to 128 printable characters'),
    ("BTC-USD-PERP,yesterday,1,1,1,1", f't was "yesterday", expected {TIME}'),
    ("BTC-USD-PERP,,1,1,1,1", f't was "", expected {TIME}'),
    ("BTC-USD-PERP,2026-01-19T04:02:00+02:00,1,1,1,1", f't was "2026-01-19T04:02:00+02:00", expected {TIME}'),
    ("BTC-USD-PERP,12345678901,1,1,1,1", f't was "12345678901", expected {TIME}'),
    (
        GOOD.replace("104", "105"),
        "has BTC-USD-PERP at 2026-01-19T04:00:00Z again, expected the values of row 2, or one of the two",
    ),
    (
        "BTC-USD-PERP,2026-01-19T04:02:07Z,100,104,99,101",
        (
            "has BTC-USD-PERP at 2026-01-19T04:02:07Z, expected 2026-01-19T04:02:00Z as the others, 60 s apart, or the "
            "row left out"
        ),
    ),
    ("BTC-USD-PERP,2026-01-19T04:02:00Z,abc,1,1,1", f'open was "abc", expected {DECIMAL}'),
    ("BTC-USD-PERP,2026-01-19T04:02:00Z,1,,1,1", f'high was "", expected {DECIMAL}'),
    ("BTC-USD-PERP,2026-01-19T04:02:00Z,1,1,NaN,1", f'low was "NaN", expected {DECIMAL}'),
    ("BTC-USD-PERP,2026-01-19T04:02:00Z,1,1,1,1e999999", f'close was "1e999999", expected {DECIMAL}'),
    ("BTC-USD-PERP,2026-01-19T04:02:00Z,3,2,1,1", 'high was "2", expected at least open, low and close, 3'),
    ("BTC-USD-PERP,2026-01-19T04:02:00Z,3,4,3.5,4", 'low was "3.5", expected at most open and close, 3'),
    (
        "BTC-USD-PERP,2026-01-19T04:02:00Z,1",
        "has 3 values, expected one for each of the columns market, t, open, high, low, close",
    ),
]


@pytest.mark.parametrize(("row", "expected"), ROWS)
def test_candles_when_a_row_is_wrong_then_names_row_column_value_and_expected(
    tmp_path: Path, row: str, expected: str
) -> None:
    assert refusal(prices_of(tmp_path, HEADING, GOOD, NEXT, row)) == f":4: {expected}"


def test_candles_when_a_column_is_missing_then_names_it(tmp_path: Path) -> None:
    path = prices_of(tmp_path, "market,t,open,high,low", GOOD)
    assert refusal(path) == ":1: has 0 columns named 'close', expected one each of market, t, open, high, low, close"


def test_candles_when_a_column_comes_twice_then_names_it(tmp_path: Path) -> None:
    path = prices_of(tmp_path, HEADING + ",Close", GOOD)
    assert refusal(path).startswith(":1: has 2 columns named 'close', expected one each of")


def test_candles_when_nothing_names_the_market_then_says_how_to(tmp_path: Path) -> None:
    path = prices_of(tmp_path, "open_time,open,high,low,close", "1768795200000,1,1,1,1")
    expected = "expected market, t, open, high, low, close, or --market NAME for all rows"
    assert refusal(path) == f":1: has no column 'market', {expected}"
    assert refusal(prices_of(tmp_path, "1768795200000,1,1,1,1,5")) == f":1: has no heading, {expected}"


def test_candles_when_the_file_is_empty_then_says_so(tmp_path: Path) -> None:
    expected = ": is empty, expected rows with the columns market, t, open, high, low, close"
    assert refusal(prices_of(tmp_path, "")) == expected


def test_candles_when_the_compressed_file_is_cut_off_then_says_so(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv.gz"
    path.write_bytes(gzip.compress("\n".join([HEADING, GOOD, NEXT]).encode())[:-9])
    assert refusal(path).startswith(": cannot be read (Compressed file ended")
    path.write_bytes(b"no gzip")
    assert refusal(path).startswith(": cannot be read (Not a gzipped file")


def test_candles_when_the_file_has_no_rows_then_says_so(tmp_path: Path) -> None:
    expected = ": has no rows, expected some with the columns market, t, open, high, low, close"
    assert refusal(prices_of(tmp_path, HEADING)) == expected


def test_candles_when_the_file_is_not_there_then_says_so(tmp_path: Path) -> None:
    expected = ": cannot be read (No such file or directory), expected a readable file"
    assert refusal(tmp_path / "none.csv") == expected
    pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    assert refusal(tmp_path / "none.parquet").startswith(": cannot be read (")


def test_candles_when_the_file_is_no_text_then_says_so(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(HEADING.encode() + b"\n\xff\xfe\n")
    assert "is not CSV in UTF-8 (" in refusal(path)


def test_candles_when_a_market_has_one_then_says_what_is_missing(tmp_path: Path) -> None:
    expected = ": has one candle of BTC-USD-PERP, expected at least two: their distance is the interval"
    assert refusal(prices_of(tmp_path, HEADING, GOOD)) == expected


@pytest.mark.parametrize("step_s", [7, 30])
def test_candles_when_the_step_does_not_fit_then_says_so(tmp_path: Path, step_s: int) -> None:
    path = prices_of(tmp_path, HEADING, GOOD, NEXT)
    expected = f"expected a multiple of the step of {step_s} s, at least 3 of them: --step 20"
    assert (
        refusal(path, options=CandleOptions(step_s=step_s)) == f": has candles of BTC-USD-PERP 60 s apart, {expected}"
    )


def test_candles_when_there_are_too_many_rows_then_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "ROWS_MAX", 1)
    expected = ":3: has more than 1 rows, expected a shorter stretch: split the file"
    assert refusal(prices_of(tmp_path, HEADING, GOOD, NEXT)) == expected


RATES = [
    ("BTC-USD-PERP,2026-01-19T05:00:00Z,", f':3: rate was "", expected {DECIMAL}'),
    (
        "BTC-USD-PERP,2026-01-19T05:00:00Z,0.06",
        ':3: rate was "0.06", expected at most the market\'s cap, 0.05 either way',
    ),
    (
        "BTC-USD-PERP,2026-01-19T04:00:00Z,0.01",
        ":3: has BTC-USD-PERP at 2026-01-19T04:00:00Z again, expected the values of row 2, or one of the two",
    ),
]


@pytest.mark.parametrize(("row", "expected"), RATES)
def test_funding_when_a_row_is_wrong_then_names_it(tmp_path: Path, row: str, expected: str) -> None:
    funding = tmp_path / "funding.csv"
    funding.write_text(f"market,t,rate\nBTC-USD-PERP,2026-01-19T04:00:00Z,0.0001\n{row}\n")
    path = prices_of(tmp_path, HEADING, GOOD, NEXT)
    assert refusal(path, funding, CandleOptions(max_funding_rate=Decimal("0.05"))) == expected


def test_funding_when_a_market_has_no_rate_then_names_it(tmp_path: Path) -> None:
    funding = tmp_path / "funding.csv"
    funding.write_text("market,t,rate\nETH-USD-PERP,2026-01-19T04:00:00Z,0.0001\n")
    path = prices_of(tmp_path, HEADING, GOOD, NEXT)
    assert (
        refusal(path, funding) == ": has no rate for BTC-USD-PERP but for ETH-USD-PERP, expected the same market names"
    )


@pytest.mark.parametrize(
    ("rows", "period_s", "expected"),
    [
        (["07:00,0.0001"], None, "begins at 2026-01-19T07:00:00Z for BTC-USD-PERP, expected a rate before the last"),
        (
            ["00:00,0.0001", "08:00,0.0001"],
            3600,
            "has rates 28800 s apart, expected at most the funding period of 3600 s",
        ),
    ],
)
def test_funding_when_it_is_of_another_time_or_period_then_says_what_would_fit(
    tmp_path: Path, rows: list[str], period_s: int | None, expected: str
) -> None:
    funding = tmp_path / "funding.csv"
    times = [f"BTC-USD-PERP,2026-01-19T{row.replace(',', ':00Z,')}" for row in rows]
    funding.write_text("\n".join(["market,t,rate", *times]))
    path = prices_of(tmp_path, HEADING, GOOD, NEXT)
    assert refusal(path, funding, CandleOptions(funding_period_s=period_s)).startswith(f": {expected}")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [GOOD.replace("BTC-USD-PERP", "BTCUSDT"), NEXT.replace("BTC-USD-PERP", "BTCUSDT")],
            "has candles of BTCUSDT, expected the market names of prices.csv, BTC-USD-PERP",
        ),
        (
            [GOOD.replace("T04", "T06"), NEXT.replace("T04", "T06")],
            (
                "has candles of BTC-USD-PERP from 2026-01-19T06:00:00Z to 2026-01-19T06:02:00Z, expected the time of "
                "prices.csv, 2026-01-19T04:00:00Z to 2026-01-19T04:02:00Z"
            ),
        ),
    ],
    ids=["market names", "time"],
)
def test_references_when_they_do_not_belong_to_the_prices_then_says_what_would_fit(
    tmp_path: Path, rows: list[str], expected: str
) -> None:
    venue = tmp_path / "okx.csv"
    venue.write_text("\n".join([HEADING, *rows]))
    path = prices_of(tmp_path, HEADING, GOOD, NEXT)
    with pytest.raises(RecordingError) as raised:
        from_candles(path, None, CandleOptions(references={"okx": venue}))
    assert str(raised.value) == f"{venue}: {expected}"


def test_parquet_when_the_file_is_none_then_says_so(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    path = tmp_path / "prices.parquet"
    path.write_text("no parquet")
    assert refusal(path).startswith(": is not readable Parquet (")


def test_parquet_when_a_value_is_missing_then_names_row_and_column(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    row = {"market": "A", "t": 1768795200000, "open": 1.5, "high": 2.0, "low": 1.0, "close": None}
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "prices.parquet")
    assert refusal(tmp_path / "prices.parquet") == f":1: close was null, expected {DECIMAL}"


def test_parquet_when_the_extra_is_not_installed_then_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    expected = ": needs the extra `parquet` (pip install circuit-guard[parquet]), or expected a CSV file"
    assert refusal(tmp_path / "prices.parquet") == expected
