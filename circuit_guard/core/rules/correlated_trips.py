"""correlated_trips: several markets latching together is no market event, it is the exchange's data."""

from __future__ import annotations

from collections.abc import Mapping

from circuit_guard.core.policy import GlobalPolicy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.types import Finding, Severity, show_seconds


def evaluate(latched_ns: Mapping[str, int], market_count: int, now_ns: int, policy: GlobalPolicy) -> Finding | None:
    """Return a latch for GLOBAL where enough markets, and a large enough share of all, latched within the window.

    `latched_ns` maps each market to when it last latched.
    """
    recent = sorted(market for market, at_ns in latched_ns.items() if now_ns - at_ns <= policy.window_ns)
    share_min = policy.latched_share_min * market_count
    if len(recent) < policy.latched_markets_min or len(recent) < share_min:
        return None
    named = ", ".join(recent[:5]) + (", ..." if len(recent) > 5 else "")
    observed = f"{len(recent)} of {market_count} ({named})"
    limit = f"fewer than {policy.latched_markets_min} in {show_seconds(policy.window_ns)}"
    return Finding(Reason.CORRELATED_LATCHES, Severity.LATCH, "latched markets", observed, limit, policy.shadow)
