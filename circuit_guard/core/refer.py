"""What a reference does to a market: judged, then taken into the median. One bad source cannot latch anything."""

from __future__ import annotations

from circuit_guard.core.facts import Fact, ReferenceJudged
from circuit_guard.core.inputs import Reference
from circuit_guard.core.market import MarketState, readable
from circuit_guard.core.observe import reconsider
from circuit_guard.core.policy import MarketPolicy, Policy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.references import median
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import Finding, Severity, show, show_seconds


def refer(state: GuardState, reference: Reference, policy: Policy) -> list[Fact]:
    """Judge a reference, and take it into the median if it passed."""
    market_policy = policy.markets.get(reference.market)
    if market_policy is None:
        limit = "a market that the policy names"
        unknown = Finding(Reason.UNKNOWN_MARKET, Severity.DENY, "market", reference.market, limit)
        return [ReferenceJudged(reference.at_ns, reference.market, reference.source, False, (unknown,))]
    market = state.markets[reference.market]
    findings = tuple(_judge_reference(reference, market, market_policy))
    accepted = all(finding.severity < Severity.DENY for finding in findings)
    facts: list[Fact] = [ReferenceJudged(reference.at_ns, reference.market, reference.source, accepted, findings)]
    if accepted:
        market.references.record(reference)
        market.references.update(reference.at_ns, market_policy)
        facts += reconsider(market, market_policy, reference.at_ns)
    return facts


def _judge_reference(reference: Reference, market: MarketState, policy: MarketPolicy) -> list[Finding]:
    rule, book = policy.references, market.references
    known = book.quotes.get(reference.source)
    if rule.sources and reference.source not in rule.sources:
        limit = "one of " + ", ".join(sorted(rule.sources))
        return [Finding(Reason.UNKNOWN_SOURCE, Severity.DENY, "source", reference.source, limit)]
    if known is None and len(book.quotes) >= rule.sources_max:
        return [
            Finding(Reason.UNKNOWN_SOURCE, Severity.DENY, "source", reference.source, f"at most {rule.sources_max}")
        ]
    price = readable(reference.price)
    if price is None:
        return [Finding(Reason.NOT_A_NUMBER, Severity.DENY, "price", str(reference.price)[:40], "a price")]
    if price <= 0 and not policy.allow_negative_price:
        return [Finding(Reason.PRICE_NOT_POSITIVE, Severity.DENY, "price", str(price), "> 0")]
    age_ns = reference.at_ns - reference.event_time_ns
    if age_ns > rule.age_max_ns:
        limit = f"at most {show_seconds(rule.age_max_ns)}"
        return [Finding(Reason.DATA_STALE, Severity.DENY, "event_time", f"{show_seconds(age_ns)} old", limit)]
    if -age_ns > policy.staleness.future_skew_ns:
        limit = f"at most {show_seconds(policy.staleness.future_skew_ns)} ahead"
        return [Finding(Reason.FUTURE_STAMP, Severity.DENY, "event_time", f"{show_seconds(-age_ns)} ahead", limit)]
    if known is not None and reference.event_time_ns < known.event_time_ns:
        back = f"{show_seconds(known.event_time_ns - reference.event_time_ns)} back"
        return [Finding(Reason.EVENT_TIME_BACK, Severity.DENY, "event_time", back, "not before the last one")]
    others = book.fresh_prices(reference.at_ns, policy, without=reference.source)
    if len(others) >= 2 and abs(price - (middle := median(others))) > abs(middle) * rule.outlier_share:
        limit = f"{show(middle)} +/- {show(abs(middle) * rule.outlier_share)}"
        return [Finding(Reason.REFERENCE_OUTLIER, Severity.WARN, "price", show(price), limit)]
    return []
