"""The gates a closure passes besides the rules: halts, breakers, phase, warmth, and whether the feed is trusted now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from circuit_guard.core import halts, names, own_clock, taint
from circuit_guard.core.breaker import Breaker
from circuit_guard.core.envelope import Interval
from circuit_guard.core.formatting import instant
from circuit_guard.core.halts import Halt
from circuit_guard.core.inputs import Account, Position
from circuit_guard.core.market import MarketState
from circuit_guard.core.names import UNKNOWN_MARKET
from circuit_guard.core.own_clock import GUARD_CLOCK_OFF
from circuit_guard.core.phase import DENYING_PHASES
from circuit_guard.core.policy import FirstSight, MarketPolicy, Policy
from circuit_guard.core.rule import CALLER, EVIDENCE, EXCHANGE, FRESH, OPERATOR, Excuse, Reason
from circuit_guard.core.rules.staleness import StalenessParameters
from circuit_guard.core.rules.validity import VALUE_UNREADABLE
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import GLOBAL_SCOPE, BreakerState, ExplainedLoss, Explanation, Finding, Severity, show
from circuit_guard.core.view import MarketView

WARMING = "warming"
BREAKER_OPEN = "breaker_open"
GLOBAL_BREAKER_OPEN = "global_breaker_open"
OPERATOR_HALT = "operator_halt"
PHASE_DENIES = "phase_denies"
ACCOUNT_MARKET_HALTED = "account_market_halted"
RAMP_LIMITED = "ramp_limited"
FIRST_SIGHT = "first_sight"
ACCOUNT_TAINTED = "account_tainted"
MARKET_CLOSED = "market_closed"
STATE_NOT_CLEAN = "state_not_clean"


_DECIDES = "trusted data in every market that decides over the account"
_VALUED = "trusted data in every market that values the account's collateral"


def _holds(found: Finding) -> str:
    return "has collateral valued in" if found.limit == _VALUED else "has a position in"


def _says_open(found: Finding) -> str:
    whose = "GLOBAL breaker" if found.subject == GLOBAL_SCOPE else "breaker"
    causes = found.observed.partition(" for ")[2]
    state = f"latched ({causes})" if found.severity is Severity.LATCH else f"OPEN (denying) for {causes}"
    return f"the {whose} is {state}"


REASONS = {
    UNKNOWN_MARKET: Reason("the policy does not name this market", CALLER, Excuse.EXPLAINED, says=names.sentence),
    WARMING: Reason(
        "the market has not yet shown enough consistent observations",
        EVIDENCE,
        says=lambda found: f"it has shown {found.observed} consistent observations and needs {found.limit}",
    ),
    BREAKER_OPEN: Reason("the market's breaker is OPEN (denying)", EVIDENCE, Excuse.EXPLAINED, says=_says_open),
    GLOBAL_BREAKER_OPEN: Reason("the GLOBAL breaker is OPEN (denying)", OPERATOR, Excuse.EXPLAINED, says=_says_open),
    OPERATOR_HALT: Reason(
        "an operator has halted closures",
        OPERATOR,
        act="resume closures",
        says=lambda found: f"closures in {found.subject} are {found.observed}",
    ),
    GUARD_CLOCK_OFF: Reason(
        "the guard's own clock is off: all publishers differ from it alike", EVIDENCE, says=own_clock.sentence
    ),
    PHASE_DENIES: Reason(
        "this phase allows no closures",
        EXCHANGE,
        says=lambda found: f"phase {found.observed} does not allow this: it takes {found.limit}",
    ),
    ACCOUNT_MARKET_HALTED: Reason(
        "the account has a position in a market whose data are not trusted now",
        EVIDENCE,
        Excuse.EXPLAINED,
        says=lambda found: f"the account {_holds(found)} {found.subject}, which is not trusted now: {found.observed}",
    ),
    RAMP_LIMITED: Reason(
        "the market has just re-opened and lets closures through at a rising rate",
        FRESH,
        says=lambda found: f"the market has just re-opened and lets through {found.limit}: {found.observed}",
    ),
    MARKET_CLOSED: Reason(
        "the market is outside its trading hours, and the policy allows no closures then",
        EXCHANGE,
        says=lambda found: f"the market is closed {found.observed}, and trades again {found.limit}",
    ),
    FIRST_SIGHT: Reason(
        "the policy wants an operator to confirm this new market",
        OPERATOR,
        act="rebaseline the market",
        says=lambda found: "the policy wants an operator to confirm this new market",
    ),
    ACCOUNT_TAINTED: Reason(
        "the account was settled with a funding index that was discarded as wrong or rolled back", CALLER
    ),
    STATE_NOT_CLEAN: Reason("the exchange's state was not found clean before maintenance ended", OPERATOR),
}
"""The reasons of what is no rule: gates, the ramp, the end of a maintenance. None of them can be in shadow."""


def evaluate(  # noqa: C901  # one case for each gate
    view: MarketView, policy: MarketPolicy, guard: GuardState
) -> Iterator[Finding]:
    """Return why closures are held in this market whatever the closure: one finding a closed gate."""
    state = view.state
    clock_off = own_clock.finding(guard.clock)
    if clock_off is not None:
        yield clock_off
    if guard.global_halt is not None:
        yield _halted(GLOBAL_SCOPE, guard.global_halts)
    if state.halt is not None:
        yield _halted(state.market, state.halts)
    if guard.global_breaker.state is BreakerState.OPEN:
        yield _open(guard.global_breaker, GLOBAL_BREAKER_OPEN)
    if state.breaker.state is BreakerState.OPEN:
        yield _open(state.breaker, BREAKER_OPEN)
    if view.phase in DENYING_PHASES:
        yield Finding(PHASE_DENIES, Severity.DENY, "phase", view.phase, "OPEN, or POST_ONLY inside the band")
    if view.session is not None and view.shut(policy):
        since, until = instant(view.session.since_ns), instant(view.session.until_ns)
        yield Finding(MARKET_CLOSED, Severity.DENY, "hours", f"since {since}", f"from {until}")
    if not state.was_warm and policy.first_sight is FirstSight.OPERATOR:
        limit = "a rebaseline by an operator"
        yield Finding(FIRST_SIGHT, Severity.DENY, "market", "never confirmed", limit)
    elif not state.warm:
        observed, limit = (
            str(state.consistent_observations),
            f"{policy.warm_observations} in a row inside the references",
        )
        yield Finding(WARMING, Severity.DENY, "their number", observed, limit)
    for rejected in state.rejections:
        if clock_off is None or not (own_clock.is_mistimed(rejected) or rejected.reason == GUARD_CLOCK_OFF):
            yield rejected


def evaluate_account(
    account: Account,
    explained: ExplainedLoss,
    views: Mapping[str, MarketView],
    policy: Policy,
    *,
    believed: bool,
) -> Iterator[Finding]:
    """Deny where the account rests on what cannot be trusted, and only that decides.

    That is another position in a market not to be trusted now, since cross margin carries it over, and any position
    that was settled with a discarded funding index. An account that is under water whatever those are worth is not
    shielded by them: they are reported. `believed`: the policy takes the margin formula for that of the engine.
    """
    if explained.verdict is Explanation.NOT_EVALUATED:
        yield Finding(VALUE_UNREADABLE, Severity.DENY, "account", "no finite number", "finite numbers")
    decided = believed and explained.verdict is Explanation.EXPLAINED
    severity = Severity.WARN if decided else Severity.DENY
    looked_at: set[str] = set()
    for held in account.holdings():
        market = held.market
        view, market_policy = views.get(market), policy.markets.get(market)
        if view is not None and isinstance(held, Position):
            yield from _tainted(held, view.state, severity)
        if market in looked_at:
            continue  # its other side, or an asset beside a position
        looked_at.add(market)
        if view is None or market_policy is None:
            subject = "account.positions" if isinstance(held, Position) else "account.assets"
            yield names.unknown(market, policy.markets, severity, subject)
        elif view.closure is None and (doubt := trouble(view, market_policy)):
            limit = _DECIDES if isinstance(held, Position) else _VALUED
            yield Finding(ACCOUNT_MARKET_HALTED, severity, market, doubt, limit)


def tainted(position: Position, market: MarketState) -> Interval | None:
    """Return the discarded funding indices that a position was settled with; None where it was not."""
    return taint.of(market, position.cached_funding_index) if market.discarded else None


def _tainted(position: Position, market: MarketState, severity: Severity) -> Iterator[Finding]:
    discarded = tainted(position, market)
    if discarded is not None:
        subject = f"cached_funding_index in {position.market}"
        limit = f"a value outside {discarded}, which was discarded"
        yield Finding(ACCOUNT_TAINTED, severity, subject, show(position.cached_funding_index), limit)


def trouble(view: MarketView, policy: MarketPolicy) -> str:
    """Return why a market's data cannot be trusted now, or nothing."""
    market, now_ns = view.state, view.now_ns
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
    if view.references.anchors is None:
        return "without references"
    return "stale" if now_ns - seen_ns > policy.of(StalenessParameters).deny_after_ns else ""


def _halted(scope: str, standing: tuple[Halt, ...]) -> Finding:
    return Finding(OPERATOR_HALT, Severity.DENY, scope, halts.said(standing), f"a resume of {scope}")


def _open(breaker: Breaker, reason: str) -> Finding:
    severity = Severity.LATCH if breaker.latched else Severity.DENY
    causes = ", ".join(dict.fromkeys(finding.reason for finding in breaker.findings))
    ending = "a reset by an operator" if breaker.latched else "the cooldown, then healthy data"
    return Finding(reason, severity, breaker.scope, f"OPEN (denying) for {causes}", ending)
