"""What the page remembers of the last minutes, in memory and bounded: samples for charts, decisions, events, trips."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from circuit_guard.core.facts import (
    BreakerChanged,
    DecisionMade,
    Fact,
    HaltChanged,
    MarketReopened,
    MarketWarm,
    PhaseChanged,
    PolicyChanged,
    Rebaselined,
)
from circuit_guard.core.market import Judged, MarketState
from circuit_guard.core.status import MarketStatus
from circuit_guard.core.types import GLOBAL_SCOPE, SECOND_NS, BreakerState, Decision, Verdict
from circuit_guard.web.samples import Ring, sample_of

SAMPLE_NS = 3 * SECOND_NS // 2
"""Samples of a market are at least so far apart, which makes every second tick one."""
DENIED_MAX, ALLOWED_MAX, EVENTS_MAX = 20, 5, 20
"""Kept a market. Denied and allowed apart, so that a flood of one kind does not push out the other."""
LATEST_MAX = 100
"""Kept of all markets together."""
BEFORE_TRIP_S, AFTER_TRIP_S = 180, 60
"""What is kept round the last trip when the ring has long gone past it."""

Event = BreakerChanged | HaltChanged | PhaseChanged | MarketWarm | MarketReopened | Rebaselined


@dataclass(slots=True)
class Trip:
    """The last time a market's breaker opened; there is no `ring` of its own until `AFTER_TRIP_S` have passed."""

    changed: BreakerChanged
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
            match fact:
                case DecisionMade(repeated=False):
                    self._decided(fact.decision)
                case BreakerChanged() | HaltChanged():
                    self._happened(fact.scope, fact)
                case PhaseChanged() | MarketWarm() | MarketReopened() | Rebaselined():
                    self._happened(fact.market, fact)
                case PolicyChanged():
                    self._markets |= {name: MarketHistory() for name in fact.added}
                    for name in fact.removed:
                        self._markets.pop(name, None)  # a recovered policy may have had others than this one

    def sample(self, status: MarketStatus, market: MarketState, now_ns: int) -> None:
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

    def _decided(self, decision: Decision) -> None:
        self._latest.append(decision)
        kept = self._markets.get(decision.market)
        if kept is not None:
            (kept.denied if decision.verdict is Verdict.DENY else kept.allowed).append(decision)

    def _happened(self, scope: str, event: Event) -> None:
        kept = self._markets.get(scope)
        if kept is None:
            return
        kept.events.append(event)
        if isinstance(event, BreakerChanged) and event.after is BreakerState.OPEN is not event.before:
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
