"""funding_rate: the rate within its cap, and rate, premium and index price telling one story.

At the cap is no anomaly (caps are hit in every crash); above it is. premium = rate * index price, per funding period.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from circuit_guard.core.envelope import ROUNDING_SHARE
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.types import Finding, show
from circuit_guard.core.view import MarketView

RATE_ROUNDING = Decimal("1e-8")
"""Exchanges publish rates cut to 8 decimals (Paradex: funding_rate_8h, openapi of 2026)."""


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny an observation whose rate is over the cap or does not agree with its premium; trip if it lasts."""
    mark_price, index_price, _, rate, premium = view.published
    trip_after_ns = policy.funding.trip_after_ns
    if rate is not None and abs(rate) > policy.funding.rate_max + RATE_ROUNDING:
        severity = view.lasting(Reason.FUNDING_RATE_OVER_CAP, trip_after_ns)
        limit = f"within +/- {show(policy.funding.rate_max)}"
        yield Finding(Reason.FUNDING_RATE_OVER_CAP, severity, "funding_rate", show(rate), limit)
    price = index_price or mark_price
    if rate is None or premium is None or price is None:
        return
    implied = rate * price
    tolerance = max(abs(implied), abs(premium)) * policy.funding.premium_share
    tolerance += abs(price) * (RATE_ROUNDING + ROUNDING_SHARE)
    if abs(implied - premium) > tolerance:
        severity = view.lasting(Reason.FUNDING_PREMIUM_MISMATCH, trip_after_ns)
        limit = f"funding_rate * price = {show(implied)} +/- {show(tolerance)}"
        yield Finding(Reason.FUNDING_PREMIUM_MISMATCH, severity, "funding_premium", show(premium), limit)
