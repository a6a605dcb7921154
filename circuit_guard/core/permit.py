"""Permits: the closures without an account that a market allows now, as intervals, so that few comparisons answer most.

A permit is what all rules permit (`Rule.permits`) while every gate is open and nothing is held or limited. It
is worked out once for the data of a market and is gone with the next input that may change them. A check inside it is
allowed with no finding, as all rules together would decide; any other is shown to them. So a permit never decides
differently, only sooner. It holds trusted values only: a corrupt value is outside, whatever it is.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import NamedTuple

from circuit_guard.core import gates, remembered
from circuit_guard.core.envelope import FundingParameters, Interval
from circuit_guard.core.evidence import thin
from circuit_guard.core.inputs import Basis, Check
from circuit_guard.core.market import FeedParameters, MarketState
from circuit_guard.core.policy import MarketPolicy, Policy
from circuit_guard.core.progress import ASK_REMEMBERED_NS, at_rest, view_for_check
from circuit_guard.core.rulebook import closure_rules
from circuit_guard.core.rules.basis import BasisParameters
from circuit_guard.core.rules.unexplained_burst import BurstParameters
from circuit_guard.core.rules.unexplained_loss import ExplainedLossParameters
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import (
    ARITHMETIC,
    FOR_EVER_NS,
    AllowedCheck,
    BreakerState,
    CheckKind,
    Decision,
    Phase,
    Verdict,
)

NAMES_CHARACTERS_MAX = 200
"""Requests and accounts with longer names are shown to all rules: so what permits allowed stays small, too."""
ANYWHERE = Interval(Decimal("-Infinity"), Decimal("Infinity"))


class Permit(NamedTuple):
    """The closures that one market allows until an instant, unless an input comes first."""

    until_ns: int
    mark_low: Decimal
    mark_high: Decimal
    execution_low: Decimal
    execution_high: Decimal
    funding_low: Decimal
    funding_high: Decimal
    funding_given: bool
    """Whether a check has to say the funding index that it was computed with."""
    accounts: int
    window_ns: int
    """Fewer different accounts than this may be asked about within the window; 0: any number."""
    counted: bool
    """Whether accounts are counted at all."""
    doubt_ns: int
    """After this long without a caller that computed with unpublished values, no such doubt is left."""
    phase: Phase
    policy: Policy
    """The policy in force, with all that it changes when."""

    def admits(self, kind: CheckKind, execution: Decimal | None, mark: Decimal, funding: Decimal | None) -> bool:
        """Return whether the values of a check are inside. A settlement is no trade, and is shown to the rules."""
        if kind is CheckKind.SETTLEMENT or not self.mark_low <= mark <= self.mark_high:
            return False
        if execution is not None and not self.execution_low <= execution <= self.execution_high:
            return False
        if funding is None:
            return not self.funding_given
        return self.funding_low <= funding <= self.funding_high


class Asked(NamedTuple):
    """A check without an account: its values, and the text of each as it was given; none is zero, NaN or infinite."""

    request_id: str
    account_id: str
    market: str
    kind: CheckKind
    size: str
    execution_price: str
    mark_price: str
    funding_index: str
    """Texts; empty: not given. Values of the last three:"""
    execution: Decimal | None
    mark: Decimal
    funding: Decimal | None


def permit_of(state: GuardState, market: MarketState, whole: Policy, now_ns: int) -> Permit | None:
    """Return the permit of a market as it is now; None where every closure is shown to all rules."""
    received_ns, policy = market.feed.received_ns, whole.at(now_ns).markets.get(market.market)
    if policy is None or received_ns is None or not at_rest(market):
        return None
    looked_at_ns = _looked_at_ns(market, policy)
    if looked_at_ns <= now_ns:
        return None
    view = view_for_check(market, policy, now_ns)
    if next(gates.evaluate(view, policy, state), None) is not None:
        return None
    marks = executions = indices = ANYWHERE
    until_ns = min(
        looked_at_ns,
        received_ns + policy.of(FeedParameters).recovering_after_ns + 1,  # then the feed counts as silent
        min((change.from_ns for change in policy.changes if change.from_ns > now_ns), default=FOR_EVER_NS),
    )
    accounts = window_ns = 0
    for rule in closure_rules(policy):
        permitted = rule.permits(view, policy)
        if permitted is None:
            return None
        marks = _both(marks, permitted.mark_price)
        executions = _both(executions, permitted.execution_price)
        indices = _both(indices, permitted.funding_index)
        until_ns = min(until_ns, permitted.until_ns)
        if permitted.accounts:
            accounts, window_ns = permitted.accounts, permitted.window_ns
    until_ns = min(until_ns, view.outlook.until_ns)  # last: what the rules worked out may have brought it nearer
    return Permit(
        until_ns,
        marks.low,
        marks.high,
        executions.low,
        executions.high,
        indices.low,
        indices.high,
        not policy.of(FundingParameters).rates_only,
        accounts,
        window_ns,
        bool(policy.of(BurstParameters).accounts),
        policy.of(BasisParameters).window_ns,
        view.phase,
        whole,
    )


def in_force(state: GuardState, market: MarketState, policy: Policy, now_ns: int) -> Permit | None:
    """Return the permit of a market at a time, worked out before or now; None where there is none."""
    if _all_held(state):
        return None
    outlook = market.outlook
    permit: Permit | None = None if outlook is None else outlook.permit
    if permit is None or now_ns >= permit.until_ns or permit.policy is not policy:
        return _renewed(state, market, policy, now_ns)
    return permit


def admit(state: GuardState, policy: Policy, asked: Asked, now_ns: int) -> AllowedCheck | None:
    """Allow a check that is inside its market's permit, or return None: then `guard.decide` answers it.

    Time must not go back. What is allowed is remembered and counted as a check that all rules have seen.
    """
    request_id, account_id, name, kind = asked[:4]
    execution, mark, funding = asked[8:]
    market = state.markets.get(name)
    if market is None or now_ns < state.now_ns:
        return None
    permit = in_force(state, market, policy, now_ns)
    if permit is None or not permit.admits(kind, execution, mark, funding):
        return None
    short = len(request_id) + len(account_id) <= NAMES_CHARACTERS_MAX and request_id.isascii() and account_id.isascii()
    if not short or request_id in state.allowed or request_id in state.remembered:
        return None  # what it was answered then counts
    if permit.counted and kind is CheckKind.LIQUIDATION and not _counted(state, market, permit, account_id, now_ns):
        return None
    if market.basis_doubt.since_ns is not None:
        market.basis_doubt.note(now_ns, permit.doubt_ns, wrong=False)
    state.now_ns = now_ns
    state.decisions = number = state.decisions + 1
    allowed = AllowedCheck(now_ns, number, *asked[:8], permit.phase, permit.policy.revision)
    state.allowed[request_id] = allowed
    if len(state.allowed) + len(state.remembered) > policy.remembered_requests_max:
        remembered.shorten(state, policy.remembered_requests_max)
    return allowed


def asked_of(allowed: AllowedCheck) -> Asked:
    """Return the question that was answered, with its values."""
    texts = allowed.execution_price, allowed.mark_price, allowed.funding_index
    execution, mark, funding = map(_number, texts)
    return Asked(*allowed[2:10], execution, mark or Decimal(0), funding)


def check_of(allowed: AllowedCheck) -> Check:
    """Return the question that was answered."""
    basis = Basis(_number(allowed.mark_price), _number(allowed.funding_index))
    size, execution = Decimal(allowed.size), _number(allowed.execution_price)
    named = allowed.request_id, allowed.account_id, allowed.market
    return Check(allowed.at_ns, *named, size, allowed.kind, execution, basis)


def decision_of(allowed: AllowedCheck) -> Decision:
    """Return the decision that it got: ALLOW, with no finding."""
    return Decision(
        f"{allowed.at_ns:x}-{allowed.number:x}",
        allowed.request_id,
        allowed.account_id,
        allowed.market,
        allowed.kind,
        allowed.at_ns,
        Verdict.ALLOW,
        Verdict.ALLOW,
        (),
        allowed.phase,
        BreakerState.CLOSED,
        allowed.policy_revision,
    )


def _counted(state: GuardState, market: MarketState, permit: Permit, account_id: str, now_ns: int) -> bool:
    """Take note of an account, unless it may be one too many within the window: then nothing is noted."""
    known = market.asked
    if permit.accounts and len(known.seen_ns) + 1 >= permit.accounts:
        accounts = known.count(now_ns, permit.window_ns) + (not known.knows(account_id))
        if accounts >= permit.accounts:
            return False
    if known.note(account_id, now_ns, ASK_REMEMBERED_NS):
        thin((one.asked for one in state.markets.values()), now_ns - ASK_REMEMBERED_NS)
    return True


def _looked_at_ns(market: MarketState, policy: MarketPolicy) -> int:
    """Return when a check next looks again at an account that seemed healthy: all rules have to see that one."""
    oldest = next(iter(market.unconfirmed.values()), None)
    return FOR_EVER_NS if oldest is None else oldest[0] + policy.of(ExplainedLossParameters).confirm_after_ns


def _all_held(state: GuardState) -> bool:
    """Return whether something holds all markets: an input about another one may have brought it."""
    closed = state.global_breaker.state is BreakerState.CLOSED
    return not closed or state.global_halt is not None or state.clock.off_ns is not None


def _renewed(state: GuardState, market: MarketState, policy: Policy, now_ns: int) -> Permit | None:
    """Work out the permit of a market anew, unless it is known that there is none."""
    outlook = market.outlook
    if outlook is not None and outlook.permit is None and outlook.refused is policy and now_ns < outlook.until_ns:
        return None
    with localcontext(ARITHMETIC):
        permit = permit_of(state, market, policy, now_ns)
    if market.outlook is not None:
        market.outlook.permit, market.outlook.refused = permit, policy
    return permit


def _both(interval: Interval, other: Interval | None) -> Interval:
    return interval if other is None else Interval(max(interval.low, other.low), min(interval.high, other.high))


def _number(text: str) -> Decimal | None:
    """Return a value as an edge reads its text: every zero is the same."""
    return (Decimal(text) or Decimal(0)) if text else None
