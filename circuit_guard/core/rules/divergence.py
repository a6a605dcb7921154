"""divergence: a price outside what the references explain.

The hull of the reference price over 30 s, widened by a base and by its own width: in a crash the hull is wide and a
leader is not held; in calm it is narrow and 1 % is seen. A leader and a single venue's wick look alike until the
others have moved or not, so the first doubtful observation denies, and only what lasts, or is far outside, trips.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from circuit_guard.core.envelope import Interval
from circuit_guard.core.market import MarketView, readable
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.types import Finding, Severity, show, show_seconds


def mark_interval(view: MarketView, policy: MarketPolicy) -> Interval | None:
    """Return where the references allow the mark price to be; None without any."""
    hull = view.references.hull
    return None if hull is None else hull.widened(policy.divergence.base, policy.divergence.hull_widths)


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Judge a published mark and index price, or the mark and execution price of a closure. Two-sided."""
    hull, rule = view.references.hull, policy.divergence
    mark, index = view.published.mark_price, view.published.index_price
    yield from _judge(view, policy, Reason.MARK_DIVERGENCE, "mark_price", mark, rule.base)
    yield from _judge(view, policy, Reason.INDEX_DIVERGENCE, "index_price", index, rule.index_base)
    if view.closure is None:
        return
    yield from _still_settling(view, policy)
    if hull is not None:
        basis_mark = readable(view.closure.basis.mark_price)
        if basis_mark is not None and basis_mark not in (limit := hull.widened(rule.base, rule.hull_widths)):
            observed = show(basis_mark)
            yield Finding(Reason.MARK_DIVERGENCE, Severity.DENY, "basis.mark_price", observed, str(limit))
        price = readable(view.closure.execution_price)
        if price is not None and price not in (limit := hull.widened(rule.execution_base, rule.hull_widths)):
            yield Finding(Reason.EXECUTION_DIVERGENCE, Severity.DENY, "execution_price", show(price), str(limit))


def _judge(
    view: MarketView, policy: MarketPolicy, reason: Reason, subject: str, price: Decimal | None, base: Decimal
) -> Iterator[Finding]:
    hull, rule = view.references.hull, policy.divergence
    if price is None or hull is None:
        return
    limit = hull.widened(base, rule.hull_widths)
    if price in limit:
        return
    severity = Severity.DENY
    if view.references.quorum:
        far = hull.widened(max(base, rule.trip_at_once_base), rule.trip_at_once_hull_widths)
        severity = view.lasting(reason, rule.trip_after_ns) if price in far else Severity.TRIP
    yield Finding(reason, severity, subject, show(price), str(limit))


def _still_settling(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny for a moment after a wrong mark went away: closures computed with it are still on their way."""
    reverted_ns = view.state.reverted_ns
    if reverted_ns is not None and view.now_ns - reverted_ns < policy.divergence.settle_ns:
        observed = f"back for {show_seconds(view.now_ns - reverted_ns)}"
        limit = f"back for {show_seconds(policy.divergence.settle_ns)}"
        yield Finding(Reason.MARK_REVERTED, Severity.DENY, "mark_price", observed, limit)
