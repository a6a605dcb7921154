"""What a reference does to a market: judged, then taken into the median. One bad source cannot latch anything."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from circuit_guard.core.facts import Fact, ReferenceJudged
from circuit_guard.core.gates import UNKNOWN_MARKET
from circuit_guard.core.inputs import Reference
from circuit_guard.core.market import FeedParameters, readable
from circuit_guard.core.observe import reconsider
from circuit_guard.core.policy import MarketPolicy, Policy
from circuit_guard.core.references import Quote, ReferenceParameters, median
from circuit_guard.core.rules.ordering import EVENT_TIME_BACK
from circuit_guard.core.rules.reference_quorum import REFERENCE_OUTLIER
from circuit_guard.core.rules.staleness import DATA_STALE, FUTURE_STAMP
from circuit_guard.core.rules.validity import NOT_A_NUMBER, PRICE_NOT_POSITIVE, UNKNOWN_SOURCE
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import Finding, Severity, show, show_seconds

OTHERS_MIN = 2
"""Fewer others have no median to be an outlier of."""


def refer(state: GuardState, reference: Reference, policy: Policy) -> list[Fact]:
    """Judge a reference, and take it into the median if it passed."""
    market_policy = policy.markets.get(reference.market)
    if market_policy is None:
        limit = "a market that the policy names"
        unknown = Finding(UNKNOWN_MARKET, Severity.DENY, "market", reference.market, limit)
        return [ReferenceJudged(reference.at_ns, reference.market, reference.source, False, (unknown,))]
    market = state.markets[reference.market]
    others = market.references.fresh_prices(reference.at_ns, market_policy, without=reference.source)
    finding = _judge(reference, market.references.quotes, others, market_policy)
    accepted = finding is None or finding.severity < Severity.DENY
    findings = () if finding is None else (finding,)
    facts: list[Fact] = [ReferenceJudged(reference.at_ns, reference.market, reference.source, accepted, findings)]
    if accepted:
        market.references.record(reference, others, market_policy)
        facts += reconsider(state, market, market_policy, reference.at_ns)
    return facts


def _judge(
    reference: Reference, quotes: Mapping[str, Quote], others: list[Decimal], policy: MarketPolicy
) -> Finding | None:
    """Return the first thing wrong with a reference. An outlier is only reported: the median does not follow it."""
    stranger = _stranger(reference.source, len(others), policy)
    if stranger is not None:
        return stranger
    price = readable(reference.price)
    if price is None:
        return Finding(NOT_A_NUMBER, Severity.DENY, "price", str(reference.price)[:40], "a price")
    if price <= 0 and not policy.allow_negative_price:
        return Finding(PRICE_NOT_POSITIVE, Severity.DENY, "price", show(price), "> 0")
    untimely = _untimely(reference, quotes, policy)
    if untimely is not None or len(others) < OTHERS_MIN:
        return untimely
    middle = median(list(others))
    reach = abs(middle) * policy.of(ReferenceParameters).outlier_share
    if abs(price - middle) <= reach:
        return None
    return Finding(REFERENCE_OUTLIER, Severity.WARN, "price", show(price), f"{show(middle)} +/- {show(reach)}")


def _stranger(source: str, others_count: int, policy: MarketPolicy) -> Finding | None:
    named = policy.of(ReferenceParameters).sources
    if named and source not in named:
        limit = "one of " + ", ".join(sorted(named))
    elif others_count >= policy.of(ReferenceParameters).sources_max:
        limit = f"one of the {others_count} fresh sources that this market has, which is as many as it may"
    else:
        return None
    return Finding(UNKNOWN_SOURCE, Severity.DENY, "source", source, limit)


def _untimely(reference: Reference, quotes: Mapping[str, Quote], policy: MarketPolicy) -> Finding | None:
    age_ns = reference.at_ns - reference.event_time_ns
    age_max_ns, skew_ns = policy.of(ReferenceParameters).age_max_ns, policy.of(FeedParameters).future_skew_ns
    if age_ns > age_max_ns:
        limit = f"at most {show_seconds(age_max_ns)}"
        return Finding(DATA_STALE, Severity.DENY, "event_time", f"{show_seconds(age_ns)} old", limit)
    if -age_ns > skew_ns:
        limit = f"at most {show_seconds(skew_ns)} ahead"
        return Finding(FUTURE_STAMP, Severity.DENY, "event_time", f"{show_seconds(-age_ns)} ahead", limit)
    known = quotes.get(reference.source)
    back_ns = 0 if known is None else known.event_time_ns - reference.event_time_ns
    if back_ns > 0:
        observed = f"{show_seconds(back_ns)} before the last one"
        return Finding(EVENT_TIME_BACK, Severity.DENY, "event_time", observed, "not before the last one")
    return None
