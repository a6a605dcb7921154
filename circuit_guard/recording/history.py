"""Price history as people have it: candles and funding rates in CSV (also gzipped) or Parquet.

    prices    market, t, open, high, low, close     t: start of the interval, in UTC
    funding   market, t, rate                       t: from when on the rate is in force

What a file leaves open is assumed and said, or refused with the row and what would mend it.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Generic, TextIO, TypeVar

from circuit_guard.core.formatting import counted, format_time
from circuit_guard.core.types import SECOND_NS
from circuit_guard.errors import RecordingError
from circuit_guard.recording import format as fields
from circuit_guard.recording.format import FieldError, JsonObject

CANDLE_COLUMNS = ("market", "t", "open", "high", "low", "close")
FUNDING_COLUMNS = ("market", "t", "rate")
NAMES: Mapping[str, frozenset[str]] = {
    "market": frozenset({"symbol", "instrument", "pair", "ticker"}),
    "t": frozenset({"time", "timestamp", "open_time", "opentime", "date", "datetime", "calc_time", "funding_time"}),
    "open": frozenset({"o"}),
    "high": frozenset({"h"}),
    "low": frozenset({"l"}),
    "close": frozenset({"c"}),
    "rate": frozenset({"funding_rate", "fundingrate", "last_funding_rate"}),
}
"""What exchanges call the columns, in lower case."""
HEADLESS = ("t", "open", "high", "low", "close")
"""The first columns of kline files without a heading, in the order of Binance, OKX and Bybit."""
ROWS_MAX = 500_000
"""All rows are held in memory to bring the markets into one time order."""
PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
MARKETS_SHOWN_MAX = 5

_UNITS = {10: ("seconds", SECOND_NS), 13: ("milliseconds", 10**6), 16: ("microseconds", 10**3), 19: ("nanoseconds", 1)}
"""The digits of a time since 1970, from 2001 to 2286, with its unit."""
_NAIVE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?")
_UTC_OFFSET = re.compile(r"[+]00:?00$")
_EXPECTED_TIME = "a time in UTC, as 2026-01-19T04:30:00Z or since 1970 in s, ms, us or ns"


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


T = TypeVar("T", Candle, FundingRate)


@dataclass(slots=True)
class History(Generic[T]):
    """What a file holds: by market in time order, the row that each item comes from, and what was assumed."""

    path: Path
    markets: dict[str, list[T]] = field(default_factory=dict)
    rows: dict[str, list[int]] = field(default_factory=dict)
    assumed: dict[str, None] = field(default_factory=dict)
    """Sentences, in the order in which they were met."""

    def refuse(self, problem: str, row: int = 0) -> RecordingError:
        """Return the error that names the file, and the row if there is one."""
        return RecordingError(str(self.path), row, problem)

    def spacing_ns(self, market: str) -> int:
        """Return the time between two items that is met most often; the shorter of two."""
        starts = [item.start_ns for item in self.markets[market]]
        met = Counter(after - before for before, after in pairwise(starts))
        return min(met, key=lambda span_ns: (-met[span_ns], span_ns))


def read_candles(path: Path, market: str | None = None) -> History[Candle]:
    """Return the candles of each market. `market` names those of a file that does not. Raises RecordingError."""
    return _history(path, CANDLE_COLUMNS, _candle, market)


def read_funding(path: Path, rate_max: Decimal, market: str | None = None) -> History[FundingRate]:
    """Return the rates of each market. Raises RecordingError."""

    def read(row: JsonObject, start_ns: int) -> FundingRate:
        rate = fields.required_decimal(row, "rate", "")
        if abs(rate) > rate_max:
            fields.refuse(row, "rate", "", f"at most the market's cap, {rate_max} either way")
        return FundingRate(start_ns, rate)

    return _history(path, FUNDING_COLUMNS, read, market)


def shown(markets: Sequence[str]) -> str:
    """Return the names of some markets for an error."""
    more = len(markets) - MARKETS_SHOWN_MAX
    return ", ".join(markets[:MARKETS_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def _history(
    path: Path, columns: tuple[str, ...], read: Callable[[JsonObject, int], T], market: str | None
) -> History[T]:
    found = History[T](path)
    taken: dict[str, list[tuple[int, int, T]]] = {}
    count = 0
    for number, row in _rows(path, columns, market, found.assumed):
        count += 1
        if count > ROWS_MAX:
            raise found.refuse(f"has more than {ROWS_MAX} rows, expected a shorter stretch: split the file", number)
        try:
            name, start_ns = fields.required_market(row, "market", ""), _time_ns(row, found.assumed)
            taken.setdefault(name, []).append((start_ns, number, read(row, start_ns)))
        except FieldError as error:
            raise found.refuse(str(error), number) from None
    if not count:
        raise found.refuse(f"has no rows, expected some with the columns {', '.join(columns)}")
    for name, items in taken.items():
        _take(found, name, items)
    return found


def _take(found: History[T], market: str, items: list[tuple[int, int, T]]) -> None:
    """Bring a market's items into time order, each once."""
    if any(after[0] < before[0] for before, after in pairwise(items)):
        found.assumed[f"the rows of {market} are not in time order: sorted"] = None
        items.sort(key=lambda item: item[0])
    kept: list[tuple[int, int, T]] = []
    for item in items:
        start_ns, number, value = item
        if not kept or kept[-1][0] < start_ns:
            kept.append(item)
        elif kept[-1][2] != value:
            problem = f"has {market} at {format_time(start_ns)} again, expected the values of row {kept[-1][1]}"
            raise found.refuse(f"{problem}, or one of the two", number)
    if len(kept) < len(items):
        repeated = counted(len(items) - len(kept), "row")
        found.assumed[f"{repeated} of {market} repeated with the same values: taken once"] = None
    found.markets[market] = [value for _, _, value in kept]
    found.rows[market] = [number for _, number, _ in kept]


def _candle(row: JsonObject, start_ns: int) -> Candle:
    open_, high, low, close = (fields.required_decimal(row, column, "") for column in CANDLE_COLUMNS[2:])
    if high < max(open_, low, close):
        fields.refuse(row, "high", "", f"at least open, low and close, {max(open_, low, close)}")
    if low > min(open_, close):
        fields.refuse(row, "low", "", f"at most open and close, {min(open_, close)}")
    return Candle(str(row["market"]), start_ns, open_, high, low, close)


def _time_ns(row: JsonObject, assumed: dict[str, None]) -> int:
    """Return the time of a row; a space may stand for the T, as many tools write it."""
    text = str(row.get("t"))
    if text.isascii() and text.isdigit() and len(text) in _UNITS:
        unit, per_unit_ns = _UNITS[len(text)]
        if unit != "milliseconds":
            assumed[f"times are {unit} since 1970"] = None
        return int(text) * per_unit_ns
    if _NAIVE.fullmatch(text):
        assumed["times name no zone: taken for UTC"] = None
        text += "Z"
    value = fields.parse_time_ns(_UTC_OFFSET.sub("Z", text).replace(" ", "T", 1))
    if value is None:
        fields.refuse(row, "t", "", _EXPECTED_TIME)
    return value


Row = tuple[int, dict[str, object]]
"""The row's number, and its values by column. In a CSV file with a heading that is row 1."""


def _rows(path: Path, columns: Sequence[str], market: str | None, assumed: dict[str, None]) -> Iterator[Row]:
    """Yield the named columns of every row; others are passed over."""
    rows = (
        _parquet_rows(path, columns, market)
        if path.suffix.lower() in PARQUET_SUFFIXES
        else _csv_rows(path, columns, market, assumed)
    )
    try:
        yield from rows
    except (OSError, EOFError, zlib.error) as error:
        problem = f"cannot be read ({getattr(error, 'strerror', None) or error}), expected a readable file"
        raise RecordingError(str(path), 0, problem) from None


def _opened(path: Path) -> TextIO:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _csv_rows(path: Path, columns: Sequence[str], market: str | None, assumed: dict[str, None]) -> Iterator[Row]:
    with _opened(path) as file:
        reader, first = csv.reader(file, strict=True), True
        places: dict[str, int] = {}
        try:
            for values in reader:
                if not any(value.strip() for value in values):
                    continue
                if first:
                    first = False
                    headless = _is_headless(values, columns)
                    places = _headless(path, columns, market) if headless else _places(path, values, columns, market)
                    if not headless:
                        continue
                    assumed[f"there is no heading: the first columns are taken for {', '.join(HEADLESS)}"] = None
                if len(values) <= max(places.values()):
                    problem = f"has {len(values)} values, expected one for each of the columns {', '.join(columns)}"
                    raise RecordingError(str(path), reader.line_num, problem)
                row: dict[str, object] = {column: values[place].strip() for column, place in places.items()}
                yield reader.line_num, row if "market" in places else {"market": market, **row}
        except (csv.Error, UnicodeDecodeError) as error:
            problem = f"is not CSV in UTF-8 ({error}), expected comma-separated values"
            raise RecordingError(str(path), reader.line_num + 1, problem) from None
        if first:
            raise RecordingError(str(path), 0, f"is empty, expected rows with the columns {', '.join(columns)}")


def _is_headless(values: Sequence[str], columns: Sequence[str]) -> bool:
    numbers = [fields.parse_decimal(value.strip()) is not None for value in values[: len(HEADLESS)]]
    return columns == CANDLE_COLUMNS and len(numbers) == len(HEADLESS) and all(numbers)


def _headless(path: Path, columns: Sequence[str], market: str | None) -> dict[str, int]:
    if market is None:
        raise RecordingError(
            str(path), 1, f"has no heading, expected {', '.join(columns)}, or --market NAME for all rows"
        )
    return {column: place for place, column in enumerate(HEADLESS)}


def _parquet_rows(path: Path, columns: Sequence[str], market: str | None) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        problem = "needs the extra `parquet` (pip install circuit-guard[parquet]), or expected a CSV file"
        raise RecordingError(str(path), 0, problem) from None
    try:
        file = pyarrow.parquet.ParquetFile(path)
        places = _places(path, file.schema_arrow.names, columns, market)
        names = {column: file.schema_arrow.names[place] for column, place in places.items()}
        number = 0
        for batch in file.iter_batches(columns=list(names.values())):
            for values in batch.to_pylist():
                number += 1
                yield number, {"market": market} | {column: _text(values[name]) for column, name in names.items()}
    except (pyarrow.ArrowException, ValueError) as error:
        raise RecordingError(str(path), 0, f"is not readable Parquet ({error}), expected a Parquet file") from None


def _places(path: Path, heading: Sequence[str], columns: Sequence[str], market: str | None) -> dict[str, int]:
    """Return where each column stands, by its name or what exchanges call it, whatever the case."""
    names = [name.strip().lower() for name in heading]
    places = {}
    for column in columns:
        found = [place for place, name in enumerate(names) if name == column]
        found = found or [place for place, name in enumerate(names) if name in NAMES[column]]
        if not found and column == "market":
            if market is None:
                problem = f"has no column 'market', expected {', '.join(columns)}, or --market NAME for all rows"
                raise RecordingError(str(path), 1, problem)
            continue
        if len(found) != 1:
            problem = f"has {len(found)} columns named {column!r}, expected one each of {', '.join(columns)}"
            raise RecordingError(str(path), 1, problem)
        places[column] = found[0]
    return places


def _text(value: object) -> object:
    """Return a Parquet value as CSV would hold it; a missing one stays None."""
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return None if value is None else str(value)
