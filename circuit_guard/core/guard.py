"""The whole program in two functions: `step` takes what happened, `decide` answers a check. Both return facts.

Nothing here reads a clock or does I/O: time arrives inside the input, so a replay of the same inputs under the same
policy gives the same facts. The state is changed in place by its one owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import getcontext, localcontext, setcontext

from circuit_guard.core import account_permit, commands, explained, gates, names, orders, remembered, reopening, taint
from circuit_guard.core import permit as permits
from circuit_guard.core.envelope import FundingParameters
from circuit_guard.core.evidence import thin
from circuit_guard.core.facts import CheckRefused, DecisionMade, Fact, ShadowWould
from circuit_guard.core.feed import observe, refer
from circuit_guard.core.gates import ACCOUNT_MARKET_HALTED, OPERATOR_HALT
from circuit_guard.core.hours import is_shut
from circuit_guard.core.inputs import Check, ClockCorrected, Input, Observation, OrdersCheck, Reference, Tick
from circuit_guard.core.market import MarketState
from circuit_guard.core.names import UNKNOWN_MARKET
from circuit_guard.core.policy import MarketPolicy, Policy
from circuit_guard.core.progress import ASK_REMEMBERED_NS, advance, expire_halts, view_for_check
from circuit_guard.core.rulebook import evaluate_all
from circuit_guard.core.rules.basis import BASIS_FUNDING, BASIS_MARK, BasisParameters
from circuit_guard.core.rules.contradiction import CHECK_CONTRADICTS_ACCOUNT
from circuit_guard.core.rules.divergence import MARK_DIVERGENCE
from circuit_guard.core.rules.staleness import StalenessParameters
from circuit_guard.core.rules.unexplained_burst import BurstParameters, counted
from circuit_guard.core.rules.unexplained_loss import ExplainedLossParameters
from circuit_guard.core.state import GuardState, InvariantViolated, new_state
from circuit_guard.core.tripping import trip
from circuit_guard.core.types import (
    ARITHMETIC,
    GLOBAL_SCOPE,
    BreakerState,
    CheckKind,
    Decision,
    ExplainedLoss,
    Explanation,
    Finding,
    Phase,
    Severity,
    Verdict,
)
from circuit_guard.core.view import MarketView

ACCOUNT_FINDINGS_MAX = 8
"""Findings of one account's positions in an answer: ten thousand answers are remembered, and the wire has its limit."""
CONFIRMED_AT_ONCE = 8
CONFIRMED_POSITIONS = 800
"""Accounts looked at again with each check, and after how many positions it stops: no check waits long for others."""

__all__ = ["GuardState", "InvariantViolated", "decide", "decide_orders", "new_state", "step"]


def step(state: GuardState, input_: Input, policy: Policy) -> list[Fact]:
    """Take one input and return what it changed. Raises InvariantViolated if time goes back."""
    if isinstance(input_, ClockCorrected):
        _lengthen_halts(state, input_.by_ns)
    facts = _move_time(state, input_.at_ns)
    policy = policy.at(input_.at_ns)
    _drop_outlooks(state, input_)
    outside = getcontext()
    setcontext(ARITHMETIC)  # `localcontext` would copy it, which every reference would feel
    try:
        return facts + _step(state, input_, policy)
    finally:
        setcontext(outside)


def _step(state: GuardState, input_: Input, policy: Policy) -> list[Fact]:
    match input_:
        case Observation():
            return observe(state, input_, policy)
        case Reference():
            return refer(state, input_, policy)
        case Tick():
            return [
                fact
                for market, market_policy in policy.markets.items()
                for fact in advance(state, state.markets[market], market_policy, input_.at_ns)
            ]
        case _:
            return commands.apply(state, input_, policy)


def decide(state: GuardState, check: Check, policy: Policy) -> list[Fact]:
    """Answer one check: facts with exactly one DecisionMade, or with one CheckRefused.

    The same request_id gets the same decision as long as it is remembered (`remembered_requests_max`); with another
    content it is refused. An ALLOW is judged anew where it is too old, where closures are held, the data lost or
    rejected, phase or policy another since, and where the caller asks for that.
    """
    facts = _move_time(state, check.at_ns)
    policy = policy.at(check.at_ns)
    known = state.remembered.get(check.request_id)
    if known is None and (allowed := state.allowed.get(check.request_id)) is not None:
        known = permits.check_of(allowed).content(), permits.decision_of(allowed)
    if known is not None:
        asked, decision = known
        differing = [name for name, value in check.content().items() if asked[name] != value]
        if differing:
            return [*facts, CheckRefused(check.at_ns, check.request_id, ", ".join(differing))]
        if not _outlived(state, check, decision, policy):
            return [*facts, DecisionMade(check.at_ns, decision, repeated=True)]
        remembered.forget(state, check.request_id)  # what is remembered next is the newest
    outside, waiting = getcontext(), _waiting(state, check)
    setcontext(ARITHMETIC)  # `localcontext` would copy it, which a check would feel
    try:
        facts += _decide(state, check, policy)
    finally:
        setcontext(outside)
    _withdraw_permits(state, check, facts, waiting)
    return facts


def _withdraw_permits(state: GuardState, check: Check, facts: Sequence[Fact], waiting: int) -> None:
    """Have permits worked out anew that rest on what a check has changed.

    It changes a breaker, which is a fact, or how many accounts are `waiting` to be looked at again: the next one that
    is due ends a permit. One that is known already keeps its place.
    """
    changed = len(facts) > 1
    if not changed and waiting == _waiting(state, check):
        return
    for name in state.markets if changed else (check.market,):
        known = state.markets.get(name)
        if known is not None and known.outlook is not None:
            known.outlook.withdraw()


def _waiting(state: GuardState, check: Check) -> int:
    """Return how many accounts wait in a check's market to be looked at again."""
    market = state.markets.get(check.market)
    return 0 if market is None else len(market.unconfirmed)


def decide_orders(state: GuardState, check: OrdersCheck, policy: Policy) -> list[Fact]:
    """Answer a batch of orders: the facts of time passing, then one OrderJudged an order, in the order given."""
    facts = _move_time(state, check.at_ns)
    policy = policy.at(check.at_ns)
    with localcontext(ARITHMETIC):
        for market in dict.fromkeys(order.market for order in check.orders):
            if market in policy.markets:
                facts += advance(state, state.markets[market], policy.markets[market], check.at_ns)
        for order in check.orders:
            market_policy = policy.markets.get(order.market)
            view = view_for_check(state.markets[order.market], market_policy, check.at_ns) if market_policy else None
            facts.append(orders.judge(view, order, policy, check.at_ns))
    return facts


def _decide(state: GuardState, check: Check, policy: Policy) -> list[Fact]:
    market_policy = policy.markets.get(check.market)
    if market_policy is None:
        unknown = names.unknown(check.market, policy.markets)
        return [_answer(state, check, policy, (unknown,), Phase.RECOVERING, BreakerState.OPEN)]
    loss = account_permit.explained_loss(state, check, policy)
    if loss is not None:
        return [_explained(state, state.markets[check.market], check, policy, loss)]
    return by_all_rules(state, check, policy, market_policy)


def by_all_rules(state: GuardState, check: Check, policy: Policy, market_policy: MarketPolicy) -> list[Fact]:
    """Answer a check by every gate and rule, whatever permits say: what a permit allows, this allows, too."""
    market = state.markets[check.market]
    facts = advance(state, market, market_policy, check.at_ns)
    view = view_for_check(market, market_policy, check.at_ns)
    view.closure = check
    findings = [*gates.evaluate(view, market_policy, state)]
    if check.account is not None:
        views = explained.views_of(view, check.account, state.markets, policy)
        view.explained = explained.explain(view, check.account, views, policy, check.basis.mark_price)
        believed = market_policy.of(ExplainedLossParameters).deny
        of_account = [*gates.evaluate_account(check.account, view.explained, views, policy, believed=believed)]
        findings += _few(of_account)
        halted_too = any(finding.reason in (ACCOUNT_MARKET_HALTED, UNKNOWN_MARKET) for finding in of_account)
        view.contaminated = halted_too or MARK_DIVERGENCE in market.standing
    view.denied = any(finding.severity >= Severity.DENY for finding in findings)
    _confirm_accounts(state, view, policy)
    ruled = evaluate_all(view, market_policy)
    findings += ruled
    _doubt_basis(market, ruled, market_policy, check)
    _count_accounts(state, view, check, ruled, market_policy)
    if ruled:
        facts += trip(state, market, tuple(finding for finding in ruled if not finding.shadow), policy, check.at_ns)
        would = tuple(finding for finding in ruled if finding.shadow and finding.severity >= Severity.TRIP)
        facts += [ShadowWould(check.at_ns, check.market, would)] if would else []
    findings = _limited(view, check, findings, market_policy)
    facts.append(_answer(state, check, policy, tuple(findings), view.phase, market.breaker.state, view.explained))
    return facts


def _explained(state: GuardState, market: MarketState, check: Check, policy: Policy, loss: ExplainedLoss) -> Fact:
    """Allow a check in which nothing is found, because its account is under water at every admissible value."""
    if market.basis_doubt.since_ns is not None:
        _doubt_basis(market, [], policy.markets[check.market], check)
    if check.kind is CheckKind.LIQUIDATION:
        remembered.drop(state, market, check.account_id)
    return _answer(state, check, policy, (), market.phase.effective(), market.breaker.state, loss)


def _few(findings: list[Finding]) -> list[Finding]:
    """Return the first findings of an account, and of each reason at least one."""
    if len(findings) <= ACCOUNT_FINDINGS_MAX:
        return findings
    firsts = {finding.reason: finding for finding in reversed(findings)}.values()
    others = [finding for finding in findings if not any(finding is first for first in firsts)]
    kept = [*firsts, *others[: ACCOUNT_FINDINGS_MAX - len(firsts)]]
    return [finding for finding in findings if any(finding is one for one in kept)]


def _outlived(state: GuardState, check: Check, decision: Decision, policy: Policy) -> bool:
    """Return whether a remembered decision no longer answers: an ALLOW speaks of the data and phase of its moment."""
    if decision.verdict is Verdict.DENY:
        return False
    if state.clock.off_ns is not None:
        return True
    market, market_policy = state.markets.get(decision.market), policy.markets.get(decision.market)
    if check.judge_anew or market is None or market_policy is None:
        return True
    if policy.remembered_allow_max_ns is None:
        return False
    too_old = state.now_ns - decision.at_ns > policy.remembered_allow_max_ns
    if too_old or decision.policy_revision != policy.revision or _untrusted(market, market_policy, state.now_ns):
        return True
    if market_policy.at(decision.at_ns) is not market_policy or is_shut(market_policy, state.now_ns):
        return True
    if market.phase.effective() is not decision.phase or reopening.denying(state, market):
        return True
    held = () if check.account is None else check.account.positions
    others = (state.markets.get(position.market) for position in held)
    return any(other is not None and reopening.denying(state, other) for other in others)


def _untrusted(market: MarketState, policy: MarketPolicy, now_ns: int) -> bool:
    """Return whether nothing that was known when a closure was allowed is known now: as after a restart."""
    limit_ns, trusted = policy.of(StalenessParameters).deny_after_ns, market.trusted
    seen_ns = (
        trusted.mark_seen_ns
        if policy.of(FundingParameters).rates_only
        else min(trusted.mark_seen_ns, trusted.funding_seen_ns)
    )
    return not market.warm or bool(market.rejections) or now_ns - seen_ns > limit_ns


def _limited(view: MarketView, check: Check, findings: list[Finding], policy: MarketPolicy) -> list[Finding]:
    """Let through what there is to let through: explained closures in a halt, all after one, at a rising rate."""
    if not findings and view.state.ramp is None:
        return findings
    excused = explained.excuse(view, findings, policy)
    if any(finding.severity >= Severity.DENY and not finding.shadow for finding in excused):
        return findings
    limited = reopening.take(view.state, check, policy, check.at_ns, in_a_halt=excused is not findings)
    return [*excused, limited] if limited else excused


def _count_accounts(
    state: GuardState, view: MarketView, check: Check, ruled: list[Finding], policy: MarketPolicy
) -> None:
    """Remember who was asked about, for the rules that count accounts.

    A check that its own account contradicts says nothing of the market: that account may not even trade there.
    """
    market, burst = view.state, policy.of(BurstParameters)
    if any(finding.reason == CHECK_CONTRADICTS_ACCOUNT and not finding.shadow for finding in ruled):
        return
    denied = any(finding.severity is Severity.DENY and not finding.shadow for finding in ruled)
    counts = burst.accounts and check.kind is CheckKind.LIQUIDATION and counted(view) and not denied
    if counts and market.asked.note(check.account_id, check.at_ns, ASK_REMEMBERED_NS):
        thin((one.asked for one in state.markets.values()), check.at_ns - ASK_REMEMBERED_NS)
    if view.explained is None or check.account is None or check.kind is not CheckKind.LIQUIDATION:
        return
    if view.explained.verdict is not Explanation.UNEXPLAINED:
        remembered.drop(state, market, check.account_id)
    elif not view.contaminated:
        remembered.keep(state, market, check.account_id, check.at_ns, check.account)


def _confirm_accounts(state: GuardState, view: MarketView, policy: Policy) -> None:
    """Look again at accounts that looked healthy, now that the references have had their lag; a few with each check."""
    market, now_ns = view.state, view.now_ns
    rule = policy.markets[market.market].of(ExplainedLossParameters)
    positions = 0
    for number in range(min(CONFIRMED_AT_ONCE, len(market.unconfirmed))):
        account_id, (since_ns, account) = next(iter(market.unconfirmed.items()))
        positions += len(account.positions)
        if now_ns - since_ns < rule.confirm_after_ns or (number and positions > CONFIRMED_POSITIONS):
            return
        remembered.drop(state, market, account_id)
        if now_ns - since_ns > rule.confirm_after_ns + rule.window_ns:
            continue  # it was asked about so long ago that it is another account by now
        views = explained.views_of(view, account, state.markets, policy)
        doubtful = any(gates.trouble(seen, policy.markets[name]) for name, seen in views.items())
        now = explained.explain(view, account, views, policy, given=None)
        healthy = now.verdict is Explanation.UNEXPLAINED and not doubtful and MARK_DIVERGENCE not in market.standing
        if healthy and market.unexplained.note(account_id, now_ns, rule.window_ns):
            thin((one.unexplained for one in state.markets.values()), 0)


def _answer(
    state: GuardState,
    check: Check,
    policy: Policy,
    findings: tuple[Finding, ...],
    phase: Phase,
    breaker: BreakerState,
    loss: ExplainedLoss | None = None,
) -> DecisionMade:
    denying = enforced = False
    for finding in findings:
        if finding.severity >= Severity.DENY:
            denying = True
            enforced |= not finding.shadow and (not policy.shadow or finding.reason == OPERATOR_HALT)
    state.decisions += 1
    decision = Decision(  # by position: thirteen names cost a check half a microsecond
        f"{check.at_ns:x}-{state.decisions:x}",
        check.request_id,
        check.account_id,
        check.market,
        check.kind,
        check.at_ns,
        Verdict.DENY if enforced else Verdict.ALLOW,
        Verdict.DENY if denying else Verdict.ALLOW,
        findings,
        phase,
        breaker,
        policy.revision,
        loss,
    )
    remembered.remember(state, check, decision, policy.remembered_requests_max)
    return DecisionMade(check.at_ns, decision)


def _doubt_basis(market: MarketState, findings: list[Finding], policy: MarketPolicy, check: Check) -> None:
    """Keep count of callers computing with unpublished values.

    While the feed itself is rejected, callers that use it are no separate fault. What one of them computes with denies
    its own checks. It taints accounts only once it lasts, for different accounts alike: then the engine itself has it.
    """
    doubt, now_ns = market.basis_doubt, check.at_ns
    if not findings and doubt.since_ns is None:
        return
    wrong = not market.rejections and any(f.reason in (BASIS_MARK, BASIS_FUNDING) for f in findings)
    doubt.note(now_ns, policy.of(BasisParameters).window_ns, wrong=wrong)
    if wrong and any(finding.reason == BASIS_FUNDING for finding in findings):
        lasting_ns = policy.of(BasisParameters).trip_after_ns
        taint.claim(market, check.basis.funding_index, check.account_id, now_ns, lasting_ns)


def _drop_outlooks(state: GuardState, input_: Input) -> None:
    """Forget what checks have worked out of the data that an input may change. Checks themselves change none of it."""
    if isinstance(input_, Observation | Reference):
        if input_.market in state.markets:
            state.markets[input_.market].outlook = None
        return
    for market in state.markets.values():
        market.outlook = None


def _lengthen_halts(state: GuardState, by_ns: int) -> None:
    """Have halts that expire last as long as they were asked for, although the clock jumps."""
    for scope in (GLOBAL_SCOPE, *state.markets):
        state.set_halts(scope, tuple(halt.later(max(by_ns, 0)) for halt in state.halts(scope)))


def _move_time(state: GuardState, at_ns: int) -> list[Fact]:
    """Let time pass for what belongs to no single market."""
    if at_ns < state.now_ns:
        raise InvariantViolated(f"at_ns: {at_ns} is before {state.now_ns}, inputs must come in time order")
    state.now_ns = at_ns
    return [] if state.global_halt is None else expire_halts(state, GLOBAL_SCOPE, at_ns)
