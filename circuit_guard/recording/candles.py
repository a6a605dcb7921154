"""Making a recording from candles: open, high, low and close per market and interval, and funding rates.

    prices    market, t, open, high, low, close     t: start of the interval, in UTC
    funding   market, t, rate                       t: from when on the rate is in force

Inside a candle the price goes from the open to the nearer extreme, to the other one, to the close. The mark price is
the index price; funding accrues from the rates. References are further candle files, or are derived from the same
path: then they cannot show a divergence.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Context, Decimal, localcontext
from heapq import merge
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from circuit_guard.core.envelope import GapMode
from circuit_guard.core.formatting import format_time
from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.core.types import ARITHMETIC, SECOND_NS
from circuit_guard.errors import RecordingError
from circuit_guard.recording import format as fields
from circuit_guard.recording.format import Entry, FieldError, Header, JsonObject

SOURCE = "exchange"
OBSERVATION_DELAY_NS = 200_000_000
DERIVED_REFERENCES = {"derived-a": 400, "derived-b": 900, "derived-c": 1400}
"""References made from the candles themselves, with their delay in milliseconds."""
REFERENCE_DELAY_NS = 400_000_000
STEPS_PER_CANDLE_MIN = 3
_PRICE = Context(prec=12)
_INDEX_EXPONENT = Decimal("1e-15")


@dataclass(frozen=True, slots=True)
class CandleOptions:
    """How candles become observations. `references` maps a source's name to its own candle file."""

    step_s: int = 5
    funding_index_start: Decimal = Decimal(0)
    funding_period_s: int = 28_800
    max_funding_rate: Decimal = Decimal("0.05")
    references: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without candles: nothing is published in it."""

    market: str
    from_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class CandleImport:
    """A recording made from candles, ready to be written. `entries` can be read once."""

    header: Header
    gaps: tuple[Gap, ...]
    entries: Iterator[Entry]


@dataclass(frozen=True, slots=True)
class Series:
    """The candles of one market, in time order, and their interval."""

    candles: list[Candle]
    interval_ns: int

    def gaps(self) -> list[Gap]:
        """Return the stretches without candles."""
        return [
            Gap(before.market, before.start_ns + self.interval_ns, after.start_ns)
            for before, after in pairwise(self.candles)
            if after.start_ns > before.start_ns + self.interval_ns
        ]

    def path(self, step_ns: int) -> Iterator[tuple[int, Decimal]]:
        """Yield time and price at each step; the close where the next candle does not follow."""
        steps = self.interval_ns // step_ns
        for number, candle in enumerate(self.candles):
            prices = candle_path(candle, steps)
            yield from ((candle.start_ns + step * step_ns, price) for step, price in enumerate(prices))
            end_ns = candle.start_ns + self.interval_ns
            if number + 1 == len(self.candles) or self.candles[number + 1].start_ns > end_ns:
                yield end_ns, candle.close


def from_candles(prices_path: Path, funding_path: Path | None, options: CandleOptions) -> CandleImport:
    """Read candles and rates, and return the recording they make. Raises RecordingError with file and row."""
    prices = _series(prices_path, options)
    rates = read_funding(funding_path, options.max_funding_rate) if funding_path is not None else {}
    for market in prices:
        if funding_path is not None and market not in rates:
            raise RecordingError(str(funding_path), 0, f"has no rate for {market}, expected at least one")
    references = {source: _series(path, options) for source, path in options.references.items()}
    header = Header(
        _description(prices_path, funding_path, options),
        options.funding_period_s,
        GapMode.ACCRUE,
        dict.fromkeys(prices, options.max_funding_rate),
    )
    gaps = tuple(gap for series in prices.values() for gap in series.gaps())
    return CandleImport(header, gaps, _entries(prices, rates, references, options))


def _description(prices_path: Path, funding_path: Path | None, options: CandleOptions) -> str:
    funding = f"funding rates of {funding_path.name}" if funding_path is not None else "no funding"
    references = ", ".join(f"{source} from {path.name}" for source, path in options.references.items())
    derived = "derived from the same candles with fixed delays: they cannot show a divergence"
    return (
        f"candles of {prices_path.name}, {funding}; the path inside a candle is assumed,"
        f" in steps of {options.step_s} s; references {references or derived}"
    )


def _series(path: Path, options: CandleOptions) -> dict[str, Series]:
    step_ns = options.step_s * SECOND_NS
    series = {}
    for market, candles in read_candles(path).items():
        if len(candles) == 1:
            problem = f"has one candle of {market}, expected at least two: their distance is the interval"
            raise RecordingError(str(path), 0, problem)
        interval_ns = min(after.start_ns - before.start_ns for before, after in pairwise(candles))
        if interval_ns % step_ns or interval_ns < STEPS_PER_CANDLE_MIN * step_ns:
            problem = (
                f"has candles of {market} {interval_ns / SECOND_NS:g} s apart, expected a multiple of the step of"
                f" {options.step_s} s, at least {STEPS_PER_CANDLE_MIN} of them"
            )
            raise RecordingError(str(path), 0, problem)
        series[market] = Series(candles, interval_ns)
    return series


def candle_path(candle: Candle, steps: int) -> list[Decimal]:
    """Return the price at each step: from the open to the nearer extreme, to the other one, towards the close."""
    extremes = (candle.low, candle.high)
    if candle.high - candle.open < candle.open - candle.low:
        extremes = (candle.high, candle.low)
    corners = list(zip((0, steps // 3, 2 * steps // 3, steps), (candle.open, *extremes, candle.close), strict=True))
    with localcontext(_PRICE):
        return [
            start + (end - start) * (step - first) / (last - first)
            for (first, start), (last, end) in pairwise(corners)
            for step in range(first, last)
        ]


def _entries(
    prices: Mapping[str, Series],
    rates: Mapping[str, list[FundingRate]],
    references: Mapping[str, Mapping[str, Series]],
    options: CandleOptions,
) -> Iterator[Entry]:
    step_ns = options.step_s * SECOND_NS
    streams: list[Iterator[Entry]] = []
    for market, series in prices.items():
        streams.append(_observations(market, series, rates.get(market, []), options))
        if not references:
            for source, delay_ms in DERIVED_REFERENCES.items():
                streams.append(_references(market, source, series.path(step_ns), delay_ms * SECOND_NS // 1000))
        for source, markets in references.items():
            if market in markets:
                streams.append(_references(market, source, markets[market].path(step_ns), REFERENCE_DELAY_NS))
    return merge(*streams, key=lambda entry: entry.at_ns)


def _observations(
    market: str, series: Series, rates: list[FundingRate], options: CandleOptions
) -> Iterator[Observation]:
    """Yield what the exchange would have published; the funding index accrues over gaps too."""
    index, premium, last_ns, place = options.funding_index_start, Decimal(0), None, 0
    for sequence, (time_ns, price) in enumerate(series.path(options.step_s * SECOND_NS), start=1):
        if last_ns is not None:
            index = ARITHMETIC.add(index, accrued(premium, time_ns - last_ns, options.funding_period_s))
        while place + 1 < len(rates) and rates[place + 1].start_ns <= time_ns:
            place += 1
        rate = rates[place].rate if rates else Decimal(0)
        premium, last_ns = _PRICE.multiply(rate, price), time_ns
        at_ns = time_ns + OBSERVATION_DELAY_NS
        yield Observation(at_ns, market, SOURCE, 1, sequence, time_ns, price, price, index, rate, premium)


def _references(market: str, source: str, path: Iterator[tuple[int, Decimal]], delay_ns: int) -> Iterator[Reference]:
    for time_ns, price in path:
        yield Reference(time_ns + delay_ns, market, source, time_ns, price)


def accrued(premium: Decimal, elapsed_ns: int, period_s: int) -> Decimal:
    """Return how much a funding index grows by under a premium per funding period."""
    share = ARITHMETIC.divide(Decimal(elapsed_ns), Decimal(period_s * SECOND_NS))
    return ARITHMETIC.multiply(premium, share).quantize(_INDEX_EXPONENT, context=ARITHMETIC)


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


T = TypeVar("T", "Candle", "FundingRate")


def read_candles(path: Path) -> dict[str, list[Candle]]:
    """Return the candles of each market in time order. Raises RecordingError."""
    return _series_of(path, CANDLE_COLUMNS, _candle)


def read_funding(path: Path, rate_max: Decimal) -> dict[str, list[FundingRate]]:
    """Return the rates of each market in time order. Raises RecordingError."""

    def read(row: JsonObject) -> FundingRate:
        rate = fields.required_decimal(row, "rate", "")
        if abs(rate) > rate_max:
            fields.refuse(row, "rate", "", f"at most the market's cap, {rate_max} either way")
        return FundingRate(_time_ns(row), rate)

    return _series_of(path, FUNDING_COLUMNS, read)


def _series_of(path: Path, columns: tuple[str, ...], read: Callable[[JsonObject], T]) -> dict[str, list[T]]:
    """Return what each row holds, by market and in time order."""
    markets: dict[str, list[T]] = {}
    count = 0
    for number, row in read_rows(path, columns):
        count += 1
        if count > ROWS_MAX:
            raise RecordingError(str(path), number, f"has more than {ROWS_MAX} rows, expected a shorter stretch")
        try:
            market, item = fields.required_name(row, "market", ""), read(row)
            series = markets.setdefault(market, [])
            if series and item.start_ns <= series[-1].start_ns:
                last = format_time(series[-1].start_ns)
                fields.refuse(row, "t", "", f"after the market's row before it, {last}")
        except FieldError as error:
            raise RecordingError(str(path), number, str(error)) from None
        series.append(item)
    if not count:
        raise RecordingError(str(path), 0, f"has no rows, expected some with the columns {', '.join(columns)}")
    return markets


def _candle(row: JsonObject) -> Candle:
    open_, high, low, close = (fields.required_decimal(row, column, "") for column in CANDLE_COLUMNS[2:])
    if high < max(open_, low, close):
        fields.refuse(row, "high", "", f"at least open, low and close, {max(open_, low, close)}")
    if low > min(open_, close):
        fields.refuse(row, "low", "", f"at most open and close, {min(open_, close)}")
    return Candle(str(row["market"]), _time_ns(row), open_, high, low, close)


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


PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})

Row = tuple[int, dict[str, object]]
"""The row's number, and its values by column name in lower case. In a CSV file the heading is row 1."""


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Yield the named columns of every row; others are passed over. Raises RecordingError."""
    rows = _parquet_rows(path, columns) if path.suffix.lower() in PARQUET_SUFFIXES else _csv_rows(path, columns)
    try:
        yield from rows
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error}), expected a readable file"
        raise RecordingError(str(path), 0, problem) from None


def _csv_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            places = _places(path, next(reader, []), columns)
            for values in reader:
                if len(values) <= max(places.values()):
                    problem = f"has {len(values)} values, expected one for each of the columns {', '.join(columns)}"
                    raise RecordingError(str(path), reader.line_num, problem)
                yield reader.line_num, {column: values[place].strip() for column, place in places.items()}
        except (csv.Error, UnicodeDecodeError) as error:
            problem = f"is not CSV in UTF-8 ({error}), expected comma-separated values"
            raise RecordingError(str(path), reader.line_num + 1, problem) from None


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        problem = "needs the extra `parquet` (pip install circuit-guard[parquet]), or expected a CSV file"
        raise RecordingError(str(path), 0, problem) from None
    try:
        file = pyarrow.parquet.ParquetFile(path)
        places = _places(path, file.schema_arrow.names, columns)
        names = {column: file.schema_arrow.names[place] for column, place in places.items()}
        number = 0
        for batch in file.iter_batches(columns=list(names.values())):
            for values in batch.to_pylist():
                number += 1
                yield number, {column: _text(values[name]) for column, name in names.items()}
    except (pyarrow.ArrowException, ValueError) as error:
        raise RecordingError(str(path), 0, f"is not readable Parquet ({error}), expected a Parquet file") from None


def _places(path: Path, heading: Sequence[str], columns: Sequence[str]) -> dict[str, int]:
    """Return where each column stands, whatever the case of its name."""
    names = [name.strip().lower() for name in heading]
    for column in columns:
        if names.count(column) != 1:
            problem = f"has {names.count(column)} columns named {column!r}, expected one each of {', '.join(columns)}"
            raise RecordingError(str(path), 1, problem)
    return {column: names.index(column) for column in columns}


def _text(value: object) -> object:
    """Return a Parquet value as CSV would hold it; a missing one stays None."""
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return None if value is None else str(value)
