"""basis: the caller's own values. Where they were never published, the caller is consuming something else.

This stops a closure even where the guard's feed looks clean (DESIGN 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from circuit_guard.core.envelope import Interval
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.types import Finding, Severity, show
from circuit_guard.core.view import MarketView


def published_marks(view: MarketView, policy: MarketPolicy) -> Interval | None:
    """Return what the mark price has been within the window, widened: what a caller may have computed with."""
    lately = [(at_ns, price) for at_ns, price in view.state.marks if view.now_ns - at_ns <= policy.basis.window_ns]
    if lately:
        view.outlook.ends(min(at_ns for at_ns, _ in lately) + policy.basis.window_ns + 1)
    prices = [price for _, price in lately]
    if not prices and view.state.trusted.mark_price is not None:
        prices = [view.state.trusted.mark_price]
    return (
        Interval(min(prices), max(prices)).widened(policy.basis.mark_share, policy.divergence.hull_widths)
        if prices
        else None
    )


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny a closure computed with values outside their envelopes; trip where callers keep doing it."""
    if view.closure is None:
        return
    mark, index = view.closure.basis.mark_price, view.closure.basis.funding_index
    if mark is None:
        if policy.basis.required:
            yield _missing("basis.mark_price")
    elif _outside(mark, marks := view.once(published_marks)):
        yield Finding(Reason.BASIS_MARK, _severity(view, policy), "basis.mark_price", show(mark), str(marks))
    if index is None:
        if policy.basis.required:
            yield _missing("basis.funding_index")
    elif _outside(index, envelope := view.funding_envelope(policy, policy.basis.window_ns)):
        severity = _severity(view, policy)
        yield Finding(Reason.BASIS_FUNDING, severity, "basis.funding_index", show(index), str(envelope))


def _outside(value: Decimal, envelope: Interval | None) -> bool:
    return envelope is not None and (not value.is_finite() or value not in envelope)


def _missing(subject: str) -> Finding:
    return Finding(Reason.BASIS_MISSING, Severity.DENY, subject, "not given", "the value computed with")


def _severity(view: MarketView, policy: MarketPolicy) -> Severity:
    """Return TRIP where callers have been wrong for long and often enough, else DENY."""
    doubt, rule = view.state.basis_doubt, policy.basis
    silent = view.now_ns - doubt.last_ns > rule.window_ns
    if doubt.since_ns is None or silent or doubt.count + 1 < rule.trip_count_min:
        return Severity.DENY
    return Severity.TRIP if view.now_ns - doubt.since_ns >= rule.trip_after_ns else Severity.DENY
