"""The gates a closure passes besides the rules: halts, breakers, phase, warmth, and whether the feed is trusted now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from circuit_guard.core import taint
from circuit_guard.core.breaker import Breaker
from circuit_guard.core.inputs import Account, Position
from circuit_guard.core.market import Halt, MarketState
from circuit_guard.core.phase import DENYING_PHASES
from circuit_guard.core.policy import FirstSight, MarketPolicy, Policy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.types import GLOBAL_SCOPE, BreakerState, Finding, Severity, show
from circuit_guard.core.view import MarketView


def evaluate(
    view: MarketView, policy: MarketPolicy, global_breaker: Breaker, global_halt: Halt | None
) -> Iterator[Finding]:
    """Return why closures are held in this market whatever the closure: one finding a closed gate."""
    state = view.state
    if global_halt is not None:
        yield _halted(GLOBAL_SCOPE, global_halt)
    if state.halt is not None:
        yield _halted(state.market, state.halt)
    if global_breaker.state is BreakerState.OPEN:
        yield _open(global_breaker, Reason.GLOBAL_BREAKER_OPEN)
    if state.breaker.state is BreakerState.OPEN:
        yield _open(state.breaker, Reason.BREAKER_OPEN)
    if view.phase in DENYING_PHASES:
        yield Finding(Reason.PHASE_DENIES, Severity.DENY, "phase", view.phase, "OPEN, or POST_ONLY inside the band")
    if not state.was_warm and policy.first_sight is FirstSight.OPERATOR:
        limit = "a rebaseline by an operator"
        yield Finding(Reason.FIRST_SIGHT, Severity.DENY, "market", "never confirmed", limit)
    elif not state.warm:
        observed, limit = (
            str(state.consistent_observations),
            f"{policy.warm_observations} in a row inside the references",
        )
        yield Finding(Reason.WARMING, Severity.DENY, "their number", observed, limit)
    yield from state.rejections


def evaluate_account(
    account: Account, market: str, markets: Mapping[str, MarketState], policy: Policy, now_ns: int
) -> Iterator[Finding]:
    """Deny where the account rests on what cannot be trusted.

    That is another position in a market not to be trusted now, since cross margin carries it over, and any position
    that was settled with a discarded funding index.
    """
    for position in account.positions:
        if position.market in policy.markets:
            yield from _tainted(position, markets[position.market])
        if position.market == market:
            continue
        other_policy = policy.markets.get(position.market)
        trouble = (
            "not in the policy" if other_policy is None else _trouble(markets[position.market], other_policy, now_ns)
        )
        if trouble:
            limit = "trusted data in every market of the account"
            yield Finding(Reason.ACCOUNT_MARKET_HALTED, Severity.DENY, position.market, trouble, limit)


def _tainted(position: Position, market: MarketState) -> Iterator[Finding]:
    discarded = taint.of(market, position.cached_funding_index) if market.discarded else None
    if discarded is not None:
        subject = f"cached_funding_index in {position.market}"
        limit = f"a value outside {discarded}, which was discarded"
        yield Finding(Reason.ACCOUNT_TAINTED, Severity.DENY, subject, show(position.cached_funding_index), limit)


def _trouble(market: MarketState, policy: MarketPolicy, now_ns: int) -> str:
    """Return why a market's data cannot be trusted now, or nothing."""
    seen_ns = min(market.trusted.mark_seen_ns, market.trusted.funding_seen_ns)
    if market.halt is not None:
        return f"halted by {market.halt.actor}"
    if market.breaker.state is BreakerState.OPEN:
        return "OPEN (denying) for " + ", ".join(dict.fromkeys(finding.reason for finding in market.breaker.findings))
    if market.phase.effective() in DENYING_PHASES:
        return f"in {market.phase.effective()}"
    if market.rejections:
        return "rejected for " + ", ".join(dict.fromkeys(finding.reason for finding in market.rejections))
    if not market.warm:
        return "warming"
    return "stale" if now_ns - seen_ns > policy.staleness.deny_after_ns else ""


def _halted(scope: str, halt: Halt) -> Finding:
    observed = f"halted by {halt.actor}: {halt.reason}"
    return Finding(Reason.OPERATOR_HALT, Severity.DENY, scope, observed, f"a resume of {scope}")


def _open(breaker: Breaker, reason: Reason) -> Finding:
    severity = Severity.LATCH if breaker.latched else Severity.DENY
    causes = ", ".join(dict.fromkeys(finding.reason for finding in breaker.findings))
    ending = "a reset by an operator" if breaker.latched else "the cooldown, then healthy data"
    return Finding(reason, severity, breaker.scope, f"OPEN (denying) for {causes}", ending)
