"""Reading candles and funding rates, each row judged: file, row, column, value, and what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from circuit_guard.core.types import SECOND_NS
from circuit_guard.errors import RecordingError
from circuit_guard.recording import fields
from circuit_guard.recording.fields import FieldError, JsonObject
from circuit_guard.recording.tables import read_rows

CANDLE_COLUMNS = ("market", "t", "open", "high", "low", "close")
FUNDING_COLUMNS = ("market", "t", "rate")
ROWS_MAX = 500_000
"""All rows are held in memory to bring the markets into one time order."""

_MILLISECONDS = re.compile(r"[0-9]{12,13}")
_SPACE_PLACE = len("2026-01-19")
_EXPECTED_TIME = "a time in UTC, as 2026-01-19T04:30:00Z or in milliseconds since 1970"


@dataclass(frozen=True, slots=True)
class Candle:
    """The prices of one market over one interval."""

    market: str
    start_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


@dataclass(frozen=True, slots=True)
class FundingRate:
    """A funding rate per funding period, and from when on it is in force."""

    start_ns: int
    rate: Decimal


def read_candles(path: Path) -> dict[str, list[Candle]]:
    """Return the candles of each market in time order. Raises RecordingError."""
    markets: dict[str, list[Candle]] = {}
    for number, row in _limited(path, CANDLE_COLUMNS):
        try:
            candle = _candle(row)
            series = markets.setdefault(candle.market, [])
            _require_later(row, candle.start_ns, series[-1].start_ns if series else None)
        except FieldError as error:
            raise RecordingError(str(path), number, str(error)) from None
        series.append(candle)
    return markets


def read_funding(path: Path, rate_max: Decimal) -> dict[str, list[FundingRate]]:
    """Return the rates of each market in time order. Raises RecordingError."""
    markets: dict[str, list[FundingRate]] = {}
    for number, row in _limited(path, FUNDING_COLUMNS):
        try:
            market, rate = fields.required_name(row, "market", ""), fields.required_decimal(row, "rate", "")
            if abs(rate) > rate_max:
                fields.refuse(row, "rate", "", f"at most the market's cap, {rate_max} either way")
            series = markets.setdefault(market, [])
            start_ns = _time_ns(row)
            _require_later(row, start_ns, series[-1].start_ns if series else None)
        except FieldError as error:
            raise RecordingError(str(path), number, str(error)) from None
        series.append(FundingRate(start_ns, rate))
    return markets


def _limited(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, JsonObject]]:
    count = 0
    for number, row in read_rows(path, columns):
        count += 1
        if count > ROWS_MAX:
            raise RecordingError(str(path), number, f"has more than {ROWS_MAX} rows, expected a shorter stretch")
        yield number, row
    if not count:
        raise RecordingError(str(path), 0, f"has no rows, expected some with the columns {', '.join(columns)}")


def _candle(row: JsonObject) -> Candle:
    market = fields.required_name(row, "market", "")
    open_, high, low, close = (fields.required_decimal(row, column, "") for column in CANDLE_COLUMNS[2:])
    if high < max(open_, low, close):
        fields.refuse(row, "high", "", f"at least open, low and close, {max(open_, low, close)}")
    if low > min(open_, close):
        fields.refuse(row, "low", "", f"at most open and close, {min(open_, close)}")
    return Candle(market, _time_ns(row), open_, high, low, close)


def _time_ns(row: JsonObject) -> int:
    """Return the time of a row; a space may stand for the T, as many tools write it."""
    text = str(row.get("t"))
    if _MILLISECONDS.fullmatch(text):
        return int(text) * SECOND_NS // 1000
    if text[_SPACE_PLACE : _SPACE_PLACE + 1] == " ":
        text = text.replace(" ", "T", 1)
    value = fields.parse_time_ns(text)
    if value is None:
        fields.refuse(row, "t", "", _EXPECTED_TIME)
    return value


def _require_later(row: JsonObject, start_ns: int, last_ns: int | None) -> None:
    if last_ns is not None and start_ns <= last_ns:
        fields.refuse(row, "t", "", f"after the market's row before it, {fields.format_time(last_ns)}")
