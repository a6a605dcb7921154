"""What a page shows of one market and of decisions, ready for a template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from circuit_guard.core.envelope import Interval
from circuit_guard.core.facts import BreakerChanged, HaltChanged
from circuit_guard.core.references import Nowhere
from circuit_guard.core.status import MarketStatus
from circuit_guard.core.types import SECOND_NS, BreakerState, Decision, Verdict, show
from circuit_guard.web import chart, words
from circuit_guard.web.chart import Chart, Mark
from circuit_guard.web.history import Event, MarketHistory
from circuit_guard.web.samples import Sample


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with its name in the page and what it shows in words. `chart` None: nothing is known yet."""

    key: str
    title: str
    chart: Chart | None
    description: str


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that happened, when, and whether it denies (`bad`), lifts (`good`) or neither (empty)."""

    at: str
    scope: str
    sentence: str
    tone: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision with its evidence."""

    key: str
    at: str
    market: str
    verdict: str
    denied: bool
    kind: str
    account: str
    request: str
    reasons: tuple[str, ...]
    evidence: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


def figures(market: MarketHistory, whole: MarketHistory) -> list[Figure]:
    """Return the charts of the last minutes, and those round the last trip where that is out of them."""
    recent = market.ring.samples()
    found = _figures("now", "", recent, marks(market.events, whole.events))
    trip = market.trip
    if trip is not None and trip.ring is not None and trip.changed.at_ns / SECOND_NS < recent[0].at_s:
        when = f" round the trip of {words.instant(trip.changed.at_ns)}"
        found += _figures("trip", when, trip.ring.samples(), marks([trip.changed, *market.events], whole.events))
    return found


def marks(market_events: Iterable[Event], global_events: Iterable[Event]) -> list[Mark]:
    """Return the moments to draw: where a breaker opened or closed, or an operator halted or resumed."""
    named = [(event, "") for event in market_events] + [(event, "GLOBAL ") for event in global_events]
    found = {(mark.at_s, mark.style): mark for event, scope in named if (mark := _mark(event, scope))}
    return sorted(found.values(), key=lambda mark: mark.at_s)


def timeline(market: MarketHistory, whole: MarketHistory) -> list[Happened]:
    """Return what happened to a market and to GLOBAL, newest first."""
    named = [(event, "") for event in market.events] + [(event, "GLOBAL") for event in whole.events]
    newest_first = sorted(named, key=lambda pair: pair[0].at_ns, reverse=True)
    return [Happened(words.instant(e.at_ns), scope, words.happened(e), _tone(e)) for e, scope in newest_first]


def answers(decisions: Iterable[Decision]) -> list[Answer]:
    """Return decisions as the page shows them."""
    return [_answer(decision) for decision in decisions]


def values(market: MarketStatus) -> list[tuple[str, str]]:
    """Return what is trusted of a market now, name by name."""
    like = market.mark_price
    return [
        ("mark price", _aged(show(like), market.mark_age_ns) if like is not None else "none yet"),
        ("may be", _interval(market.mark_limits, "unknown: no fresh reference")),
        ("band", _interval(market.band, "none in this phase")),
        (
            "reference price",
            f"{words.rounded(market.reference_price, like) or 'none'} from {market.reference_count} fresh references",
        ),
        ("index price", "none yet" if market.index_price is None else show(market.index_price)),
        (
            "funding index",
            "none yet" if market.funding_index is None else _aged(show(market.funding_index), market.funding_age_ns),
        ),
        ("can be", _interval(market.funding_envelope, "unknown")),
        ("class", f"{market.market_class}{', required' if market.required else ''}"),
        ("warm", "yes" if market.warm else "no: it has not yet shown enough consistent observations"),
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
    at_s, when = event.at_ns / SECOND_NS, words.time_of_day(event.at_ns)
    match event:
        case BreakerChanged(after=BreakerState.OPEN):
            reason = event.findings[0].reason if event.findings else ""
            return Mark(at_s, "trip", f"{scope}{'latched' if event.latched else 'tripped'} {when} {reason}")
        case BreakerChanged(after=BreakerState.CLOSED):
            return Mark(at_s, "reset", f"{scope}closed {when}")
        case HaltChanged():
            return Mark(at_s, "halt", f"{scope}{'halted' if event.halted else 'resumed'} {when}")
        case _:
            return None


def _tone(event: Event) -> str:
    match event:
        case BreakerChanged():
            return {BreakerState.OPEN: "bad", BreakerState.CLOSED: "good"}.get(event.after, "")
        case HaltChanged():
            return "bad" if event.halted else "good"
        case _:
            return ""


def _answer(decision: Decision) -> Answer:
    facts = [
        ("decision", decision.decision_id),
        ("request", decision.request_id),
        ("account", decision.account_id),
        ("phase", str(decision.phase)),
        ("breaker", words.breaker_state(decision.breaker, latched=False)),
        ("policy", decision.policy_revision),
    ]
    if decision.shadow_verdict is not decision.verdict:
        facts.append(("enforced, it would be", str(decision.shadow_verdict)))
    if decision.explained is not None:
        facts.append(("the account's loss", words.explained_loss(decision.explained)))
    return Answer(
        key=decision.decision_id,
        at=words.instant(decision.at_ns),
        market=decision.market,
        verdict=str(decision.verdict),
        denied=decision.verdict is Verdict.DENY,
        kind=str(decision.kind),
        account=decision.account_id,
        request=decision.request_id,
        reasons=tuple(dict.fromkeys(found.reason for found in decision.findings)),
        evidence=tuple(words.sentences(decision.findings)),
        facts=tuple(facts),
    )


def _aged(value: str, age_ns: int | None) -> str:
    return value if age_ns is None else f"{value}, {age_ns / SECOND_NS:.1f} s old"


def _interval(interval: Interval | Nowhere | None, unknown: str) -> str:
    return unknown if interval is None else f"{show(interval.low)} to {show(interval.high)}"
