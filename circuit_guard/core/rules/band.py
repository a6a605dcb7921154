"""band: in POST_ONLY and RECOVERING a price must be next to the reference price.

The centre is the reference price, without a quorum the last one that had it, for a limited time. Never the exchange's
own mid, never the first print after a restart: thin books skewed exactly those on 19 January 2026.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from circuit_guard.core.envelope import Interval
from circuit_guard.core.gates import PHASE_DENIES
from circuit_guard.core.market import readable
from circuit_guard.core.parameters import Parameters, Relation, basis_points, choice, seconds
from circuit_guard.core.phase import PhaseParameters
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.price import PriceParameters
from circuit_guard.core.rule import CALLER, FRESH, Excuse, Judges, Permitted, Reason, Rule, Unseen, Where
from circuit_guard.core.rules.divergence import DivergenceParameters
from circuit_guard.core.rules.unexplained_loss import ExplainedLossParameters, Halted
from circuit_guard.core.types import Finding, Phase, Severity, show, show_percent, show_seconds
from circuit_guard.core.view import MarketView

OUTSIDE_BAND = "outside_band"
BAND_CENTER_MISSING = "band_center_missing"
ORDER_NOT_POST_ONLY = "order_not_post_only"
ROLLBACK_CANCEL = "rollback_cancel"


class RestrictedClosures(StrEnum):
    """What happens to closures in POST_ONLY and RECOVERING: allowed inside the band, or denied."""

    BANDED = "banded"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class BandParameters(Parameters):
    """The band round the reference price in POST_ONLY and RECOVERING stops prices that a thin book skews."""

    TABLE: ClassVar[str] = "band"
    RELATIONS: ClassVar[tuple[Relation, ...]] = (
        Relation("band.width_bps", "at most", "divergence.base", "a price inside the band must not count as diverging"),
    )

    share: Decimal = basis_points(
        5,
        "Half the width of the band round the reference price. Published post-only rules use 5.",
        key="width_bps",
    )
    center_age_max_ns: int = seconds(
        60,
        "Without a quorum, the last reference price that a quorum formed stays the centre for this long. After "
        "that closures are denied.",
        least=0,
    )
    post_only_closures: RestrictedClosures = choice(
        RestrictedClosures.BANDED, "Closures in POST_ONLY: banded (inside the band) or denied."
    )
    recovering_closures: RestrictedClosures = choice(
        RestrictedClosures.BANDED, "Closures in RECOVERING: banded (inside the band) or denied."
    )


def center(view: MarketView, policy: MarketPolicy) -> Decimal | None:
    """Return the reference price the band is put round; None where none is recent enough."""
    references = view.references
    recovering = view.phase is Phase.RECOVERING and references.agree(policy.of(PhaseParameters).agreement_share)
    if references.price is not None and (references.quorum or recovering):
        return references.price
    recent_ns = view.now_ns - policy.of(BandParameters).center_age_max_ns
    if references.last_quorum_ns is not None and references.last_quorum_ns >= recent_ns:
        return references.last_quorum_price
    return None


def interval(view: MarketView, policy: MarketPolicy) -> Interval | None:
    """Return the band; None in the phases that have none, and where nothing is there to put it round."""
    middle = center(view, policy) if view.restricted else None
    return None if middle is None else around(middle, view, policy)


def around(middle: Decimal, view: MarketView, policy: MarketPolicy) -> Interval:
    """Return the band round a reference price, from there to where the mark price was lately while the market was OPEN.

    Many markets trade at a steady distance from other venues. One that came of a crash is gone soon, so the reference
    price itself is always inside, and the distance counts only as far as a calm market may have it. In a crash,
    references lag by as much as they have moved lately, but not in POST_ONLY: a thin book in a crash is what skewed the
    prices of 19 January 2026.
    """
    reach = policy.of(PriceParameters).reach(policy.of(BandParameters).share, middle)
    if view.references.own and view.phase is Phase.RECOVERING:
        reach += view.references.room[0]
    found = Interval(middle, middle).including(_as_usual(middle, view, policy))
    band = Interval(found.low - reach, found.high + reach)
    if view.phase is Phase.POST_ONLY:
        return band
    return Interval(band.low - view.references.fall, band.high + view.references.rise)


def _as_usual(middle: Decimal, view: MarketView, policy: MarketPolicy) -> Decimal:
    """Return where the mark price is at the distance that it had in the last seconds of OPEN.

    A move of the references gives the mark price room in OPEN. How much of that it used must not last in a phase that
    has no move: no further than divergence allows beside references that stand still.
    """
    base = policy.of(DivergenceParameters).base
    limits = view.references.limits(base, Decimal(0))
    if limits is None:
        reach = policy.of(PriceParameters).reach(base, middle)
        limits = Interval(middle - reach, middle + reach)
    return min(max(middle * view.state.trusted.basis, limits.low), limits.high)


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny a closure whose execution price, or mark price where it has none, is outside the band. Two-sided."""
    if view.closure is None or not view.restricted:
        return
    band = policy.of(BandParameters)
    mode = band.post_only_closures if view.phase is Phase.POST_ONLY else band.recovering_closures
    if mode is RestrictedClosures.DENIED:
        yield Finding(PHASE_DENIES, Severity.DENY, "phase", view.phase, "a phase in which the policy allows closures")
        return
    middle = center(view, policy)
    if middle is None:
        limit = f"a reference price with a quorum within {show_seconds(band.center_age_max_ns)}"
        yield Finding(BAND_CENTER_MISSING, Severity.DENY, "references", "none", limit)
        return
    limits = around(middle, view, policy)
    mark = readable(view.closure.basis.mark_price)
    for subject, price in (
        ("execution_price", readable(view.closure.execution_price)),
        ("mark_price", view.state.trusted.mark_price if mark is None else mark),
    ):
        if price is not None and price not in limits:
            yield Finding(OUTSIDE_BAND, Severity.DENY, subject, show(price), f"{limits} in {view.phase}")


def _permits(view: MarketView, policy: MarketPolicy) -> Permitted | None:
    if not view.restricted:
        return Permitted()
    mode = policy.of(BandParameters).post_only_closures
    price = view.references.price
    if view.phase is not Phase.POST_ONLY or mode is RestrictedClosures.DENIED or price is None:
        return None
    limits = around(price, view, policy)
    return Permitted(limits, limits) if view.references.quorum else None


def _unseen(policy: MarketPolicy) -> Iterator[Unseen]:
    rule = policy.of(BandParameters)
    banned = {RestrictedClosures.DENIED: Decimal(0), RestrictedClosures.BANDED: rule.share}
    yield Unseen("execution_price_in_post_only", banned[rule.post_only_closures])
    recovering = banned[rule.recovering_closures]
    excused = recovering and policy.of(ExplainedLossParameters).halted is Halted.ALLOW_EXPLAINED
    where = Where.WITHOUT_ACCOUNT if excused else Where.EVERYWHERE
    yield Unseen("execution_price_in_recovering", recovering, where)


def _notes(policy: MarketPolicy) -> Iterator[str]:
    rule = policy.of(BandParameters)
    closures = {rule.post_only_closures, rule.recovering_closures}
    if RestrictedClosures.BANDED in closures and RULE.name not in policy.shadow_rules:
        width = show_percent(rule.share)
        most = show_percent(policy.of(DivergenceParameters).base)
        yield (
            f"In POST_ONLY and RECOVERING the mark price must also be within {width} of the reference price, or of how "
            "far from it the mark price was in the last seconds of OPEN: what was wrong then, up to "
            f"{most}, passes on."
        )


RULE = Rule(
    name="band",
    rank=80,
    catches="An execution or mark price outside the band round the reference price in restricted phases. Denies.",
    judges=Judges.CLOSURES,
    parameters=BandParameters,
    reasons={
        OUTSIDE_BAND: Reason("the price is outside the band round the reference price", FRESH, Excuse.RECOVERING),
        BAND_CENTER_MISSING: Reason("there is no reference price to put the band round", FRESH),
        ORDER_NOT_POST_ONLY: Reason("this phase takes post-only orders only", CALLER),
        ROLLBACK_CANCEL: Reason("the order was placed before the rollback", CALLER),
    },
    evaluate=evaluate,
    permits=_permits,
    unseen=_unseen,
    notes=_notes,
)
