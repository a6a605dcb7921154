"""Orders in restricted phases: the band that protects the book, and what may rest in it.

One-sided: a buy above the band or a sell below it moves the price; the other sides cannot. New, modified and resting
orders are judged alike, because a modify that escaped the band was a real bug (Paradex changelog, 19 Oct 2026).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from circuit_guard.core import names
from circuit_guard.core.facts import OrderJudged
from circuit_guard.core.gates import PHASE_DENIES
from circuit_guard.core.inputs import Order, OrderAction, Side
from circuit_guard.core.market import readable
from circuit_guard.core.phase import BANDED_PHASES, DENYING_PHASES
from circuit_guard.core.policy import MarketPolicy, Policy
from circuit_guard.core.rules.band import (
    BAND_CENTER_MISSING,
    ORDER_NOT_POST_ONLY,
    OUTSIDE_BAND,
    ROLLBACK_CANCEL,
    BandParameters,
    around,
    center,
)
from circuit_guard.core.rules.validity import VALUE_UNREADABLE
from circuit_guard.core.types import Finding, Phase, Severity, Verdict, show, show_seconds
from circuit_guard.core.view import MarketView


def judge(view: MarketView | None, order: Order, policy: Policy, at_ns: int) -> OrderJudged:
    """Judge one order. `view` is None where the policy does not name the market: that is denied."""
    if view is None:
        findings = [names.unknown(order.market, policy.markets)]
    else:
        own = policy.markets[order.market]
        findings = [*_rolled_back(view, order), *_phase(view, order), *_band(view, order, own)]
    verdict = Verdict.DENY if findings and not policy.shadow else Verdict.ALLOW
    return OrderJudged(at_ns, order.order_id, order.market, verdict, tuple(findings))


def _rolled_back(view: MarketView, order: Order) -> Iterator[Finding]:
    """After a rollback every order that rested then is cancelled, except take-profit and stop-loss."""
    rollback_ns = view.state.rollback_ns
    if rollback_ns is None or order.action is not OrderAction.RESTING or order.take_profit_or_stop_loss:
        return
    if order.created_at_ns is None:
        yield Finding(ROLLBACK_CANCEL, Severity.DENY, "created_at", "not given", "a time after the rollback")
    elif order.created_at_ns <= rollback_ns:
        observed = f"{show_seconds(rollback_ns - order.created_at_ns)} before the rollback"
        yield Finding(ROLLBACK_CANCEL, Severity.DENY, "created_at", observed, "after the rollback")


def _phase(view: MarketView, order: Order) -> Iterator[Finding]:
    if order.action is OrderAction.RESTING:
        return
    if view.phase in DENYING_PHASES:
        yield Finding(PHASE_DENIES, Severity.DENY, "phase", view.phase, "a phase that takes orders")
    elif view.phase is Phase.POST_ONLY and not order.post_only:
        yield Finding(ORDER_NOT_POST_ONLY, Severity.DENY, "post_only", "false", "true in POST_ONLY")


def _band(view: MarketView, order: Order, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny the aggressive side of the band. A take-profit or stop-loss rests outside it until triggered."""
    if view.phase not in BANDED_PHASES:
        return
    if order.take_profit_or_stop_loss and order.action is OrderAction.RESTING:
        return
    if order.price is not None and readable(order.price) is None:
        yield Finding(VALUE_UNREADABLE, Severity.DENY, "price", str(order.price)[:40], "a finite number")
        return
    middle = center(view, policy)
    if middle is None:
        limit = f"a reference price with a quorum within {show_seconds(policy.of(BandParameters).center_age_max_ns)}"
        yield Finding(BAND_CENTER_MISSING, Severity.DENY, "references", "none", limit)
        return
    limits = around(middle, view, policy)
    edge = limits.high if order.side is Side.BUY else limits.low
    aggressive = order.price is None or _beyond(order.side, order.price, edge)
    if aggressive:
        limit = f"{'at most' if order.side is Side.BUY else 'at least'} {show(edge)} in {view.phase}"
        observed = "a market order" if order.price is None else show(order.price)
        yield Finding(OUTSIDE_BAND, Severity.DENY, "price", observed, limit)


def _beyond(side: Side, price: Decimal, edge: Decimal) -> bool:
    return price > edge if side is Side.BUY else price < edge
