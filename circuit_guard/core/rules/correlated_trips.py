"""correlated_trips: several markets latching together is no market event, it is the exchange's data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from circuit_guard.core.policy import GlobalBreakerParameters
from circuit_guard.core.rule import OPERATOR, Judges, Reason, Rule
from circuit_guard.core.types import Finding, Severity, show_seconds

CORRELATED_LATCHES = "correlated_latches"


def evaluate(
    latched_ns: Mapping[str, int], market_count: int, now_ns: int, policy: GlobalBreakerParameters
) -> Iterator[Finding]:
    """Yield a latch for GLOBAL where enough markets, and a large enough share of all, latched within the window.

    `latched_ns` maps each market to when it last latched.
    """
    recent = sorted(market for market, at_ns in latched_ns.items() if now_ns - at_ns <= policy.window_ns)
    share_min = policy.latched_share_min * market_count
    if len(recent) < policy.latched_markets_min or len(recent) < share_min:
        return
    named = ", ".join(recent[:5]) + (", ..." if len(recent) > 5 else "")
    observed = f"{len(recent)} of {market_count} ({named})"
    limit = f"fewer than {policy.latched_markets_min} in {show_seconds(policy.window_ns)}"
    yield Finding(CORRELATED_LATCHES, Severity.LATCH, "latched markets", observed, limit, policy.shadow)


RULE = Rule(
    name="correlated_trips",
    rank=130,
    catches="Several markets that latch within a short time. Latches GLOBAL.",
    judges=Judges.MARKETS,
    parameters=GlobalBreakerParameters,
    reasons={CORRELATED_LATCHES: Reason("several markets latched within a short time", OPERATOR)},
    evaluate=evaluate,
)
