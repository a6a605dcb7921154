"""What an evaluation runs on: a short honest stretch of a recording, and the same stretch with a fault laid into it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random

from circuit_guard.core.inputs import Observation, PhaseCommand, Reference
from circuit_guard.core.types import ARITHMETIC, SECOND_NS
from circuit_guard.errors import RecordingError
from circuit_guard.recording.format import Entry, Fault

FeedEntry = Observation | Reference | PhaseCommand

WINDOW_NS = 960 * SECOND_NS
WARM_UP_NS = 180 * SECOND_NS
"""Honest data before any fault: the guard comes to trust it."""
AFTERMATH_NS = 300 * SECOND_NS
"""What follows a fault: how long a market stays halted, and whom the way back to the truth strikes."""
FAULT_ZONE_NS_MIN = 60 * SECOND_NS
MARKETS_MAX = 8
_MOVE_NS = 60 * SECOND_NS
_JITTER_NS = 100 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Steps:
    """A quantity that holds its value until the next one is published."""

    times_ns: Sequence[int]
    values: Sequence[Decimal]

    def at(self, at_ns: int) -> Decimal:
        """Return the value in force at a time; before the first one, that one."""
        return self.values[max(bisect_right(self.times_ns, at_ns) - 1, 0)]

    def since(self, at_ns: int) -> Sequence[Decimal]:
        """Return the value in force at a time and all that follow."""
        return self.values[max(bisect_right(self.times_ns, at_ns) - 1, 0) :]


@dataclass(frozen=True, slots=True)
class Values:
    """The mark prices and funding indices that a stream of observations gives, by market."""

    marks: Mapping[str, Steps]
    funding_indices: Mapping[str, Steps]

    def mark(self, market: str, at_ns: int) -> Decimal:
        """Return the mark price in force at a time."""
        return self.marks[market].at(at_ns)

    def funding(self, market: str, at_ns: int) -> Decimal:
        """Return the funding index in force at a time."""
        return self.funding_indices[market].at(at_ns)

    @staticmethod
    def of(observations: Iterable[Observation]) -> Values:
        """Collect the values of observations in time order. One that is absent leaves the last one in force."""
        marks: dict[str, tuple[list[int], list[Decimal]]] = {}
        indices: dict[str, tuple[list[int], list[Decimal]]] = {}
        for observation in observations:
            given = ((marks, observation.mark_price), (indices, observation.funding_index))
            for series, value in given:
                times, values = series.setdefault(observation.market, ([], []))
                if value is not None:
                    times.append(observation.at_ns)
                    values.append(value)
        return Values(
            {market: Steps(*series) for market, series in marks.items() if series[0]},
            {market: Steps(*series) for market, series in indices.items() if series[0]},
        )


@dataclass(frozen=True, slots=True)
class Feed:
    """An honest stretch: observations, references and phases in time order, and what they say of each market."""

    entries: tuple[FeedEntry, ...]
    markets: tuple[str, ...]
    """Those with mark prices and funding indices, sorted."""
    values: Values
    observations: Mapping[str, tuple[Observation, ...]]
    """By market, in time order."""

    @staticmethod
    def of(entries: Iterable[FeedEntry]) -> Feed:
        """Make a feed of entries in time order. Markets without a mark price or a funding index are left out."""
        given = tuple(entries)
        values = Values.of(entry for entry in given if isinstance(entry, Observation))
        markets = sorted(values.marks.keys() & values.funding_indices.keys())
        kept = _only(given, markets)
        observations: dict[str, list[Observation]] = {market: [] for market in markets}
        for entry in kept:
            if isinstance(entry, Observation):
                observations[entry.market].append(entry)
        return Feed(kept, tuple(markets), values, {market: tuple(own) for market, own in observations.items()})

    @property
    def start_ns(self) -> int:
        """When the first entry was received."""
        return self.entries[0].at_ns

    @property
    def end_ns(self) -> int:
        """When the last entry was received."""
        return self.entries[-1].at_ns

    @property
    def fault_zone_ns(self) -> tuple[int, int]:
        """From when to when a fault may last: after the warm-up, before the aftermath."""
        return self.start_ns + WARM_UP_NS, self.end_ns - AFTERMATH_NS

    @property
    def sources(self) -> tuple[str, ...]:
        """The venues that publish references, sorted."""
        return tuple(sorted({entry.source for entry in self.entries if isinstance(entry, Reference)}))


@dataclass(frozen=True, slots=True)
class FaultedFeed:
    """A feed with a fault in it, and the truth that nobody in it sees."""

    kind: str
    seed: int
    fault: Fault | None
    """What is wrong with the exchange's data, where and when; None where nothing is: nothing may be held or trip."""
    honest: Feed
    published: tuple[FeedEntry, ...]
    """What the guard is told, in time order: by the exchange and by the venues."""
    observed: tuple[Observation, ...]
    """What the liquidation engine computes with; the published observations, unless the fault is the engine's own."""
    truth: Values
    seen: Values
    """The values of `observed`: with them a retry states its basis."""
    restarts_ns: tuple[int, ...] = ()
    """When the guard itself has come back from a restart, with the state that it had."""
    guard_down_ns: tuple[tuple[int, int], ...] = ()
    """From when to when there is no guard: nothing is published to it, and a check then is denied by the client."""
    fills_at_mark: bool = False
    """Whether the book itself is skewed, so that closures fill near the mark seen and not near the true one."""
    dust_markets: tuple[str, ...] = ()
    """Markets in which every account holds dust, and none holds more."""
    maintenance_factor: Decimal = Decimal(1)
    """By how much the engine overstates the maintenance margin in the markets of the fault while it lasts."""

    def maintenance_factor_at(self, market: str, at_ns: int) -> Decimal:
        """Return by how much the engine overstates the maintenance margin of a market at a time."""
        fault = self.fault
        if fault is None or market not in fault.markets or not fault.at_ns <= at_ns < fault.until_ns:
            return Decimal(1)
        return self.maintenance_factor


def window(entries: Sequence[Entry], seed: int) -> Feed:
    """Cut sixteen minutes and at most eight markets out of an honest recording, both drawn by the seed.

    Half of the windows are laid so that a fault can meet the recording's worst minute. Raises RecordingError where the
    recording is too short, or holds a fault of its own: then nobody knows the truth.
    """
    _require_honest(entries)
    random = Random(f"window {seed}")  # noqa: S311 - repeatable, not secret
    start_ns = _start_ns(entries, random)
    inside = [entry for entry in entries if start_ns <= entry.at_ns <= start_ns + WINDOW_NS]
    markets = sorted({entry.market for entry in inside if isinstance(entry, Observation)})
    chosen = sorted(random.sample(markets, min(len(markets), MARKETS_MAX)))
    earlier = [
        replace(entry, at_ns=start_ns)
        for entry in entries
        if isinstance(entry, PhaseCommand) and entry.at_ns < start_ns
    ]
    kept = [entry for entry in inside if isinstance(entry, FeedEntry)]
    return Feed.of(_only((*earlier, *kept), chosen))


def _require_honest(entries: Sequence[Entry]) -> None:
    if any(isinstance(entry, Fault) for entry in entries):
        raise RecordingError("recording", 0, "holds a fault of its own, expected honest data to lay faults into")
    span_ns = entries[-1].at_ns - entries[0].at_ns if entries else 0
    span_ns_min = WARM_UP_NS + FAULT_ZONE_NS_MIN + AFTERMATH_NS
    if span_ns < span_ns_min:
        problem = f"lasts {span_ns // SECOND_NS} s, expected at least {span_ns_min // SECOND_NS} s"
        raise RecordingError("recording", 0, problem)


def _start_ns(entries: Sequence[Entry], random: Random) -> int:
    first_ns, last_ns = entries[0].at_ns, max(entries[0].at_ns, entries[-1].at_ns - WINDOW_NS)
    drawn_ns = random.randint(first_ns, last_ns)
    if random.random() < 0.5:
        return drawn_ns
    middle_ns = (WARM_UP_NS + WINDOW_NS - AFTERMATH_NS) // 2
    observations = (entry for entry in entries if isinstance(entry, Observation))
    wanted_ns = worst_minute_ns(observations) - middle_ns + random.randint(-_JITTER_NS, _JITTER_NS)
    return min(max(wanted_ns, first_ns), last_ns)


def worst_minute_ns(observations: Iterable[Observation]) -> int:
    """Return the start of the minute in which a mark price moved by the greatest share."""
    opening: dict[str, tuple[int, Decimal]] = {}
    worst, worst_ns = Decimal(-1), 0
    for observation in observations:
        mark, market = observation.mark_price, observation.market
        if mark is None:
            continue
        began_ns, began = opening.setdefault(market, (observation.at_ns, mark))
        if observation.at_ns - began_ns < _MOVE_NS:
            continue
        opening[market] = (observation.at_ns, mark)
        move = ARITHMETIC.divide(abs(mark - began), abs(began)) if began else Decimal(0)
        if move > worst:
            worst, worst_ns = move, began_ns
    return worst_ns


def _only(entries: Iterable[FeedEntry], markets: Sequence[str]) -> tuple[FeedEntry, ...]:
    """Return the entries of these markets; a phase command keeps those of its markets that are among them."""
    kept: list[FeedEntry] = []
    for entry in entries:
        if not isinstance(entry, PhaseCommand):
            if entry.market in markets:
                kept.append(entry)
        elif not entry.markets:
            kept.append(entry)
        elif named := tuple(market for market in entry.markets if market in markets):
            kept.append(replace(entry, markets=named))
    return tuple(kept)
