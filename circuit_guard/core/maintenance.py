"""A maintenance of the exchange: begun before it restarts, ended once its restarted state has been found clean.

A dump of the restarted exchange's state is held against what was last trusted before anybody publishes it. The rules
that judge an observation judge a row, too. What is left to say here is how a row came to be wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from circuit_guard.core import phase as phases
from circuit_guard.core import reopening
from circuit_guard.core.envelope import FundingAccrual, FundingParameters, Interval, funding_bound
from circuit_guard.core.facts import CommandRefused, Fact, MaintenanceBegan, MaintenanceEnded, StateValidated
from circuit_guard.core.feed import due_of
from circuit_guard.core.funding import Accrual, PathPoint, moved
from circuit_guard.core.gates import STATE_NOT_CLEAN
from circuit_guard.core.inputs import BeginMaintenance, EndMaintenance, Observation, StateRow, ValidateState
from circuit_guard.core.market import FeedParameters, MarketState, published, readable
from circuit_guard.core.phase import PhaseParameters
from circuit_guard.core.policy import MarketPolicy, Policy
from circuit_guard.core.price import PriceParameters
from circuit_guard.core.progress import advance, view_of
from circuit_guard.core.rules import divergence, funding_continuity, validity
from circuit_guard.core.rules.basis import BasisParameters
from circuit_guard.core.state import GuardState, Maintenance
from circuit_guard.core.tripping import open_market
from circuit_guard.core.types import Finding, MarketOutcome, Outcome, Phase, Severity, show, show_seconds
from circuit_guard.core.view import MarketView


def apply(state: GuardState, command: BeginMaintenance | ValidateState | EndMaintenance, policy: Policy) -> list[Fact]:
    """Carry out one step of a maintenance, or refuse it."""
    match command:
        case BeginMaintenance():
            return _begin(state, command, policy)
        case ValidateState():
            return _hold_against_trusted(state, command, policy)
        case EndMaintenance():
            return _end(state, command, policy)


def _begin(state: GuardState, command: BeginMaintenance, policy: Policy) -> list[Fact]:
    """Deny every closure until the maintenance has ended."""
    if (running := state.maintenance) is not None:
        observed = f"begun by {running.actor} already: {running.reason}"
        return [CommandRefused(command.at_ns, "maintenance", observed, "none that runs")]
    who = command.actor, command.reason
    state.maintenance = Maintenance(*who, command.at_ns, command.checkpoint, identity=command.identity)
    facts: list[Fact] = [MaintenanceBegan(command.at_ns, *who, command.checkpoint, command.identity)]
    for name, market_policy in policy.markets.items():
        market = state.markets[name]
        facts += advance(state, market, market_policy, command.at_ns)
        facts += _enter(market, Phase.MAINTENANCE, command.at_ns, command)
        facts += reopening.follow(state, market, command.at_ns)
    return facts


def _hold_against_trusted(state: GuardState, command: ValidateState, policy: Policy) -> list[Fact]:
    """Judge a dump of the exchange's state, and remember what was found: the end of the maintenance rests on it."""
    names = [row.market for row in command.rows]
    if state.maintenance is None:
        return [_none_begun(command.at_ns)]
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        return [CommandRefused(command.at_ns, "rows", f"{', '.join(twice)} more than once", "each market once")]
    validated = validate(state, command, policy)
    state.maintenance = replace(state.maintenance, validated=validated)
    return [validated]


def _end(state: GuardState, command: EndMaintenance, policy: Policy) -> list[Fact]:
    """Let the clean markets into POST_ONLY and latch the others. Evidence takes the clean ones to OPEN."""
    if state.maintenance is None:
        return [_none_begun(command.at_ns)]
    validated = state.maintenance.validated
    if validated is None and not command.unvalidated:
        expected = "a validated dump of the exchange's state, or `unvalidated`, which latches every market"
        return [CommandRefused(command.at_ns, "validated", "nothing", expected)]
    outcomes = {} if validated is None else {outcome.market: outcome for outcome in validated.outcomes}
    clean = tuple(name for name in policy.markets if _is_clean(outcomes.get(name)))
    latched = tuple(name for name in state.markets if name not in clean)  # those that left the policy, too
    state.maintenance = None
    facts: list[Fact] = [
        MaintenanceEnded(command.at_ns, command.actor, command.reason, clean, latched, command.identity)
    ]
    for name, market in state.markets.items():
        market_policy = policy.markets.get(name)
        if market_policy is not None:
            facts += advance(state, market, market_policy, command.at_ns)
        if name in latched:
            facts += open_market(state, market, (_not_clean(outcomes.get(name)),), command.at_ns)
        market.agreeing = None
        facts += _enter(market, Phase.POST_ONLY, command.at_ns, command)
        if market_policy is not None:
            market.phase.opens_ns = command.at_ns + market_policy.of(PhaseParameters).post_only_min_ns
        facts += reopening.follow(state, market, command.at_ns)
    return facts


def take_up(state: GuardState, market: MarketState, at_ns: int) -> list[Fact]:
    """Put a market that the policy adds while a maintenance runs into MAINTENANCE like all others."""
    running = state.maintenance
    if running is None:
        return []
    entered = _enter(market, Phase.MAINTENANCE, at_ns, running)
    return [*entered, *reopening.follow(state, market, at_ns)]


def _is_clean(outcome: MarketOutcome | None) -> bool:
    return outcome is not None and outcome.outcome is Outcome.OK


def _enter(
    market: MarketState, phase: Phase, at_ns: int, by: BeginMaintenance | EndMaintenance | Maintenance
) -> list[Fact]:
    entered = phases.transition(
        market.phase,
        market.market,
        at_ns,
        commanded=phase,
        recovering=True,
        actor=by.actor,
        note=by.reason,
        identity=by.identity,
    )
    market.phase.opens_ns = None
    return [entered] if entered else []


def _not_clean(outcome: MarketOutcome | None) -> Finding:
    """Return what latches one market. An operator's act says nothing of the exchange's data: no matter for GLOBAL."""
    observed = "not validated" if outcome is None else f"{outcome.outcome}: {outcome.subject} was {outcome.observed}"
    limit = "a clean dump" if outcome is None or not outcome.limit else outcome.limit
    return Finding(STATE_NOT_CLEAN, Severity.LATCH, "state", observed, limit)


def _none_begun(at_ns: int) -> CommandRefused:
    return CommandRefused(at_ns, "maintenance", "none", "a maintenance that has begun")


SWAPS_SOUGHT_MAX = 200
"""Where more markets are wrong than this, nobody asks which one has whose value, and looking would take seconds."""


GRAVITY = {
    outcome: rank
    for rank, outcome in enumerate(
        (
            Outcome.SWAPPED,
            Outcome.FUNDING_JUMP,
            Outcome.PRICE,
            Outcome.INVALID,
            Outcome.STALE,
            Outcome.MISSING,
            Outcome.NO_BASELINE,
            Outcome.EXTRA,
            Outcome.OK,
        )
    )
}
"""Worst first: values that would settle accounts wrongly, then what cannot be judged, then what does no harm."""


def validate(state: GuardState, command: ValidateState, policy: Policy) -> StateValidated:
    """Return what a dump says of each market of the policy, and of each that it has besides. Changes nothing.

    One outcome per market, the worst market first; each names the worst fault of its row, and the others in `also`.
    """
    dump = _Dump(state, policy, command.at_ns, {row.market: row for row in command.rows})
    limit = "a market that the policy names"
    extra = [
        MarketOutcome(name, Outcome.EXTRA, "market", name, limit) for name in dump.rows if name not in policy.markets
    ]
    found = dump.name_swaps([outcome for name in policy.markets for outcome in dump.judge(name)])
    of_market: dict[str, list[MarketOutcome]] = {}
    for outcome in (*found, *extra):
        of_market.setdefault(outcome.market, []).append(outcome)
    outcomes = sorted(map(_worst_of, of_market.values()), key=_gravity)
    return StateValidated(command.at_ns, command.actor, tuple(outcomes), command.identity)


def _worst_of(faults: list[MarketOutcome]) -> MarketOutcome:
    """Return the worst fault of one row, with the others named in it."""
    worst, *others = sorted(faults, key=_gravity)
    also = (f"{one.outcome}: {one.subject} was {one.observed}, expected {one.limit}" for one in others)
    return replace(worst, also=tuple(also))


def _gravity(found: MarketOutcome) -> int:
    return GRAVITY[found.outcome]


@dataclass(frozen=True, slots=True)
class _Dump:
    """The rows of a dump by market, beside the state that they are held against."""

    state: GuardState
    policy: Policy
    now_ns: int
    rows: dict[str, StateRow]

    def judge(self, name: str) -> list[MarketOutcome]:
        """Return everything that is wrong with a market's row, one fault per field and outcome, or that it is clean."""
        row = self.rows.get(name)
        if row is None:
            limit = "a row for each market of the policy"
            return [MarketOutcome(name, Outcome.MISSING, "market", "not in the dump", limit)]
        policy, market = self.policy.markets[name], self.state.markets[name]
        rates_only = policy.of(FundingParameters).rates_only
        values = (("mark_price", row.mark_price), *(() if rates_only else (("funding_index", row.funding_index),)))
        missing = [subject for subject, value in values if value is None]
        faults = [MarketOutcome(name, Outcome.MISSING, subject, "not given", "a value") for subject in missing]
        view = self._view(name, row)
        invalid = [one for one in _denying(validity.evaluate(view, policy)) if one.subject not in missing]
        faults += [_outcome(name, Outcome.INVALID, one) for one in invalid]
        mistimed = _mistimed(row, view, policy)
        faults += [] if mistimed is None else [mistimed]
        has_index = rates_only or market.trusted.funding_index is not None
        if not market.was_warm or not has_index or market.trusted.mark_price is None:
            limit = "a market that was trusted before the maintenance"
            faults.append(MarketOutcome(name, Outcome.NO_BASELINE, "market", "never trusted yet", limit))
        else:
            stale = mistimed is not None and mistimed.outcome is Outcome.STALE
            faults += _stale_funding(row, view, policy) if stale else self._funding(view, policy, name)
            faults += _prices(row, view, policy)
        distinct = {(one.outcome, one.subject): one for one in reversed(faults)}
        return list(reversed(distinct.values())) or [MarketOutcome(name, Outcome.OK)]

    @staticmethod
    def _funding(view: MarketView, policy: MarketPolicy, name: str) -> list[MarketOutcome]:
        findings = _denying(funding_continuity.evaluate(view, policy))
        return [_outcome(name, Outcome.FUNDING_JUMP, one) for one in findings]

    def name_swaps(self, outcomes: list[MarketOutcome]) -> list[MarketOutcome]:
        """Say whose value stands where another should: a market's that has itself a wrong one, or the very same one."""
        wrong = [one for one in outcomes if one.outcome is Outcome.FUNDING_JUMP or _is_mark(one)]
        if not wrong or len(wrong) > SWAPS_SOUGHT_MAX:
            return outcomes
        known = {name: self._admitted(name) for name in self.rows if name in self.policy.markets}
        return [self._swap(outcome, known) if outcome in wrong else outcome for outcome in outcomes]

    def _swap(self, outcome: MarketOutcome, known: dict[str, _Admitted]) -> MarketOutcome:
        funding = outcome.outcome is Outcome.FUNDING_JUMP
        value = _value_of(self.rows[outcome.market], funding=funding)
        if not value:  # zero is nobody's: a reset makes all alike
            return outcome
        for other, admitted in known.items():
            if other == outcome.market or not admitted.admits(value, funding=funding):
                continue
            theirs = _value_of(self.rows[other], funding=funding)
            if theirs == value or theirs is None or not admitted.admits(theirs, funding=funding):
                return replace(outcome, outcome=Outcome.SWAPPED, swapped_with=other)
        return outcome

    def _admitted(self, name: str) -> _Admitted:
        view, policy = (
            view_of(self.state.markets[name], self.policy.markets[name], self.now_ns),
            self.policy.markets[name],
        )
        mark, share = view.state.trusted.mark_price, policy.of(BasisParameters).mark_share
        before = None if mark is None else policy.of(PriceParameters).widened(Interval(mark, mark), share)
        envelope = view.funding_envelope(policy, policy.of(FeedParameters).future_skew_ns)
        return _Admitted(envelope, divergence.mark_interval(view, policy), before)

    def _view(self, name: str, row: StateRow) -> MarketView:
        view = view_of(self.state.markets[name], self.policy.markets[name], self.now_ns)
        view.observation = Observation(
            at_ns=self.now_ns,
            market=name,
            source=self.policy.markets[name].observation_source,
            epoch=0,
            feed_sequence=0,
            event_time_ns=row.event_time_ns,
            mark_price=row.mark_price,
            index_price=row.index_price,
            funding_index=row.funding_index,
        )
        view.published = published(view.observation)
        view.path = _path(view, row.event_time_ns, self.policy.markets[name])
        view.due = due_of(view, None, self.policy.markets[name])
        return view


def _path(view: MarketView, until_ns: int, policy: MarketPolicy) -> PathPoint | None:
    """Return where the funding index stands after a maintenance: its last premium accrued, or nothing did."""
    state = view.state
    price = view.funding_price(policy)
    if price is None:
        return None
    elapsed_ns = state.feed.accrual_ns(until_ns, policy, view.now_ns) - state.feed.accrued_ns
    accrual = Accrual(elapsed_ns, price, None, None)
    return moved(state.funding.point, accrual, view.funding(policy), (Decimal(0),))


class _Admitted(NamedTuple):
    """What a market's own values may be: its funding envelope, its mark by the references, its mark as before."""

    funding: Interval | None
    referred: Interval | None
    before: Interval | None

    def admits(self, value: Decimal, *, funding: bool) -> bool:
        """Return whether a value can be this market's funding index, or its mark price."""
        intervals = (self.funding,) if funding else (self.referred, self.before)
        return any(interval is not None and value in interval for interval in intervals)


def _value_of(row: StateRow, *, funding: bool) -> Decimal | None:
    return readable(row.funding_index if funding else row.mark_price)


def _denying(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity >= Severity.DENY]


def _is_mark(found: MarketOutcome) -> bool:
    return found.outcome is Outcome.PRICE and found.subject == "mark_price"


def _stale_funding(row: StateRow, view: MarketView, policy: MarketPolicy) -> list[MarketOutcome]:
    """Return the fault of an old row whose index was not there at its time either: funding moves it no faster back.

    The older the row, the wider the bound; next to zero is where a reset leaves an index, however old its row is.
    """
    trusted, index, price = view.state.trusted, readable(row.funding_index), view.funding_price(policy)
    if index is None or trusted.funding_index is None or price is None:
        return []
    behind_ns = max(trusted.funding_seen_ns - row.event_time_ns, 0) + policy.of(FeedParameters).future_skew_ns
    funding = view.funding(policy)
    if funding.accrual is FundingAccrual.STEPWISE:
        behind_ns += funding.period_ns  # a settlement more or less
    bound = funding_bound(funding, price, behind_ns)
    step = index - trusted.funding_index
    near_zero = funding_bound(funding, price, funding_continuity.MINUTE_NS)
    reset = abs(index) <= abs(trusted.funding_index) * funding_continuity.RESET_SHARE and abs(step) > near_zero
    if abs(step) <= bound and not reset:
        return []
    bound = min(bound, near_zero) if reset else bound
    observed, limit = f"{show(index)}, a step of {show(step)}", f"{show(trusted.funding_index)} +/- {show(bound)}"
    return [MarketOutcome(row.market, Outcome.FUNDING_JUMP, "funding_index", observed, limit)]


def _prices(row: StateRow, view: MarketView, policy: MarketPolicy) -> list[MarketOutcome]:
    """Return what is wrong with prices that can be read: the others are invalid or missing already."""
    findings = (one for one in _denying(divergence.evaluate(view, policy)) if not _as_before(one, row, view, policy))
    faults = [_outcome(row.market, Outcome.PRICE, one) for one in findings]
    mark = readable(row.mark_price)
    if view.references.anchors is None and mark is not None and not _near(mark, view.state.trusted.mark_price, policy):
        limit = "a fresh reference, or the mark price that was last trusted"
        faults.append(MarketOutcome(row.market, Outcome.PRICE, "mark_price", str(row.mark_price), limit))
    return faults


def _outcome(name: str, outcome: Outcome, finding: Finding) -> MarketOutcome:
    return MarketOutcome(name, outcome, finding.subject, finding.observed, finding.limit)


def _mistimed(row: StateRow, view: MarketView, policy: MarketPolicy) -> MarketOutcome | None:
    """Find a row from before what was last trusted: an old backup was restored. And one from the future."""
    trusted = view.state.trusted
    behind_ns = max(trusted.mark_seen_ns, trusted.funding_seen_ns) - row.event_time_ns
    if behind_ns > 0:
        observed = f"{show_seconds(behind_ns)} before the last trusted observation"
        return MarketOutcome(row.market, Outcome.STALE, "event_time", observed, "not before it")
    ahead_ns = row.event_time_ns - view.now_ns
    if ahead_ns > policy.of(FeedParameters).future_skew_ns:
        limit = f"at most {show_seconds(policy.of(FeedParameters).future_skew_ns)} ahead"
        return MarketOutcome(row.market, Outcome.INVALID, "event_time", f"{show_seconds(ahead_ns)} ahead", limit)
    return None


def _as_before(finding: Finding, row: StateRow, view: MarketView, policy: MarketPolicy) -> bool:
    """Return whether a price away from the references is the one before the maintenance: its feed is not up yet.

    Once it is published, the references judge it like any other.
    """
    trusted = view.state.trusted
    if finding.subject == "mark_price":
        return _near(row.mark_price, trusted.mark_price, policy)
    return _near(row.index_price, trusted.index_price, policy)


def _near(price: Decimal | None, before: Decimal | None, policy: MarketPolicy) -> bool:
    return (
        price is not None
        and before is not None
        and abs(price - before) <= abs(before) * policy.of(BasisParameters).mark_share
    )
