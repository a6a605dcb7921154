"""staleness: how old what we trust is, stamps from the future, and a mark price that stands still under fresh stamps.

A stamp from the future has a negative age and passes every age limit, so it has a bound of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from circuit_guard.core.envelope import FundingParameters
from circuit_guard.core.market import FeedParameters
from circuit_guard.core.parameters import Parameters, seconds, share
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.rule import FRESH, Delay, Excuse, Judges, Permitted, Reason, Rule
from circuit_guard.core.rules.validity import VALUE_MISSING
from circuit_guard.core.types import Finding, Severity, short_seconds, show, show_percent, show_seconds
from circuit_guard.core.view import MarketView

DATA_STALE = "data_stale"
FUTURE_STAMP = "future_stamp"
MARK_FROZEN = "mark_frozen"


@dataclass(frozen=True, slots=True)
class StalenessParameters(Parameters):
    """How old trusted values may be, and how long a mark price may stand still."""

    TABLE: ClassVar[str] = "staleness"

    deny_after_ns: int = seconds(15, "Closures are denied on values older than this (DESIGN 4).")
    frozen_after_ns: int = seconds(
        15, "A mark price is frozen, and denied, if it is the same to the last digit this long after ...", most=86_400
    )
    frozen_move_share: Decimal = share(
        "0.0025",
        "... the reference price has moved by more than this. In a quiet market the reference price does not "
        "move that far.",
    )
    frozen_trip_after_ns: int = seconds(30, "A frozen mark price trips once it has been denied this long.")


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny closures on old trusted values, and observations that arrive old or from the future."""
    limit_ns = policy.of(StalenessParameters).deny_after_ns
    if view.observation is not None:
        age_ns = view.now_ns - view.observation.event_time_ns
        if age_ns > limit_ns:
            yield Finding(DATA_STALE, Severity.DENY, "event_time", f"{show_seconds(age_ns)} old", _at_most(limit_ns))
        skew_ns = policy.of(FeedParameters).future_skew_ns
        if -age_ns > skew_ns:
            ahead = f"at most {show_seconds(skew_ns)} ahead"
            observed = f"{show_seconds(-age_ns)} ahead"
            yield Finding(FUTURE_STAMP, Severity.DENY, "event_time", observed, ahead)
        yield from _frozen(view, policy)
        return
    trusted = view.state.trusted
    for name, value, seen_ns in (
        ("mark_price", trusted.mark_price, trusted.mark_seen_ns),
        ("funding_index", trusted.funding_index, trusted.funding_seen_ns),
    ):
        if name == "funding_index" and policy.of(FundingParameters).rates_only:
            continue
        if value is None:
            yield Finding(VALUE_MISSING, Severity.DENY, name, "never trusted yet", "a trusted value")
        elif view.now_ns - seen_ns > limit_ns:
            observed = f"{show_seconds(view.now_ns - seen_ns)} old"
            yield Finding(DATA_STALE, Severity.DENY, name, observed, _at_most(limit_ns))


def _permits(view: MarketView, policy: MarketPolicy) -> Permitted | None:
    trusted, limit_ns = view.state.trusted, policy.of(StalenessParameters).deny_after_ns
    seen_ns, missing = trusted.mark_seen_ns, trusted.mark_price is None
    if not policy.of(FundingParameters).rates_only:
        seen_ns, missing = min(seen_ns, trusted.funding_seen_ns), missing or trusted.funding_index is None
    return None if missing else Permitted(until_ns=seen_ns + limit_ns + 1)


def _at_most(limit_ns: int) -> str:
    return f"at most {show_seconds(limit_ns)}"


def _frozen(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny a mark price that is the same to the last digit though the reference price has long moved away."""
    rule, unchanged, price = policy.of(StalenessParameters), view.state.unchanged, view.references.price
    if unchanged is None or price is None or unchanged.away_since_ns is None:
        return
    away_ns = view.now_ns - unchanged.away_since_ns
    if abs(price - unchanged.mark_price) <= view.references.prices.reach(rule.frozen_move_share, price):
        return  # the references have come to where it stands
    if view.references.between(unchanged.mark_price):
        return  # venues disagree by more than that, and one of them says the same
    if view.published.mark_price == unchanged.mark_price and away_ns >= rule.frozen_after_ns:
        severity = view.lasting(MARK_FROZEN, rule.frozen_trip_after_ns)
        observed = f"still {show(unchanged.mark_price)} after {show_seconds(away_ns)}"
        limit = f"a change as the reference price went from {show(unchanged.reference_price)} to {show(price)}"
        yield Finding(MARK_FROZEN, severity, "mark_price", observed, limit)


def _delays(policy: MarketPolicy) -> Iterator[Delay]:
    rule, skew_ns = policy.of(StalenessParameters), policy.of(FeedParameters).future_skew_ns
    frozen_ns = rule.frozen_after_ns
    move = show_percent(rule.frozen_move_share)
    yield Delay(
        f"a mark price that stands still while the reference price moves {move}",
        frozen_ns,
        frozen_ns + rule.frozen_trip_after_ns,
    )
    yield Delay("values that are not published any more", rule.deny_after_ns)
    yield Delay(f"a stamp more than {short_seconds(skew_ns)} in the future", 0)


RULE = Rule(
    name="staleness",
    rank=30,
    catches="Trusted values that grow old, stamps from the future, a mark price that stands still while the "
    "references move. Denies; a frozen mark price trips.",
    judges=Judges.BOTH,
    parameters=StalenessParameters,
    reasons={
        DATA_STALE: Reason("the last trusted value is too old", FRESH, Excuse.EXPLAINED),
        FUTURE_STAMP: Reason("the event time lies in the future", FRESH, Excuse.EXPLAINED),
        MARK_FROZEN: Reason("the mark price stands still while the references move", FRESH, Excuse.KNOWN_PRICE),
    },
    evaluate=evaluate,
    permits=_permits,
    delays=_delays,
)
