"""What time alone does to a market, and how it enters and leaves RECOVERING."""

from __future__ import annotations

from circuit_guard.core import breaker as breakers
from circuit_guard.core import halts, reopening
from circuit_guard.core import phase as phases
from circuit_guard.core.breaker import BreakerParameters
from circuit_guard.core.facts import Fact, HaltChanged
from circuit_guard.core.hours import session_of
from circuit_guard.core.market import BasisDoubt, Feed, FeedParameters, MarketState
from circuit_guard.core.outlook import Outlook, outlook_of
from circuit_guard.core.phase import PhaseParameters
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import GLOBAL_SCOPE, SECOND_NS, BreakerState, Phase, show_seconds
from circuit_guard.core.view import MarketView

ASK_REMEMBERED_NS = 600 * SECOND_NS
"""An account that is asked about again within this time is no other account."""


def view_of(market: MarketState, policy: MarketPolicy, now_ns: int) -> MarketView:
    """Return the market as rules see it now, and for no longer: data are judged once."""
    session = session_of(policy, now_ns)
    return _view(market, now_ns, Outlook(policy, market.references.view(now_ns, policy), now_ns, session))


def view_for_check(market: MarketState, policy: MarketPolicy, now_ns: int) -> MarketView:
    """Return the same view, with what earlier checks have worked out as long as it holds."""
    outlook = market.outlook
    if outlook is None or outlook.policy is not policy or now_ns >= outlook.until_ns:
        outlook = market.outlook = outlook_of(market.references, policy, now_ns)
    return _view(market, now_ns, outlook)


def _view(market: MarketState, now_ns: int, outlook: Outlook) -> MarketView:
    return MarketView(now_ns, market, market.phase.effective(), outlook.references, outlook, session=outlook.session)


def advance(state: GuardState, market: MarketState, policy: MarketPolicy, now_ns: int) -> list[Fact]:
    """Do what time alone does: notice a gap, let a halt expire, re-open a breaker, leave a phase on evidence.

    Everything takes effect as of when it was due, so it makes no difference how often this is asked.
    """
    received_ns, gap_max_ns = market.feed.received_ns, policy.of(FeedParameters).recovering_after_ns
    silent = received_ns is not None and now_ns - received_ns > gap_max_ns
    if not silent and at_rest(market):
        return []
    facts: list[Fact] = []
    if silent and received_ns is not None:
        facts += recover(market, received_ns + gap_max_ns, f"no observation for {show_seconds(gap_max_ns)}")
    if market.halt is not None:
        facts += expire_halts(state, market.market, now_ns)
    while changed := breakers.advance(market.breaker, policy.of(BreakerParameters), market.healthy, now_ns):
        facts += [changed, *reopening.follow(state, market, changed.at_ns)]
    facts += _leave_phase(state, market, policy, now_ns)
    reopening.end_ramp(market, policy, now_ns)
    return facts


def recover(market: MarketState, at_ns: int, note: str) -> list[Fact]:
    """Put a market into RECOVERING: evidence gathered so far counts no more."""
    market.healthy = market.agreeing = None
    if market.phase.recovering:
        return []
    entered = phases.transition(market.phase, market.market, at_ns, recovering=True, note=note)
    return [entered] if entered else []


def start_afresh(market: MarketState, at_ns: int, note: str) -> list[Fact]:
    """Forget where the feed stood and what was held against it; never what was trusted. Evidence starts afresh."""
    accrued_ns, event_time_ns, received_ns = market.feed.accrued_ns, market.feed.event_time_ns, market.feed.received_ns
    market.feed = Feed(event_time_ns=event_time_ns, received_ns=received_ns, accrued_ns=accrued_ns)
    market.rejections, market.standing, market.doubts = (), {}, {}
    market.reconsidered = market.diverged_mark = market.reverted_ns = None
    market.basis_doubt = BasisDoubt()
    market.consistent_observations, market.warm = 0, False
    return recover(market, at_ns, note)


def expire_halts(state: GuardState, scope: str, now_ns: int) -> list[Fact]:
    """End the halts of a market or of GLOBAL that are over, each as of when it expires. The others stand."""
    standing, facts = state.halts(scope), list[Fact]()
    while standing and (ended := standing[-1]).expires_ns is not None and ended.expires_ns <= now_ns:
        standing = standing[:-1]
        state.set_halts(scope, standing)
        note, ended_ns = f"the halt of {ended.actor} expired: {ended.reason}", ended.expires_ns
        if standing:
            note, until_ns = f"{note}; still {halts.said(standing)}", standing[0].expires_ns
            facts.append(HaltChanged(ended_ns, scope, True, "", note, until_ns, stays=True))
        else:
            facts.append(HaltChanged(ended_ns, scope, False, "", note))
            facts += _follow(state, scope, ended_ns)
    return facts


def _follow(state: GuardState, scope: str, at_ns: int) -> list[Fact]:
    if scope == GLOBAL_SCOPE:
        return reopening.follow_all(state, at_ns)
    return reopening.follow(state, state.markets[scope], at_ns)


def at_rest(market: MarketState) -> bool:
    """Return whether time alone changes nothing here, as for nearly every market at nearly every time."""
    return (
        market.breaker.state is BreakerState.CLOSED
        and not market.phase.recovering
        and market.phase.opens_ns is None
        and market.halt is None
        and market.held_since_ns is None
        and market.ramp is None
    )


def _leave_phase(state: GuardState, market: MarketState, policy: MarketPolicy, now_ns: int) -> list[Fact]:
    """Leave RECOVERING, and after a maintenance POST_ONLY, once the mark price has been next to the references."""
    phase, agreeing = market.phase, market.agreeing
    ready = market.warm and market.breaker.state is not BreakerState.OPEN
    if (
        not ready
        or agreeing is None
        or not agreeing.holds
        or agreeing.length_ns < policy.of(PhaseParameters).agreement_ns
    ):
        return []
    note = f"mark price next to the reference price for {show_seconds(agreeing.length_ns)}"
    left = []
    if phase.opens_ns is not None and agreeing.last_ns >= phase.opens_ns:
        phase.opens_ns = None
        left.append(
            phases.transition(phase, market.market, agreeing.last_ns, commanded=Phase.OPEN, recovering=False, note=note)
        )
    elif phase.recovering:
        left.append(phases.transition(phase, market.market, agreeing.last_ns, recovering=False, note=note))
    facts: list[Fact] = [changed for changed in left if changed]
    return facts + (reopening.follow(state, market, agreeing.last_ns) if facts else [])
