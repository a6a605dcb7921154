"""Making a recording from candles: open, high, low and close per market and interval, and funding rates.

    prices    market, t, open, high, low, close     t: start of the interval, in UTC
    funding   market, t, rate                       t: from when on the rate is in force

Inside a candle the price goes from the open to the nearer extreme, to the other one, to the close. The mark price is
the index price; funding accrues from the rates. References are further candle files, or are derived from the same
path: then they cannot show a divergence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext
from heapq import merge
from itertools import pairwise
from pathlib import Path

from circuit_guard.core.envelope import GapMode
from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.core.types import ARITHMETIC, SECOND_NS
from circuit_guard.errors import RecordingError
from circuit_guard.recording.candle_files import Candle, FundingRate, read_candles, read_funding
from circuit_guard.recording.entries import Entry, Header

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
