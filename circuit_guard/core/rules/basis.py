"""basis: the caller's own values. Where they were never published, the caller is consuming something else.

This stops a closure even where the guard's feed looks clean (DESIGN 3).
"""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.envelope import Interval
from circuit_guard.core.market import MarketView
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.types import Finding, Severity, show


def published_marks(view: MarketView, policy: MarketPolicy) -> Interval | None:
    """Return what the mark price has been within the window, widened: what a caller may have computed with."""
    prices = [price for at_ns, price in view.state.marks if view.now_ns - at_ns <= policy.basis.window_ns]
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
    basis = view.closure.basis
    envelopes = (
        ("basis.mark_price", Reason.BASIS_MARK, basis.mark_price, published_marks(view, policy)),
        (
            "basis.funding_index",
            Reason.BASIS_FUNDING,
            basis.funding_index,
            view.funding_envelope(policy, policy.basis.window_ns),
        ),
    )
    for subject, reason, value, envelope in envelopes:
        if value is None:
            if policy.basis.required:
                yield Finding(Reason.BASIS_MISSING, Severity.DENY, subject, "not given", "the value computed with")
        elif envelope is not None and (not value.is_finite() or value not in envelope):
            yield Finding(reason, _severity(view, policy), subject, show(value), str(envelope))


def _severity(view: MarketView, policy: MarketPolicy) -> Severity:
    """Return TRIP where callers have been wrong for long and often enough, else DENY."""
    doubt, rule = view.state.basis_doubt, policy.basis
    silent = view.now_ns - doubt.last_ns > rule.window_ns
    if doubt.since_ns is None or silent or doubt.count + 1 < rule.trip_count_min:
        return Severity.DENY
    return Severity.TRIP if view.now_ns - doubt.since_ns >= rule.trip_after_ns else Severity.DENY
