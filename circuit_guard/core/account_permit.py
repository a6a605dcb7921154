"""Checks with an account, answered by the permit of their market and the margin formula, without showing all rules.

An account that is under water at every admissible value is what nearly every genuine check is about. Where its market's
permit allows the closure, and every market that it holds is trusted, no rule but those that look at accounts could find
anything: those are asked, and none of the others. As with permits nothing is decided differently, only sooner.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from circuit_guard.core import explained, gates, margin, permit
from circuit_guard.core.envelope import FundingAccrual, FundingReach, Interval, funding_reach
from circuit_guard.core.inputs import Account, Check
from circuit_guard.core.margin import World
from circuit_guard.core.market import MarketState, readable
from circuit_guard.core.policy import MarketPolicy, Policy
from circuit_guard.core.progress import view_for_check
from circuit_guard.core.rulebook import evaluate_accounts
from circuit_guard.core.rules.staleness import StalenessParameters
from circuit_guard.core.rules.unexplained_loss import ExplainedLossParameters
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import ExplainedLoss, Explanation
from circuit_guard.core.view import MarketView


class Holding(NamedTuple):
    """Where the mark price of a trusted market can be for the accounts that hold it, and how its funding index grows.

    It holds until an instant, unless an input comes first.
    """

    until_ns: int
    market: MarketState
    policy: MarketPolicy
    marks: Interval
    trusted_index: Decimal
    reach: FundingReach
    period_ns: int

    def world(self, now_ns: int) -> World:
        """Return what the market can be at a time, as `MarketView.funding_envelope` says it of the index."""
        accrual_ns = self.market.feed.accrual_ns(now_ns, self.policy, now_ns)
        bound = self.reach.within(accrual_ns, self.period_ns)
        return World(self.marks, Interval(self.trusted_index - bound, self.trusted_index + bound))


def explained_loss(state: GuardState, check: Check, policy: Policy) -> ExplainedLoss | None:
    """Return what the account of a check says where nothing is found in the check; None: show it to all rules.

    Time must have been moved to that of the check.
    """
    account, market = check.account, state.markets.get(check.market)
    if account is None or market is None:
        return None
    allowed = permit.in_force(state, market, policy, check.at_ns)
    if allowed is None or not _inside(allowed, check):
        return None
    worlds = _worlds(state, check, account, policy)
    if worlds is None or not explained.legible(account):
        return None
    loss = margin.explain(account, worlds)
    if loss.verdict is not Explanation.EXPLAINED or not _fits(state, check, loss, policy):
        return None
    return loss


def _inside(allowed: permit.Permit, check: Check) -> bool:
    """Return whether the values of a check are inside a permit; one that rules could not compute with is not."""
    execution, mark, funding = check.execution_price, check.basis.mark_price, check.basis.funding_index
    if mark is None or any(one is not None and readable(one) is None for one in (execution, mark, funding)):
        return False
    return allowed.admits(check.kind, execution, mark, funding)


def _worlds(state: GuardState, check: Check, account: Account, policy: Policy) -> dict[str, World | None] | None:
    """Return the world of each market of an account; None where one is not trusted, or settled with a wrong index."""
    worlds: dict[str, World | None] = {}
    for name in account.markets():
        holding = _holding(state, name, policy, check.at_ns)
        if holding is None:
            return None
        if name == check.market:
            view = view_for_check(holding.market, holding.policy, check.at_ns)
            worlds[name] = explained.world(view, holding.policy, check.basis.mark_price)
        else:
            worlds[name] = holding.world(check.at_ns)
    return worlds


def _holding(state: GuardState, name: str, policy: Policy, now_ns: int) -> Holding | None:
    """Return what accounts hold in a market; None where that is for all rules to say."""
    market, market_policy = state.markets.get(name), policy.markets.get(name)
    if market is None or market_policy is None:
        return None
    outlook = market.outlook
    known: Holding | None = None if outlook is None else outlook.holding
    if known is not None and known.policy is market_policy and now_ns < known.until_ns:
        return known
    view = view_for_check(market, market_policy, now_ns)
    known = None if market.discarded or gates.trouble(view, market_policy) else _trusted(view, market_policy)
    if market.outlook is not None:
        market.outlook.holding = known
    return known


def _trusted(view: MarketView, policy: MarketPolicy) -> Holding | None:
    """Return what accounts hold in a market that is in no trouble."""
    market, trusted, funding = view.state, view.state.trusted, view.funding(policy)
    world, price = explained.world(view, policy, None), view.funding_price(policy)
    if funding.accrual is not FundingAccrual.CONTINUOUS or world is None or price is None:
        return None
    index, seen_ns = trusted.funding_index, min(trusted.mark_seen_ns, trusted.funding_seen_ns)
    if index is None:
        return None
    until_ns = min(
        seen_ns + policy.of(StalenessParameters).deny_after_ns + 1,
        trusted.funding_seen_ns + policy.of(ExplainedLossParameters).trusted_age_max_ns + 1,
        view.outlook.until_ns,  # last: what the world rests on may have brought it nearer
    )
    return Holding(until_ns, market, policy, world.mark_price, index, funding_reach(funding, price), funding.period_ns)


def _fits(state: GuardState, check: Check, loss: ExplainedLoss, policy: Policy) -> bool:
    """Return whether the rules that look at accounts find nothing."""
    market_policy = policy.markets[check.market]
    view = view_for_check(state.markets[check.market], market_policy, check.at_ns)
    view.closure, view.explained = check, loss
    return not evaluate_accounts(view, market_policy)
