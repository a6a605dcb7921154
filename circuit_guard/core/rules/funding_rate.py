"""funding_rate: the rate within its cap, and rate, premium and index price telling one story.

At the cap is no anomaly (caps are hit in every crash); above it is. premium = rate * index price, per funding period.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from circuit_guard.core.envelope import ROUNDING_SHARE, FundingParameters
from circuit_guard.core.market import published_terms
from circuit_guard.core.parameters import Parameters, share
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.price import PriceParameters
from circuit_guard.core.rule import FRESH, Delay, Excuse, Judges, Reason, Rule
from circuit_guard.core.types import Finding, show, show_percent
from circuit_guard.core.view import MarketView

FUNDING_RATE_OVER_CAP = "funding_rate_over_cap"
FUNDING_TERMS = "funding_terms"
FUNDING_PREMIUM_MISMATCH = "funding_premium_mismatch"


@dataclass(frozen=True, slots=True)
class RateParameters(Parameters):
    """How closely funding rate, premium and index price have to agree."""

    TABLE: ClassVar[str] = "funding"

    premium_share: Decimal = share(
        "0.05",
        "The premium and rate * index price may differ by this fraction of the larger one, because they are "
        "taken at different instants.",
    )


RATE_ROUNDING = Decimal("1e-8")
"""Exchanges publish rates cut to 8 decimals (Paradex: funding_rate_8h, openapi of 2026)."""


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny an observation whose rate is over the cap or does not agree with its premium; trip if it lasts."""
    mark_price, index_price, _, rate, premium = view.published
    funding = view.funding(policy)
    if view.observation is not None:
        for subject, observed, limit in published_terms(view.observation).out_of_bounds(policy.of(FundingParameters)):
            severity = view.lasting(FUNDING_TERMS, funding.trip_after_ns)
            yield Finding(FUNDING_TERMS, severity, subject, observed, limit)
    if rate is not None and abs(rate) > funding.rate_max + RATE_ROUNDING:
        severity = view.lasting(FUNDING_RATE_OVER_CAP, funding.trip_after_ns)
        limit = f"within +/- {show(funding.rate_max)}"
        yield Finding(FUNDING_RATE_OVER_CAP, severity, "funding_rate", show(rate), limit)
    price = mark_price if index_price is None else index_price
    if rate is None or premium is None or price is None:
        return
    implied = rate * price
    prices, rule = policy.of(PriceParameters), policy.of(RateParameters)
    tolerance = max(abs(implied), abs(premium), abs(rate) * prices.scale) * rule.premium_share
    tolerance += prices.of(price) * (RATE_ROUNDING + ROUNDING_SHARE) + abs(rate) * prices.reach(Decimal(0), price)
    if abs(implied - premium) > tolerance:
        severity = view.lasting(FUNDING_PREMIUM_MISMATCH, funding.trip_after_ns)
        limit = f"funding_rate * price = {show(implied)} +/- {show(tolerance)}"
        yield Finding(FUNDING_PREMIUM_MISMATCH, severity, "funding_premium", show(premium), limit)


def _delays(policy: MarketPolicy) -> Iterator[Delay]:
    rule = policy.of(FundingParameters)
    rate = f"a funding rate over {show_percent(rule.rate_max)}, or not that of its premium"
    yield Delay(rate, 0, rule.trip_after_ns)


RULE = Rule(
    name="funding_rate",
    rank=50,
    catches="A rate over the cap; a rate, premium and price that do not agree. Denies, trips when it lasts.",
    judges=Judges.DATA,
    parameters=RateParameters,
    reasons={
        FUNDING_RATE_OVER_CAP: Reason("the funding rate is over its cap", FRESH, Excuse.EXPLAINED),
        FUNDING_TERMS: Reason(
            "the published funding period or cap is not one that the policy admits", FRESH, Excuse.EXPLAINED
        ),
        FUNDING_PREMIUM_MISMATCH: Reason(
            "the funding rate, the premium and the index price do not agree", FRESH, Excuse.EXPLAINED
        ),
    },
    evaluate=evaluate,
    delays=_delays,
)
