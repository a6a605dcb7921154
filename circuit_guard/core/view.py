"""The view of one market that rules judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from circuit_guard.core.envelope import (
    NO_TERMS,
    FundingAccrual,
    FundingParameters,
    FundingReach,
    Interval,
    Terms,
    funding_reach,
    in_force,
    rounding_of,
)
from circuit_guard.core.evidence import doubted
from circuit_guard.core.funding import PathPoint
from circuit_guard.core.hours import Closed, HoursParameters, Session
from circuit_guard.core.inputs import Check, Observation
from circuit_guard.core.market import NOTHING_PUBLISHED, MarketState, Published
from circuit_guard.core.outlook import Outlook
from circuit_guard.core.phase import BANDED_PHASES
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.price import PriceParameters
from circuit_guard.core.references import ReferenceView
from circuit_guard.core.settlement import Due, begun, due_by, next_settlement
from circuit_guard.core.types import FOR_EVER_NS, ExplainedLoss, Phase, Severity

T = TypeVar("T")


@dataclass(slots=True)
class MarketView:
    """One market at one instant, as rules see it. Rules read it and change nothing.

    Either `observation` is set, and `published` with it (data is being judged), or `closure` (a forced closure is).
    """

    now_ns: int
    state: MarketState
    phase: Phase
    references: ReferenceView
    outlook: Outlook
    observation: Observation | None = None
    published: Published = NOTHING_PUBLISHED
    path: PathPoint | None = None
    """Where the path of the funding index stands with the observation; None where no price is known yet."""
    terms: Terms | None = None
    """The funding period and cap in force with the observation; None: those that were published last."""
    due: Due | None = None
    """What may be settled in the funding index of the observation; None where it accrues all the time."""
    closure: Check | None = None
    explained: ExplainedLoss | None = None
    """What the account of the closure says; None where it has none."""
    denied: bool = False
    """Whether a gate denies the closure already, whatever the rules find."""
    session: Session | None = None
    """Where the market stands in its trading hours; None where it always trades."""
    contaminated: bool = False
    """Whether the account rests on a market that is not to be trusted now: another one, or this one while the mark
    price published last is in doubt. That it looks healthy then says nothing of who computes with what."""

    def once(self, work_out: Callable[[MarketView, MarketPolicy], T]) -> T:
        """Return what `work_out` makes of the market's data, worked out once for all checks that the outlook serves.

        It must rest on nothing but the data and the policy. Where time alone changes it, it has to say when:
        `view.outlook.ends`.
        """
        try:
            result: T = self.outlook.worked_out[work_out]
        except KeyError:
            result = self.outlook.worked_out[work_out] = work_out(self, self.outlook.policy)
        return result

    def shut(self, policy: MarketPolicy) -> bool:
        """Return whether closures are denied because the market does not trade."""
        closed = self.session is not None and not self.session.open
        return closed and policy.of(HoursParameters).closed is Closed.DENIED

    def calm(self, policy: MarketPolicy) -> bool:
        """Return whether prices trip nothing: it is shut, or has just opened and venues do not in the same second."""
        session, settle_ns = self.session, policy.of(HoursParameters).settle_ns
        opening = session is not None and session.open and self.now_ns - session.since_ns < settle_ns
        return opening or self.shut(policy)

    @property
    def restricted(self) -> bool:
        """Whether only closures inside the band may pass: POST_ONLY, RECOVERING."""
        return self.phase in BANDED_PHASES

    def lasting(self, reason: str, trip_after_ns: int) -> Severity:
        """Return TRIP if observations have had this reason for so long, else DENY: trip only after confirmation."""
        before = self.state.doubts.get(reason)
        lasted = before is not None and doubted(before, self.now_ns).length_ns >= trip_after_ns
        return Severity.TRIP if lasted else Severity.DENY

    def funding_price(self, policy: MarketPolicy) -> Decimal | None:
        """Return the price to bound funding with, as a magnitude; None where none is known.

        Where prices go through zero a bound of the last price is nothing, so it is that of the largest price which the
        references have had within the window, or of `price.scale`.
        """
        price, hull = self.state.trusted.funding_price(), self.references.hull
        if price is None:
            return None
        if policy.allow_negative_price and hull is not None:
            price = max(price, abs(hull.low), abs(hull.high))
        return policy.of(PriceParameters).of(price)

    def funding(self, policy: MarketPolicy) -> FundingParameters:
        """Return how far funding can move the index now: as the policy says, and within that as is published."""
        given, terms = policy.of(FundingParameters), self.state.terms if self.terms is None else self.terms
        return given if terms == NO_TERMS else in_force(given, terms)

    def funding_envelope(self, policy: MarketPolicy, margin_ns: int = 0) -> Interval | None:
        """Return where the funding index can honestly be now, give or take `margin_ns` of accrual; None if unknown.

        It is zero where none is judged.
        """
        accrual = policy.of(FundingParameters).accrual
        if accrual is not FundingAccrual.CONTINUOUS:
            return NO_INDEX if accrual is FundingAccrual.NONE else self._stepwise_envelope(policy, margin_ns)
        trusted, reach = self.state.trusted.funding_index, self.once(_funding_reach)
        if trusted is None or reach is None:
            return None
        accrual_ns = self.state.feed.accrual_ns(self.now_ns, policy, self.now_ns)
        bound = reach.within(accrual_ns + margin_ns, self.funding(policy).period_ns)
        return Interval(trusted - bound, trusted + bound)

    def funding_always(self, policy: MarketPolicy, margin_ns: int) -> tuple[Interval | None, int]:
        """Return where the funding index can honestly be at each instant from now until another, and that other.

        None: no index is judged, or nothing is known. What time alone adds to the envelope is left out.
        """
        funding, trusted = self.funding(policy), self.state.trusted.funding_index
        if funding.rates_only or trusted is None:
            return None, FOR_EVER_NS
        if funding.accrual is FundingAccrual.CONTINUOUS:
            reach = self.once(_funding_reach)
            if reach is None:
                return None, self.now_ns
            bound = reach.within(self.state.feed.accrued_ns + margin_ns, funding.period_ns)
            return Interval(trusted - bound, trusted + bound), FOR_EVER_NS
        edges_ns = (funding.settle_tolerance_ns, -funding.settle_tolerance_ns)
        ends_ns = [next_settlement(funding, self.now_ns + edge_ns) - edge_ns for edge_ns in edges_ns]
        steps = self.state.funding.steps
        if steps is not None and steps.before is not None and self.now_ns - steps.moved_ns <= margin_ns:
            ends_ns.append(steps.moved_ns + margin_ns + 1)
        return self._stepwise_envelope(policy, margin_ns), min(ends_ns)

    def due_at(self, policy: MarketPolicy, until_ns: int, index: Decimal | None = None) -> Due | None:
        """Return what may be settled in a stepwise funding index by an instant; None where nothing is known yet."""
        trusted, price = self.state.trusted.funding_index, self.funding_price(policy)
        if trusted is None or price is None:
            return None
        funding = self.funding(policy)
        steps = self.state.funding.steps or begun(self.state.feed.event_time_ns or self.now_ns, funding)
        return due_by(until_ns, steps, funding, price, rounding_of(price, trusted, trusted if index is None else index))

    def _stepwise_envelope(self, policy: MarketPolicy, margin_ns: int) -> Interval | None:
        """Return the trusted index with the steps that may be settled by now, and the one before it if that is new."""
        due, trusted = self.due_at(policy, self.now_ns), self.state.trusted.funding_index
        if due is None or trusted is None:
            return None
        reached = due.reached(due.most)
        envelope = Interval(trusted - due.rounding, trusted + due.rounding)
        envelope = envelope.including(trusted + reached.low).including(trusted + reached.high)
        if due.steps.before is not None and self.now_ns - due.steps.moved_ns <= margin_ns:
            envelope = envelope.including(due.steps.before)
        return envelope


NO_INDEX = Interval(Decimal(0), Decimal(0))


def _funding_reach(view: MarketView, policy: MarketPolicy) -> FundingReach | None:
    price = view.funding_price(policy)
    return None if price is None else funding_reach(view.funding(policy), price)
