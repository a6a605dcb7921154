"""staleness: how old what we trust is, and stamps from the future.

A stamp from the future has a negative age and passes every age limit, so it has a bound of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.market import MarketView
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.types import Finding, Severity, show_seconds


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny closures on old trusted values, and observations that arrive old or from the future."""
    limit_ns = policy.staleness.deny_after_ns
    limit = f"at most {show_seconds(limit_ns)}"
    if view.observation is not None:
        age_ns = view.now_ns - view.observation.event_time_ns
        if age_ns > limit_ns:
            yield Finding(Reason.DATA_STALE, Severity.DENY, "event_time", f"{show_seconds(age_ns)} old", limit)
        if -age_ns > policy.staleness.future_skew_ns:
            ahead = f"at most {show_seconds(policy.staleness.future_skew_ns)} ahead"
            observed = f"{show_seconds(-age_ns)} ahead"
            yield Finding(Reason.FUTURE_STAMP, Severity.DENY, "event_time", observed, ahead)
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
            yield Finding(Reason.DATA_STALE, Severity.DENY, name, observed, limit)
