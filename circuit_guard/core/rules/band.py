"""band: in POST_ONLY and RECOVERING a price must be next to the reference price.

The centre is the reference price, without a quorum the last one that had it, for a limited time. Never the exchange's
own mid, never the first print after a restart: thin books skewed exactly those on 19 January 2026.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from circuit_guard.core.envelope import Interval
from circuit_guard.core.market import readable
from circuit_guard.core.policy import MarketPolicy, RestrictedClosures
from circuit_guard.core.reasons import Reason
from circuit_guard.core.types import Finding, Phase, Severity, show, show_seconds
from circuit_guard.core.view import MarketView


def center(view: MarketView, policy: MarketPolicy) -> Decimal | None:
    """Return the price the band is put round; None where none is recent enough."""
    references = view.references
    if references.quorum:
        return references.price
    recent_ns = view.now_ns - policy.band.center_age_max_ns
    if references.last_quorum_ns is not None and references.last_quorum_ns >= recent_ns:
        return references.last_quorum_price
    return None


def interval(view: MarketView, policy: MarketPolicy) -> Interval | None:
    """Return the band; None in the phases that have none, and where nothing is there to put it round."""
    middle = center(view, policy) if view.restricted else None
    return None if middle is None else Interval(middle, middle).widened(policy.band.share)


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny a closure whose execution price, or mark price where it has none, is outside the band. Two-sided."""
    if view.closure is None or not view.restricted:
        return
    band = policy.band
    mode = band.post_only_closures if view.phase is Phase.POST_ONLY else band.recovering_closures
    if mode is RestrictedClosures.DENIED:
        yield Finding(
            Reason.PHASE_DENIES, Severity.DENY, "phase", view.phase, "a phase in which the policy allows closures"
        )
        return
    middle = center(view, policy)
    if middle is None:
        limit = f"a reference price with a quorum within {show_seconds(band.center_age_max_ns)}"
        yield Finding(Reason.BAND_CENTER_MISSING, Severity.DENY, "references", "none", limit)
        return
    reach = abs(middle) * band.share
    for subject, price in (
        ("execution_price", readable(view.closure.execution_price)),
        ("mark_price", readable(view.closure.basis.mark_price) or view.state.trusted.mark_price),
    ):
        if price is not None and abs(price - middle) > reach:
            limit = f"{show(middle - reach)} .. {show(middle + reach)} in {view.phase}"
            yield Finding(Reason.OUTSIDE_BAND, Severity.DENY, subject, show(price), limit)
