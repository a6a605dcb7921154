"""Explained closures: the account of a check held against trusted values, and what that lets through in a halt.

While an account's loss follows from values that are trusted, it does not matter that other data are wrong: the closure
is justified, and holding it makes bad debt. Nothing here ever excuses an operator's halt, a phase, a price that the
references do not admit, or an account that was settled with a discarded value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from circuit_guard.core import gates, margin
from circuit_guard.core.envelope import FundingParameters, Interval
from circuit_guard.core.hours import HoursParameters
from circuit_guard.core.inputs import Account, Position
from circuit_guard.core.margin import World
from circuit_guard.core.market import MarketState, all_readable, readable
from circuit_guard.core.policy import MarketPolicy, Policy
from circuit_guard.core.progress import view_for_check
from circuit_guard.core.reasons import info_of
from circuit_guard.core.rule import Excuse
from circuit_guard.core.rules.divergence import DivergenceParameters, mark_interval
from circuit_guard.core.rules.unexplained_loss import ExplainedLossParameters, Halted
from circuit_guard.core.types import SECOND_NS, ExplainedLoss, Explanation, Finding, Phase, Severity
from circuit_guard.core.view import MarketView

ENGINE_BEHIND_NS = 5 * SECOND_NS
"""Observations arrive while the engine computes, queues and asks: it may know the mark prices of so long ago."""


def views_of(
    view: MarketView, account: Account, markets: Mapping[str, MarketState], policy: Policy
) -> dict[str, MarketView]:
    """Return the view of each market of an account that the policy names. `view` is that of the check's own market."""
    own, now_ns = view.state.market, view.now_ns
    return {
        name: view if name == own else view_for_check(markets[name], policy.markets[name], now_ns)
        for name in account.markets()
        if name in policy.markets
    }


def explain(
    view: MarketView, account: Account, views: Mapping[str, MarketView], policy: Policy, given: Decimal | None
) -> ExplainedLoss:
    """Return what the account of a check says. `views` are those of its markets, `view` that of the check's own, and
    `given` the mark price that the check was computed with.

    A market in trouble is taken with all that its price can be meanwhile, so a position that matters little decides
    nothing, and one that matters leaves the account undecided.
    """
    if not legible(account):
        return ExplainedLoss(Explanation.NOT_EVALUATED)
    worlds: dict[str, World | None] = {}
    for name, seen in views.items():
        market_policy = policy.markets[name]
        if seen is view:
            worlds[name] = world(seen, market_policy, given)
        elif gates.trouble(seen, market_policy):
            worlds[name] = _in_trouble(seen, market_policy)
        else:
            worlds[name] = world(seen, market_policy, None)
    apart: dict[int, World] = {}
    for place, held in enumerate(account.positions):
        known = worlds.get(held.market)
        if known is not None and policy.markets[held.market].of(FundingParameters).rates_only:
            apart[place] = World(known.mark_price, Interval(held.cached_funding_index, held.cached_funding_index))
        elif known is not None and gates.tainted(held, views[held.market].state) is not None:
            apart[place] = _settled_otherwise(known, held)
    return margin.explain(account, worlds, apart)


def legible(account: Account) -> bool:
    """Return whether the margin formula can compute with every number of an account."""
    numbers = [account.collateral]
    for held in account.positions:
        numbers += held.size, held.entry_price, held.cached_funding_index
        numbers += held.maintenance_margin_fraction, held.maintenance_margin
    for asset in account.assets:
        numbers += asset.quantity, asset.haircut
    return all_readable(numbers)


def _in_trouble(view: MarketView, policy: MarketPolicy) -> World | None:
    """Return what a market can be while the exchange's data of it are not to be trusted; None where nothing is known.

    Its price can be far off. Where the policy relies on explained closures, it is where the references admit it, unless
    there are none or an operator halted the market for what the guard does not see.
    """
    state, funding, near = view.state, view.funding_envelope(policy), view.once(_admitted)
    alone = policy.of(DivergenceParameters).unreferenced_share
    marks = state.trusted.unreferenced(alone, view.now_ns, view.references.prices)
    if marks is not None and view.shut(policy):  # no price moves: it is the gap of the opening that counts
        middle = (marks.low + marks.high) / 2
        marks = view.references.prices.widened(Interval(middle, middle), policy.of(HoursParameters).gap_share)
    if near is not None and marks is not None:
        relied_on = policy.of(ExplainedLossParameters).halted is Halted.ALLOW_EXPLAINED and state.halt is None
        marks = near if relied_on else Interval(min(marks.low, near.low), max(marks.high, near.high))
    return None if marks is None or funding is None or not state.was_warm else World(marks, funding)


def _settled_otherwise(world: World, position: Position) -> World:
    """Return the world of a position that may have been settled with a wrong index."""
    settled, funding = position.cached_funding_index, world.funding_index
    return World(world.mark_price, Interval(min(funding.low, settled), max(funding.high, settled)))


def excuse(view: MarketView, findings: list[Finding], policy: MarketPolicy) -> list[Finding]:
    """Return the findings with those lowered to warnings that an explained loss excuses. All of them, or none."""
    explained = view.explained
    if explained is None or explained.verdict is not Explanation.EXPLAINED:
        return findings
    denying = [finding for finding in findings if finding.severity >= Severity.DENY and not finding.shadow]
    if policy.of(ExplainedLossParameters).halted is not Halted.ALLOW_EXPLAINED or not denying:
        return findings
    excuses = {Excuse.EXPLAINED}
    if _executes_at_a_known_price(view, policy):
        excuses.add(Excuse.KNOWN_PRICE)
    if view.phase is Phase.RECOVERING:
        excuses.add(Excuse.RECOVERING)
    if any(info_of(finding).excuse not in excuses for finding in denying):
        return findings
    return [replace(f, severity=Severity.WARN) if f.severity >= Severity.DENY else f for f in findings]


def _executes_at_a_known_price(view: MarketView, policy: MarketPolicy) -> bool:
    price = readable(view.closure.execution_price) if view.closure is not None else None
    limits = view.once(mark_interval)
    return price is not None and limits is not None and price in limits


def world(view: MarketView, policy: MarketPolicy, given: Decimal | None) -> World | None:
    """Return where the mark price and the funding index of a market can honestly be; None where nothing is trusted.

    A mark price that the references admit is believed: the caller's, or where the check names none, as it does for the
    markets of an account's other positions, those just published.
    """
    rule, state = policy.of(ExplainedLossParameters), view.state
    marks, funding = view.once(_admitted), view.funding_envelope(policy)
    if marks is None or funding is None or not state.was_warm:
        return None
    if view.now_ns - state.trusted.funding_seen_ns > rule.trusted_age_max_ns:
        return None
    mark = readable(given)
    if mark is None:
        return World(view.once(_believed) or marks, funding)
    return World(Interval(mark, mark) if _is_admitted(mark, view) else marks, funding)


def _is_admitted(price: Decimal, view: MarketView) -> bool:
    """Return whether the references admit a mark price: near them, or between them and not diverging.

    Between them at least one venue says as much or more, so a market that parts more than usual explains it.
    """
    near, limits = view.once(_admitted), view.once(mark_interval)
    supported = limits is not None and price in limits and view.references.between(price)
    return supported or (near is not None and price in near)


def _admitted(view: MarketView, policy: MarketPolicy) -> Interval | None:
    """Return where the references admit a mark price; None where they do nowhere."""
    rule = policy.of(ExplainedLossParameters)
    return view.references.limits(rule.mark_share, rule.hull_widths)


def _believed(view: MarketView, policy: MarketPolicy) -> Interval | None:
    """Return the hull of the mark prices just published; None where the references do not admit all of them."""
    prices = _just_published(view)
    if not prices or not all(_is_admitted(price, view) for price in prices):
        return None
    return Interval(min(prices), max(prices))


def _just_published(view: MarketView) -> list[Decimal]:
    """Return the mark price published last, and those that an engine a little behind may have computed with."""
    prices: list[Decimal] = []
    for at_ns, price in reversed(view.state.published_marks):
        prices.append(price)
        if view.now_ns - at_ns >= ENGINE_BEHIND_NS:  # in force when the engine looked, at the earliest
            break
        view.outlook.ends(at_ns + ENGINE_BEHIND_NS)
    return prices
