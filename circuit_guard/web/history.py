"""What the page remembers of the last minutes, in memory and bounded: samples for charts, decisions, events, trips."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from itertools import takewhile
from math import nan
from typing import NamedTuple

from circuit_guard.core import facts
from circuit_guard.core.envelope import Interval
from circuit_guard.core.facts import Fact
from circuit_guard.core.market import Judged, MarketState, published
from circuit_guard.core.permit import decision_of
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.progress import view_of
from circuit_guard.core.rules import band
from circuit_guard.core.rules.divergence import mark_interval
from circuit_guard.core.status import MarketStatus
from circuit_guard.core.types import ARITHMETIC, GLOBAL_SCOPE, SECOND_NS, AllowedCheck, BreakerState, Decision, Verdict

SAMPLES_MAX, KEPT_S = 300, 600
"""The last ten minutes at one in about two seconds; 31 kB per market."""
SAMPLE_NS = 3 * SECOND_NS // 2
"""Samples of a market are at least this far apart: every second tick makes one."""
AT_REST_NS = 10 * SECOND_NS
"""So far apart are they while no page is open, the market is not held and its data are not rejected."""
DENIED_MAX, ALLOWED_MAX, EVENTS_MAX = 20, 5, 20
"""Kept per market. Denied and allowed apart, so that a flood of one kind does not push out the other."""
LATEST_MAX = 100
"""Kept of all markets together."""
BEFORE_TRIP_S, AFTER_TRIP_S = 180, 60
"""What is kept round the last trip when the ring has long gone past it."""

JUDGED = (facts.ObservationJudged, facts.ReferenceJudged)
"""Nearly all that happens, and nothing of it is kept: charts are drawn from samples."""

Event = (
    facts.BreakerChanged
    | facts.HaltChanged
    | facts.PhaseChanged
    | facts.MarketWarm
    | facts.MarketReopened
    | facts.Rebaselined
)


class Sample(NamedTuple):
    """Published values and what was allowed, as floats, for drawing only. NaN: not known, or nothing new published."""

    at_s: float
    mark: float
    funding_index: float
    rejected: float
    """1 where the observation with these values was rejected, 0 where it was trusted."""
    hull_low: float
    hull_high: float
    limit_low: float
    limit_high: float
    band_low: float
    band_high: float
    envelope_low: float
    envelope_high: float


WIDTH = len(Sample._fields)


class Ring:
    """The samples of the last `KEPT_S`, oldest first, and no more than `SAMPLES_MAX`."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values = array("d")

    def append(self, sample: Sample) -> None:
        """Keep a sample, and forget those that are too old or too many."""
        values = self._values
        values.extend(sample)
        first, oldest_s = max(len(values) - SAMPLES_MAX * WIDTH, 0), sample.at_s - KEPT_S
        while values[first] < oldest_s:
            first += WIDTH
        if first:
            del values[:first]

    def samples(self) -> list[Sample]:
        """Return the samples, oldest first."""
        values = self._values
        return [Sample(*values[start : start + WIDTH]) for start in range(0, len(values), WIDTH)]


class Limits(NamedTuple):
    """What a sample needs to know of a market, in a third of the time that its whole status takes."""

    market: str
    hull: Interval | None
    mark_limits: Interval | None
    band: Interval | None
    funding_envelope: Interval | None


def limits_of(market: MarketState, policy: MarketPolicy, now_ns: int) -> Limits:
    """Return what a market allows at `now_ns`: what its status would say."""
    with localcontext(ARITHMETIC):
        policy = policy.at(now_ns)
        view = view_of(market, policy, now_ns)
        mark_limits, in_band = mark_interval(view, policy), band.interval(view, policy)
        return Limits(market.market, view.references.hull, mark_limits, in_band, view.funding_envelope(policy))


@dataclass(slots=True)
class Trip:
    """The last time a market's breaker opened; there is no `ring` of its own until `AFTER_TRIP_S` have passed."""

    changed: facts.BreakerChanged
    sampled: bool = False
    ring: Ring | None = None


@dataclass(slots=True)
class MarketHistory:
    """What is remembered of one market, or of GLOBAL. Events and decisions oldest first."""

    ring: Ring = field(default_factory=Ring)
    sampled_ns: int = 0
    seen: Judged | None = None
    """The latest observation that is in a sample."""
    denied: deque[Decision] = field(default_factory=lambda: deque(maxlen=DENIED_MAX))
    allowed: deque[Decision] = field(default_factory=lambda: deque(maxlen=ALLOWED_MAX))
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_MAX))
    trip: Trip | None = None

    def decisions(self) -> list[Decision]:
        """Return the decisions that are kept, newest first."""
        return sorted([*self.denied, *self.allowed], key=lambda decision: decision.at_ns, reverse=True)


class History:
    """An engine observer, and what a tick hands each market's status to."""

    def __init__(self, markets: Iterable[str]) -> None:
        self._markets = {name: MarketHistory() for name in (GLOBAL_SCOPE, *markets)}
        self._latest: deque[Decision] = deque(maxlen=LATEST_MAX)

    def on_facts(self, facts: Sequence[Fact], took_ns: int) -> None:
        """Keep what a page will show."""
        for fact in facts:
            if not isinstance(fact, JUDGED):
                self._keep(fact)

    def on_allowed(self, checks: Sequence[AllowedCheck]) -> None:
        """Keep the last of what permits allowed; more than these are never shown."""
        for check in checks[-LATEST_MAX:]:
            self._keep(facts.DecisionMade(check.at_ns, decision_of(check)))

    def wants(self, market: MarketState, now_ns: int) -> bool:
        """Return whether it is time for a sample of a market that nobody looks at."""
        kept = self._markets[market.market]
        at_rest = market.held_since_ns is None and not market.rejections
        since_ns = now_ns - kept.sampled_ns
        return since_ns >= (AT_REST_NS if at_rest else SAMPLE_NS) or (kept.trip is not None and not kept.trip.sampled)

    def sample(self, status: MarketStatus | Limits, market: MarketState, now_ns: int) -> None:
        """Keep what a market is now, if the last sample is old enough or its breaker has opened since then."""
        kept = self._markets[status.market]
        tripped = kept.trip is not None and not kept.trip.sampled
        if now_ns - kept.sampled_ns < SAMPLE_NS and not tripped:
            return
        first_wrong, latest = _published_since(kept.seen, market)
        if first_wrong is not None and first_wrong is not latest:
            kept.ring.append(sample_of(status, first_wrong.observation.at_ns, first_wrong))
        kept.ring.append(sample_of(status, latest.observation.at_ns if latest else now_ns, latest))
        kept.sampled_ns, kept.seen = now_ns, latest or kept.seen
        if kept.trip is not None and kept.trip.ring is None:
            kept.trip.sampled = True
            kept.trip.ring = _round(kept.trip.changed.at_ns / SECOND_NS, now_ns / SECOND_NS, kept.ring)

    def of(self, market: str) -> MarketHistory:
        """Return what is remembered of a market of the policy, or of GLOBAL."""
        return self._markets[market]

    def knows(self, market: str) -> bool:
        """Tell whether the policy names the market."""
        return market in self._markets and market != GLOBAL_SCOPE

    def latest(self) -> list[Decision]:
        """Return the last decisions over all markets, newest first."""
        return list(reversed(self._latest))

    def _keep(self, fact: Fact) -> None:
        match fact:
            case facts.DecisionMade(decision=decision, repeated=False):
                self._latest.append(decision)
                if decision.market in self._markets:
                    kept = self._markets[decision.market]
                    (kept.denied if decision.verdict is Verdict.DENY else kept.allowed).append(decision)
            case facts.BreakerChanged() | facts.HaltChanged():
                self._happened(fact.scope, fact)
            case facts.PhaseChanged() | facts.MarketWarm() | facts.MarketReopened() | facts.Rebaselined():
                self._happened(fact.market, fact)
            case facts.PolicyChanged():
                self._markets |= {name: MarketHistory() for name in fact.added}
                for name in fact.removed:
                    self._markets.pop(name, None)  # a recovered policy may have had others than this one

    def _happened(self, scope: str, event: Event) -> None:
        if scope not in self._markets:
            return
        kept = self._markets[scope]
        kept.events.append(event)
        if isinstance(event, facts.BreakerChanged) and event.after is BreakerState.OPEN is not event.before:
            kept.trip = Trip(event)


def _published_since(seen: Judged | None, market: MarketState) -> tuple[Judged | None, Judged | None]:
    """Return the first rejected observation that came after the one seen last, and the latest of all that did."""
    newest_first = reversed(market.feed.recent.values())
    since = list(takewhile(lambda judged: judged is not seen, newest_first))
    first_wrong = next((judged for judged in reversed(since) if not judged.accepted), None)
    return first_wrong, since[0] if since else None


def _round(trip_s: float, now_s: float, ring: Ring) -> Ring | None:
    """Return the samples round a trip once enough have followed it, None before."""
    if now_s - trip_s < AFTER_TRIP_S:
        return None
    kept = Ring()
    for sample in ring.samples():
        if -BEFORE_TRIP_S <= sample.at_s - trip_s <= AFTER_TRIP_S:
            kept.append(sample)
    return kept


def sample_of(status: MarketStatus | Limits, at_ns: int, judged: Judged | None) -> Sample:
    """Return what a market was at an instant; `judged` is the observation published then, None where none was new."""
    values = published(judged.observation) if judged else None
    return Sample(
        at_ns / SECOND_NS,
        _number(values.mark_price if values else None),
        _number(values.funding_index if values else None),
        float(judged is not None and not judged.accepted),
        *_ends(status.hull),
        *_ends(status.mark_limits),
        *_ends(status.band),
        *_ends(status.funding_envelope),
    )


def _number(value: Decimal | None) -> float:
    return nan if value is None else float(value)


def _ends(interval: Interval | None) -> tuple[float, float]:
    return (nan, nan) if interval is None else (float(interval.low), float(interval.high))
