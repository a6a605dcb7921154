"""slow_walk: a mark price that the references never confirm, by steps each of which passes.

In a crash the mark price leads, and what is allowed round the references is wide. A leader is followed: some seconds
later the references have been where it was. What they never reach is not a lead. The price of a while ago is held
against where the reference price has been since, without the room that its own speed gives; what stays unconfirmed
for long trips.
"""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.types import Finding, Severity, show, show_seconds
from circuit_guard.core.view import MarketView


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Warn of a mark price that is not confirmed yet, and trip when that has lasted."""
    rule, hull = policy.slow_walk, view.references.hull
    if not rule.trip_after_ns or view.observation is None or hull is None:
        return
    confirmed = hull.widened(policy.divergence.base)
    then_ns = view.now_ns - rule.lag_ns
    mark = next((mark for at_ns, mark in view.state.published_marks if at_ns >= then_ns), None)
    if mark is None or mark in confirmed:
        return
    lasted = view.lasting(Reason.MARK_UNCONFIRMED, rule.trip_after_ns)
    severity = Severity.TRIP if lasted is Severity.TRIP else Severity.WARN
    observed = f"{show(mark)} {show_seconds(rule.lag_ns)} ago"
    yield Finding(Reason.MARK_UNCONFIRMED, severity, "mark_price", observed, f"{confirmed} since then")
