"""funding_continuity: a funding index moves by accrual and by nothing else.

The bound, slack * rate cap * price * dt / period, is about 1/5000 of what a reset to zero does, and volatility cannot
reach it. Value and sign are no test: indices are legitimately negative, and new markets start at zero (DESIGN 3).
"""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.envelope import funding_bound, funding_price
from circuit_guard.core.policy import GapMode, MarketPolicy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.types import Finding, Severity, show
from circuit_guard.core.view import MarketView


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Latch on a step funding cannot make; deny one the premium does not predict, trip if that lasts.

    Before the market was ever warm nothing is known to be true, so a jump only denies and the first sight starts over.
    """
    state, trusted, index = view.state, view.state.trusted, view.published.funding_index
    price = funding_price(trusted.index_price, trusted.mark_price)
    if view.observation is None or index is None or trusted.funding_index is None or price is None:
        return
    accrual_ns = state.feed.accrual_ns(view.observation.event_time_ns, policy, view.now_ns)
    frozen = policy.funding.gap_mode is GapMode.FREEZE and accrual_ns == 0
    jitter_ns = 0 if frozen else policy.staleness.future_skew_ns
    bound = funding_bound(policy.funding, price, accrual_ns + jitter_ns)
    step = index - trusted.funding_index
    if abs(step) > bound:
        reason = Reason.FUNDING_MOVED_IN_GAP if frozen else Reason.FUNDING_JUMP
        severity = Severity.LATCH if state.was_warm else Severity.DENY
        observed = f"{show(index)}, a step of {show(step)}"
        yield Finding(reason, severity, "funding_index", observed, f"{show(trusted.funding_index)} +/- {show(bound)}")
    elif trusted.funding_premium is not None and accrual_ns <= policy.funding.gap_ns + policy.funding.trip_after_ns:
        # Over a longer gap the last premium predicts nothing, and a trusted value that no
        # observation could follow any more would hold the market for ever.
        predicted = trusted.funding_premium * accrual_ns / policy.funding.period_ns
        jitter = abs(trusted.funding_premium) * jitter_ns / policy.funding.period_ns
        tolerance = (
            jitter
            + abs(predicted) * policy.funding.predicted_step_share
            + funding_bound(policy.funding, price, accrual_ns) * policy.funding.bound_share
        )
        if abs(step - predicted) > tolerance:
            reason = Reason.FUNDING_STEP_UNPREDICTED
            severity = view.lasting(reason, policy.funding.trip_after_ns)
            observed = f"{show(index)}, a step of {show(step)}"
            limit = f"a step of {show(predicted)} +/- {show(tolerance)}"
            yield Finding(reason, severity, "funding_index", observed, limit)
