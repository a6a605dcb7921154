"""Making a recording from candles: open, high, low and close per market and interval, and funding rates.

Inside a candle the price goes from the open to the nearer extreme, to the other one, to the close. The mark price is
the index price; funding accrues from the rates. References are further candle files, or are derived from the same
path: then they cannot show a divergence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal, localcontext
from heapq import merge
from itertools import groupby, pairwise
from pathlib import Path

from circuit_guard.core.envelope import GapMode
from circuit_guard.core.formatting import format_time
from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.core.types import ARITHMETIC, SECOND_NS
from circuit_guard.errors import RecordingError
from circuit_guard.recording.format import Entry, Header
from circuit_guard.recording.history import Candle, FundingRate, History, read_candles, read_funding, shown

SOURCE = "exchange"
OBSERVATION_DELAY_NS = 200_000_000
DERIVED_REFERENCES = {"derived-a": 400, "derived-b": 900, "derived-c": 1400}
"""References made from the candles themselves, with their delay in milliseconds."""
REFERENCE_DELAY_NS = 400_000_000
STEPS_PER_CANDLE_MIN = 3
PERIODS_S = frozenset(hours * 3600 for hours in (1, 2, 4, 6, 8, 12, 24))
FUNDING_PERIOD_S = 28_800
"""The usual period, where the rates show none of PERIODS_S."""
_PRICE = Context(prec=12)
_INDEX_EXPONENT = Decimal("1e-15")


@dataclass(frozen=True, slots=True)
class CandleOptions:
    """How candles become observations. `references` maps a source's name to its own candle file; `market` names what
    files without such a column are of.
    """

    step_s: int = 5
    funding_index_start: Decimal = Decimal(0)
    funding_period_s: int | None = None
    """None: how far apart the rates are, if that is a usual period, or else 8 h."""
    max_funding_rate: Decimal = Decimal("0.05")
    references: Mapping[str, Path] = field(default_factory=dict)
    market: str | None = None


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
    assumed: tuple[str, ...]
    """What the files left open, and how it was taken: sentences."""
    entries: Iterator[Entry]


@dataclass(frozen=True, slots=True)
class Series:
    """The candles of one market, in time order, and their interval."""

    candles: list[Candle]
    interval_ns: int

    @property
    def end_ns(self) -> int:
        """When the last candle ends."""
        return self.candles[-1].start_ns + self.interval_ns

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
    assumed: dict[str, None] = {}
    prices = _series(prices_path, options, assumed)
    rates: dict[str, list[FundingRate]] = {}
    if funding_path is not None:
        history = read_funding(funding_path, options.max_funding_rate, options.market)
        options = replace(options, funding_period_s=_period_s(history, prices, options, assumed))
        rates = history.markets
        _note(assumed, funding_path, history.assumed)
    references = {}
    for source, path in options.references.items():
        references[source] = _series(path, options, assumed)
        _refuse_apart(path, references[source], prices_path, prices, assumed)
    header = Header(
        _description(prices_path, funding_path, options),
        options.funding_period_s or FUNDING_PERIOD_S,
        GapMode.ACCRUE,
        dict.fromkeys(prices, options.max_funding_rate),
    )
    gaps = tuple(gap for series in prices.values() for gap in series.gaps())
    return CandleImport(header, gaps, tuple(assumed), _entries(prices, rates, references, options))


def _note(assumed: dict[str, None], path: Path, sentences: Iterable[str]) -> None:
    assumed.update(dict.fromkeys(f"{path.name}: {sentence}" for sentence in sentences))


def _period_s(
    rates: History[FundingRate], prices: Mapping[str, Series], options: CandleOptions, assumed: dict[str, None]
) -> int:
    """Return the period that the rates are for. Refuse rates that are not of these markets, times or periods."""
    apart_s = set()
    for market, series in prices.items():
        if market not in rates.markets:
            problem = f"has no rate for {market} but for {shown(list(rates.markets))}, expected the same market names"
            raise rates.refuse(problem)
        own = rates.markets[market]
        if own[0].start_ns >= series.end_ns:
            first = f"begins at {format_time(own[0].start_ns)} for {market}"
            raise rates.refuse(f"{first}, expected a rate before the last candle, {format_time(series.end_ns)}")
        if len(own) > 1:
            apart_s.add(rates.spacing_ns(market) // SECOND_NS)
        if own[0].start_ns > series.candles[0].start_ns:
            since = format_time(own[0].start_ns)
            _note(
                assumed, rates.path, [f"the first rate of {market} is from {since}: taken for the time before it too"]
            )
    seldom_s, given_s = max(apart_s, default=0), options.funding_period_s
    if given_s is not None and seldom_s > given_s:
        raise rates.refuse(f"has rates {seldom_s} s apart, expected at most the funding period of {given_s} s apart")
    if given_s is None:
        given_s = seldom_s if seldom_s in PERIODS_S else FUNDING_PERIOD_S
        _note(assumed, rates.path, [f"a rate is taken to be for {given_s} s; --funding-period says otherwise"])
    return given_s


def _refuse_apart(
    path: Path, series: Mapping[str, Series], prices_path: Path, prices: Mapping[str, Series], assumed: dict[str, None]
) -> None:
    """Refuse candles of a venue that cannot be references of these: of other markets, or of another time."""
    common = [market for market in prices if market in series]
    if not common:
        have, want = shown(list(series)), shown(list(prices))
        raise RecordingError(
            str(path), 0, f"has candles of {have}, expected the market names of {prices_path.name}, {want}"
        )
    for market in common:
        ours, theirs = prices[market], series[market]
        if theirs.end_ns <= ours.candles[0].start_ns or theirs.candles[0].start_ns >= ours.end_ns:
            have = f"{format_time(theirs.candles[0].start_ns)} to {format_time(theirs.end_ns)}"
            want = f"{format_time(ours.candles[0].start_ns)} to {format_time(ours.end_ns)}"
            problem = f"has candles of {market} from {have}, expected the time of {prices_path.name}, {want}"
            raise RecordingError(str(path), 0, problem)
        if theirs.candles[0].start_ns > ours.candles[0].start_ns or theirs.end_ns < ours.end_ns:
            _note(assumed, path, [f"{market} is not covered all along: this reference is silent outside its candles"])
    if missing := [market for market in prices if market not in series]:
        _note(assumed, path, [f"there is no {shown(missing)}: this reference is silent there"])


def _description(prices_path: Path, funding_path: Path | None, options: CandleOptions) -> str:
    funding = f"funding rates of {funding_path.name}" if funding_path is not None else "no funding"
    references = ", ".join(f"{source} from {path.name}" for source, path in options.references.items())
    derived = "derived from the same candles with fixed delays: they cannot show a divergence"
    return (
        f"candles of {prices_path.name}, {funding}; the path inside a candle is assumed,"
        f" in steps of {options.step_s} s; references {references or derived}"
    )


def _series(path: Path, options: CandleOptions, assumed: dict[str, None]) -> dict[str, Series]:
    """Return the candles of each market of a file, and how long they are."""
    step_ns, series = options.step_s * SECOND_NS, {}
    history = read_candles(path, options.market)
    for market, candles in history.markets.items():
        if len(candles) == 1:
            raise history.refuse(f"has one candle of {market}, expected at least two: their distance is the interval")
        interval_ns = history.spacing_ns(market)
        _refuse_off_grid(history, market, interval_ns)
        shortest_ns = STEPS_PER_CANDLE_MIN * step_ns
        if interval_ns < STEPS_PER_CANDLE_MIN * SECOND_NS and shortest_ns % interval_ns == 0:
            together = f"candles of {interval_ns / SECOND_NS:g} s are put together to {shortest_ns / SECOND_NS:g} s"
            history.assumed[f"{together}, three steps each"] = None
            candles, interval_ns = _put_together(candles, shortest_ns), shortest_ns
        if interval_ns % step_ns or interval_ns < shortest_ns:
            problem = (
                f"has candles of {market} {interval_ns / SECOND_NS:g} s apart, expected a multiple of the step of"
                f" {options.step_s} s, at least {STEPS_PER_CANDLE_MIN} of them{_fitting(interval_ns)}"
            )
            raise history.refuse(problem)
        series[market] = Series(candles, interval_ns)
    _note(assumed, path, history.assumed)
    return series


def _fitting(interval_ns: int) -> str:
    """Return which step would fit the candles; nothing where none of whole seconds does."""
    longest = interval_ns // (STEPS_PER_CANDLE_MIN * SECOND_NS)
    fits = next((step for step in range(longest, 0, -1) if interval_ns % (step * SECOND_NS) == 0), None)
    return "" if fits is None else f": --step {fits}"


def _refuse_off_grid(history: History[Candle], market: str, interval_ns: int) -> None:
    """Refuse a candle that does not start where the others do, by its row: its neighbours would overlap or gape."""
    starts = [candle.start_ns for candle in history.markets[market]]
    usual_ns = Counter(start_ns % interval_ns for start_ns in starts).most_common(1)[0][0]
    for row, start_ns in zip(history.rows[market], starts, strict=True):
        off_ns = (start_ns - usual_ns) % interval_ns
        if off_ns:
            near_ns = start_ns - off_ns + (interval_ns if off_ns * 2 > interval_ns else 0)
            expected = f"{format_time(near_ns)} as the others, {interval_ns / SECOND_NS:g} s apart, or the row left out"
            raise history.refuse(f"has {market} at {format_time(start_ns)}, expected {expected}", row)


def _put_together(candles: Sequence[Candle], interval_ns: int) -> list[Candle]:
    """Return longer candles, each of those that start within it."""
    longer = []
    for start_ns, within in groupby(candles, lambda candle: candle.start_ns - candle.start_ns % interval_ns):
        first, *others = within
        every = [first, *others]
        high, low = max(candle.high for candle in every), min(candle.low for candle in every)
        longer.append(Candle(first.market, start_ns, first.open, high, low, every[-1].close))
    return longer


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
    period_s = options.funding_period_s or FUNDING_PERIOD_S
    for sequence, (time_ns, price) in enumerate(series.path(options.step_s * SECOND_NS), start=1):
        if last_ns is not None:
            index = ARITHMETIC.add(index, accrued(premium, time_ns - last_ns, period_s))
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
