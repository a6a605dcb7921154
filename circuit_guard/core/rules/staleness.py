"""staleness: how old what we trust is, stamps from the future, and a mark price that stands still under fresh stamps.

A stamp from the future has a negative age and passes every age limit, so it has a bound of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.types import Finding, Severity, show, show_seconds
from circuit_guard.core.view import MarketView


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny closures on old trusted values, and observations that arrive old or from the future."""
    limit_ns = policy.staleness.deny_after_ns
    if view.observation is not None:
        age_ns = view.now_ns - view.observation.event_time_ns
        if age_ns > limit_ns:
            yield Finding(
                Reason.DATA_STALE, Severity.DENY, "event_time", f"{show_seconds(age_ns)} old", _at_most(limit_ns)
            )
        if -age_ns > policy.staleness.future_skew_ns:
            ahead = f"at most {show_seconds(policy.staleness.future_skew_ns)} ahead"
            observed = f"{show_seconds(-age_ns)} ahead"
            yield Finding(Reason.FUTURE_STAMP, Severity.DENY, "event_time", observed, ahead)
        yield from _frozen(view, policy)
        return
    trusted = view.state.trusted
    for name, value, seen_ns in (
        ("mark_price", trusted.mark_price, trusted.mark_seen_ns),
        ("funding_index", trusted.funding_index, trusted.funding_seen_ns),
    ):
        if value is None:
            yield Finding(Reason.VALUE_MISSING, Severity.DENY, name, "never trusted yet", "a trusted value")
        elif view.now_ns - seen_ns > limit_ns:
            observed = f"{show_seconds(view.now_ns - seen_ns)} old"
            yield Finding(Reason.DATA_STALE, Severity.DENY, name, observed, _at_most(limit_ns))


def _at_most(limit_ns: int) -> str:
    return f"at most {show_seconds(limit_ns)}"


def _frozen(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny a mark price that is the same to the last digit though the reference price has long moved away."""
    rule, unchanged, price = policy.staleness, view.state.unchanged, view.references.price
    if unchanged is None or price is None or unchanged.away_since_ns is None:
        return
    away_ns = view.now_ns - unchanged.away_since_ns
    if view.published.mark_price == unchanged.mark_price and away_ns >= rule.frozen_after_ns:
        severity = view.lasting(Reason.MARK_FROZEN, rule.frozen_trip_after_ns)
        observed = f"still {show(unchanged.mark_price)} after {show_seconds(away_ns)}"
        limit = f"a change as the reference price went from {show(unchanged.reference_price)} to {show(price)}"
        yield Finding(Reason.MARK_FROZEN, severity, "mark_price", observed, limit)
