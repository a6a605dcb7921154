"""divergence: a price outside what the references explain.

The hull of the reference price over 30 s, widened by a base and by its own width: in a crash the hull is wide and a
leader is not held; in calm it is narrow and 1 % is seen. A leader and a single venue's wick look alike until the
others have moved or not, so the first doubtful observation denies, and only what lasts, or is far outside, trips.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from circuit_guard.core.envelope import Interval
from circuit_guard.core.market import readable
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.types import Finding, Severity, show, show_seconds
from circuit_guard.core.view import MarketView


def mark_interval(view: MarketView, policy: MarketPolicy) -> Interval | None:
    """Return where the references allow the mark price to be; None without any."""
    return view.references.limits(policy.divergence.base, policy.divergence.hull_widths)


def execution_interval(view: MarketView, policy: MarketPolicy) -> Interval | None:
    """Return where the references allow an execution price to be; None without any."""
    return view.references.limits(policy.divergence.execution_base, policy.divergence.hull_widths)


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Judge a published mark and index price, or the mark and execution price of a closure. Two-sided."""
    rule, closure = policy.divergence, view.closure
    if closure is None:
        mark, index = view.published.mark_price, view.published.index_price
        yield from _judge(view, policy, Reason.MARK_DIVERGENCE, "mark_price", mark, rule.base)
        yield from _judge(view, policy, Reason.INDEX_DIVERGENCE, "index_price", index, rule.index_base)
        return
    if view.state.reverted_ns is not None:
        yield from _still_settling(view, view.state.reverted_ns, policy)
    mark, execution = readable(closure.basis.mark_price), readable(closure.execution_price)
    if mark is not None and (limit := view.once(mark_interval)) is not None and mark not in limit:
        yield Finding(Reason.MARK_DIVERGENCE, Severity.DENY, "basis.mark_price", show(mark), str(limit))
    if execution is not None and (limit := view.once(execution_interval)) is not None and execution not in limit:
        yield Finding(Reason.EXECUTION_DIVERGENCE, Severity.DENY, "execution_price", show(execution), str(limit))


def _judge(
    view: MarketView, policy: MarketPolicy, reason: Reason, subject: str, price: Decimal | None, base: Decimal
) -> Iterator[Finding]:
    rule, references = policy.divergence, view.references
    limit = references.limits(base, rule.hull_widths)
    if price is None or limit is None or price in limit:
        return
    severity = Severity.DENY
    if references.quorum:
        far = references.limits(max(base, rule.trip_at_once_base), rule.trip_at_once_hull_widths)
        at_once = far is not None and price not in far
        severity = Severity.TRIP if at_once else view.lasting(reason, rule.trip_after_ns)
    yield Finding(reason, severity, subject, show(price), str(limit))


def _still_settling(view: MarketView, reverted_ns: int, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny for a moment after a wrong mark went away: closures computed with it are still on their way."""
    if view.now_ns - reverted_ns < policy.divergence.settle_ns:
        observed = f"back for {show_seconds(view.now_ns - reverted_ns)}"
        limit = f"back for {show_seconds(policy.divergence.settle_ns)}"
        yield Finding(Reason.MARK_REVERTED, Severity.DENY, "mark_price", observed, limit)
