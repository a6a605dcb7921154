"""A dump of the restarted exchange's state, held against what was last trusted before anybody publishes it.

The rules that judge an observation judge a row, too; what is left to say here is how a row came to be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from circuit_guard.core.envelope import Interval
from circuit_guard.core.facts import StateValidated
from circuit_guard.core.inputs import Observation, StateRow, ValidateState
from circuit_guard.core.market import FeedParameters, published, readable
from circuit_guard.core.policy import MarketPolicy, Policy
from circuit_guard.core.progress import view_of
from circuit_guard.core.references import Nowhere
from circuit_guard.core.rules import divergence, funding_continuity, validity
from circuit_guard.core.rules.basis import BasisParameters
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import Finding, MarketOutcome, Outcome, Severity, show_seconds
from circuit_guard.core.view import MarketView

SWAPS_SOUGHT_MAX = 200
"""Where more markets are wrong than this, nobody asks which one has whose value, and looking would take seconds."""


def validate(state: GuardState, command: ValidateState, policy: Policy) -> StateValidated:
    """Return what a dump says of each market of the policy, and of each that it has besides. Changes nothing."""
    dump = _Dump(state, policy, command.at_ns, {row.market: row for row in command.rows})
    limit = "a market that the policy names"
    extra = [
        MarketOutcome(name, Outcome.EXTRA, "market", name, limit) for name in dump.rows if name not in policy.markets
    ]
    outcomes = dump.name_swaps([dump.judge(name) for name in policy.markets])
    return StateValidated(command.at_ns, command.actor, (*outcomes, *extra))


@dataclass(frozen=True, slots=True)
class _Dump:
    """The rows of a dump by market, beside the state that they are held against."""

    state: GuardState
    policy: Policy
    now_ns: int
    rows: dict[str, StateRow]

    def judge(self, name: str) -> MarketOutcome:
        """Return the first thing wrong with a market's row, gravest first, or that it is clean."""
        row = self.rows.get(name)
        if row is None:
            limit = "a row for each market of the policy"
            return MarketOutcome(name, Outcome.MISSING, "market", "not in the dump", limit)
        for subject, value in (("mark_price", row.mark_price), ("funding_index", row.funding_index)):
            if value is None:
                return MarketOutcome(name, Outcome.MISSING, subject, "not given", "a value")
        policy, market = self.policy.markets[name], self.state.markets[name]
        if not market.was_warm or market.trusted.funding_index is None or market.trusted.mark_price is None:
            limit = "a market that was trusted before the maintenance"
            return MarketOutcome(name, Outcome.NO_BASELINE, "market", "never trusted yet", limit)
        view = self._view(name, row)
        if (finding := _first(validity.evaluate(view, policy))) is not None:
            return _outcome(name, Outcome.INVALID, finding)
        if (mistimed := _mistimed(row, view, policy)) is not None:
            return mistimed
        if (finding := _first(funding_continuity.evaluate(view, policy))) is not None:
            return _outcome(name, Outcome.FUNDING_JUMP, finding)
        if finding := _first(f for f in divergence.evaluate(view, policy) if not _as_before(f, row, view, policy)):
            return _outcome(name, Outcome.PRICE, finding)
        if view.references.anchors is None and not _near(row.mark_price, market.trusted.mark_price, policy):
            limit = "a fresh reference, or the mark price that was last trusted"
            return MarketOutcome(name, Outcome.PRICE, "mark_price", str(row.mark_price), limit)
        return MarketOutcome(name, Outcome.OK)

    def name_swaps(self, outcomes: list[MarketOutcome]) -> list[MarketOutcome]:
        """Say whose value stands where another should: a market's that has itself a wrong one, or the very same one."""
        wrong = [outcome for outcome in outcomes if outcome.outcome in (Outcome.FUNDING_JUMP, Outcome.PRICE)]
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
        before = None if mark is None else Interval(mark, mark).widened(share)
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
        return view


class _Admitted(NamedTuple):
    """What a market's own values may be: its funding envelope, its mark by the references, its mark as before."""

    funding: Interval | None
    referred: Interval | Nowhere | None
    before: Interval | None

    def admits(self, value: Decimal, *, funding: bool) -> bool:
        """Return whether a value can be this market's funding index, or its mark price."""
        intervals = (self.funding,) if funding else (self.referred, self.before)
        return any(interval is not None and value in interval for interval in intervals)


def _value_of(row: StateRow, *, funding: bool) -> Decimal | None:
    return readable(row.funding_index if funding else row.mark_price)


def _first(findings: Iterable[Finding]) -> Finding | None:
    return next((finding for finding in findings if finding.severity >= Severity.DENY), None)


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
