"""What pages show of markets, events and decisions, ready for a template. States are words, not only colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlencode

from circuit_guard.core import formatting
from circuit_guard.core.envelope import Interval
from circuit_guard.core.explain import Explanation, explain_market, hardest
from circuit_guard.core.facts import BreakerChanged, HaltChanged
from circuit_guard.core.phase import BANDED_PHASES
from circuit_guard.core.status import MarketStatus
from circuit_guard.core.types import GLOBAL_SCOPE, SECOND_NS, BreakerState, Decision, show
from circuit_guard.web import chart
from circuit_guard.web.chart import Chart, Mark
from circuit_guard.web.history import Event, MarketHistory, Sample

PAGE_SIZE = 100
WANTED_CHARACTERS_MAX = 64


class Tone(StrEnum):
    """How bad something is. Pages show it as a word and a sign as well as a colour."""

    BAD = "bad"
    CARE = "care"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Room:
    """How much of a rule's limit is left, as a share of 1."""

    rule: str
    left: float

    @property
    def tone(self) -> Tone:
        """Return how near the limit is, as a tone."""
        return Tone.BAD if self.left < 0.1 else Tone.CARE if self.left < 0.25 else Tone.GOOD


@dataclass(frozen=True, slots=True)
class Row:
    """What a page says of one market first. `room` is that of the rule nearest to its limit."""

    market: MarketStatus
    tone: Tone
    closures: str
    explained: Explanation
    since_ns: int | None
    room: Room | None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the markets, a hundred at a time. `number` counts from 1; `wanted` is in the names of all `found`."""

    markets: Sequence[MarketStatus]
    number: int
    last: int
    found: int
    wanted: str

    def link(self, number: int) -> str:
        """Return the address of another page of the same."""
        return "/?" + urlencode({"q": self.wanted, "page": number} if self.wanted else {"page": number})


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with its name in the page and what it shows in words. `chart` None: nothing is known yet."""

    key: str
    title: str
    chart: Chart | None
    description: str


def row_of(market: MarketStatus, *, in_maintenance: bool) -> Row:
    """Return what is said of a market first."""
    tone, closures = closures_of(market)
    explained = explain_market(market, in_maintenance=in_maintenance)
    banded = explained.since_ns is None and market.phase in BANDED_PHASES
    since_ns = market.phase_since_ns if banded else explained.since_ns
    room = min(rooms_of(market), key=lambda room: room.left, default=None)
    return Row(market, tone, closures, explained, since_ns, room)


def closures_of(market: MarketStatus) -> tuple[Tone, str]:
    """Return what happens to closures in a market."""
    if market.denying:
        return Tone.BAD, "DENIED"
    if market.phase in BANDED_PHASES:
        return Tone.CARE, "in the band"
    if market.ramp_share is not None:
        return Tone.CARE, f"ramp, at {float(market.ramp_share):.0%}"
    return Tone.GOOD, "allowed"


def rooms_of(market: MarketStatus) -> list[Room]:
    """Return what is left of every rule's limit."""
    return [Room(rule, float(left)) for rule, left in sorted(market.headroom.items())]


def rank(market: MarketStatus) -> tuple[int, int, float, str]:
    """Return a key by which the markets that are hardest to bring back come first, then those nearest to a limit."""
    tone_rank = {Tone.BAD: 0, Tone.CARE: 1, Tone.GOOD: 2}[closures_of(market)[0]]
    lift = hardest(market)
    nearest = min((float(left) for left in market.headroom.values()), default=1.0)
    return tone_rank, -1 if lift is None else -lift.hardness, nearest if tone_rank else 1.0, market.market


def page_of(markets: Sequence[MarketStatus], wanted: str, number: str) -> Page:
    """Return the page with a number as given in an address: the nearest there is, the first if it is no number."""
    wanted = wanted.strip()[:WANTED_CHARACTERS_MAX]
    found = [market for market in markets if wanted.lower() in market.market.lower()]
    last = max(-(-len(found) // PAGE_SIZE), 1)
    asked = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 1
    shown = min(max(asked, 1), last)
    return Page(found[(shown - 1) * PAGE_SIZE : shown * PAGE_SIZE], shown, last, len(found), wanted)


def figures(market: MarketHistory, whole: MarketHistory) -> list[Figure]:
    """Return the charts of the last minutes, and those round the last trip where that is out of them."""
    recent = market.ring.samples()
    found = _figures("now", "", recent, marks(market.events, whole.events))
    trip = market.trip
    if trip is not None and trip.ring is not None and trip.changed.at_ns / SECOND_NS < recent[0].at_s:
        when = f" round the trip of {formatting.instant(trip.changed.at_ns)}"
        found += _figures("trip", when, trip.ring.samples(), marks([trip.changed, *market.events], whole.events))
    return found


def marks(market_events: Iterable[Event], global_events: Iterable[Event]) -> list[Mark]:
    """Return the moments to draw: where a breaker opened or closed, or an operator halted or resumed."""
    named = [(event, "") for event in market_events] + [(event, f"{GLOBAL_SCOPE} ") for event in global_events]
    found = {(mark.at_s, mark.style): mark for event, scope in named if (mark := _mark(event, scope))}
    return sorted(found.values(), key=lambda mark: mark.at_s)


def timeline(market: MarketHistory, whole: MarketHistory) -> list[Event]:
    """Return what happened to a market and to GLOBAL, newest first."""
    return sorted([*market.events, *whole.events], key=lambda event: event.at_ns, reverse=True)


def tone_of(event: Event) -> str:
    """Return whether an event denies (`bad`), lifts (`good`) or neither (empty)."""
    match event:
        case BreakerChanged():
            return {BreakerState.OPEN: "bad", BreakerState.CLOSED: "good"}.get(event.after, "")
        case HaltChanged(stays=False):
            return "bad" if event.halted else "good"
        case _:
            return ""


def facts_of(decision: Decision) -> list[tuple[str, str]]:
    """Return what a decision rests on beside its findings, name by name."""
    facts = [
        ("at", formatting.instant(decision.at_ns)),
        ("decision", decision.decision_id),
        ("request", decision.request_id),
        ("account", decision.account_id),
        ("phase", str(decision.phase)),
        ("breaker", formatting.breaker(decision.breaker)),
        ("policy", decision.policy_revision),
    ]
    if decision.shadow_verdict is not decision.verdict:
        facts.append(("enforced, it would be", str(decision.shadow_verdict)))
    if decision.explained is not None:
        facts.append(("the account's loss", formatting.explained_loss(decision.explained)))
    return facts


def values(market: MarketStatus) -> list[tuple[str, str]]:
    """Return what is trusted of a market now, name by name."""
    like, funding = market.mark_price, market.funding_index
    reference = formatting.rounded(market.reference_price, like) or "none"
    coming = [("next change", market.next_change)] if market.next_change else []
    return [
        ("mark price", "none yet" if like is None else _aged(show(like), market.mark_age_ns)),
        ("may be", _interval(market.mark_limits, "unknown: too few fresh references")),
        ("band", _interval(market.band, "none in this phase")),
        ("reference price", f"{reference} from {market.reference_count} fresh references"),
        ("index price", "none yet" if market.index_price is None else show(market.index_price)),
        ("funding index", "none yet" if funding is None else _aged(show(funding), market.funding_age_ns)),
        ("can be", _interval(market.funding_envelope, "unknown")),
        ("class", f"{market.market_class}{', required' if market.required else ''}"),
        ("warm", "yes" if market.warm else "no: it has not yet shown enough consistent observations"),
        *coming,
    ]


def _figures(key: str, when: str, samples: Sequence[Sample], moments: Sequence[Mark]) -> list[Figure]:
    return [
        Figure(
            f"{key}-{subject.field}",
            f"{subject.title}{when}",
            chart.draw(subject, samples, moments) if samples else None,
            chart.described(subject, samples, moments) if samples else "Nothing is known yet.",
        )
        for subject in (chart.MARK_PRICE, chart.FUNDING_INDEX)
    ]


def _mark(event: Event, scope: str) -> Mark | None:
    at_s, when = event.at_ns / SECOND_NS, formatting.time_of_day(event.at_ns)
    match event:
        case BreakerChanged(after=BreakerState.OPEN):
            reason = event.findings[0].reason if event.findings else ""
            return Mark(at_s, "trip", f"{scope}{'latched' if event.latched else 'tripped'} {when} {reason}")
        case BreakerChanged(after=BreakerState.CLOSED):
            return Mark(at_s, "reset", f"{scope}closed {when}")
        case HaltChanged(stays=False):
            return Mark(at_s, "halt", f"{scope}{'halted' if event.halted else 'resumed'} {when}")
        case _:
            return None


def _aged(value: str, age_ns: int | None) -> str:
    return value if age_ns is None else f"{value}, {age_ns / SECOND_NS:.1f} s old"


def _interval(interval: Interval | None, unknown: str) -> str:
    return unknown if interval is None else f"{show(interval.low)} to {show(interval.high)}"
