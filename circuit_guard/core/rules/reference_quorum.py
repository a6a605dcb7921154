"""reference_quorum: a median of fewer than three is no median; fewer are held against each other or the last one."""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.phase import PhaseParameters
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.references import PAIR, ReferenceParameters, facts_of
from circuit_guard.core.rule import FRESH, Judges, Permitted, Reason, Rule, Unseen
from circuit_guard.core.rules.divergence import DivergenceParameters
from circuit_guard.core.types import Finding, Phase, Severity, short_seconds, show_percent
from circuit_guard.core.view import MarketView

REFERENCE_QUORUM = "reference_quorum"
REFERENCE_MISSING = "reference_missing"
REFERENCE_OUTLIER = "reference_outlier"
REFERENCE_UNCONVERTED = "reference_unconverted"


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny where no price can be compared with anything. Warn of fewer than a quorum, deny on them in POST_ONLY.

    RECOVERING is left on two that agree: the last checkpoint is the third voice.
    """
    references = view.references
    if view.closure is None or references.quorum:
        return
    limit, observed = f"at least {policy.of(ReferenceParameters).quorum} fresh", f"{references.count} fresh"
    if references.anchors is None:
        apart = show_percent(policy.of(ReferenceParameters).pair_share)
        if references.count >= PAIR:
            observed += f", more than {apart} apart"
        elif references.count and references.last_quorum_ns is None:
            observed += ", and no quorum before it"
        elif references.count:
            observed += f", more than {apart} from where the last quorum was"
        yield Finding(REFERENCE_MISSING, Severity.DENY, "references", observed, limit)
        return
    agreeing = view.phase is Phase.RECOVERING and references.agree(policy.of(PhaseParameters).agreement_share)
    severity = Severity.DENY if view.restricted and not agreeing else Severity.WARN
    yield Finding(REFERENCE_QUORUM, severity, "references", observed, limit)


def _permits(view: MarketView, policy: MarketPolicy) -> Permitted | None:
    return Permitted() if view.references.quorum else None


def wrong_references(policy: MarketPolicy) -> int:
    """Return how many references that are wrong alike make the median theirs, of no more than a quorum."""
    return (policy.of(ReferenceParameters).quorum + 1) // 2


def _unseen(policy: MarketPolicy) -> Iterator[Unseen]:
    yield Unseen("references_wrong_alike", None, label="the references, if most are wrong in the same way")


def _notes(policy: MarketPolicy) -> Iterator[str]:
    rule, wrong = policy.of(ReferenceParameters), wrong_references(policy)
    origins = {facts_of(source, policy).origin or source for source in rule.sources}
    apart = f", {len(origins)} of them of different origin" if len(origins) < len(rule.sources) else ""
    named = f"The policy names {len(rule.sources)} sources{apart}." if rule.sources else "The policy admits any source."
    yield (
        f"{named} The majority is trusted: if {wrong} of {rule.quorum} fresh ones (the quorum) are wrong in the "
        "same way, they are the reference price. A mark price that is wrong with them passes at any size, and "
        "nothing here can see it."
    )
    yield (
        "An honest mark price then diverges: it is denied at once and trips after "
        f"{short_seconds(policy.of(DivergenceParameters).trip_after_ns)}. If those references move the reference "
        "price up and down, they make room on both sides, as the table of the mark price shows."
    )
    converting = sorted({one.quoted_in for one in rule.facts if one.quoted_in})
    if converting:
        yield (
            f"Sources are converted by the reference price of {', '.join(converting)}: an error there moves all of "
            "them alike. Without a fresh quorum there they do not count."
        )
    if wrong > 1:
        yield (
            f"Fewer than {wrong} wrong ones move the reference price no further than the honest ones are apart. A "
            f"reference that is {show_percent(rule.outlier_share)} from the rest is reported."
        )
        yield (
            "With two fresh references a price has to lie between them; with one, next to it. The usual tolerance "
            "applies, and nothing trips for diverging. If two are further apart than "
            f"{show_percent(rule.pair_share)}, or one is further than that from the last quorum, they count as no "
            "reference and closures are denied. So among so few references a liar has that much more room, for "
            "prices and for accounts. POST_ONLY denies closures then in any case."
        )


RULE = Rule(
    name="reference_quorum",
    rank=70,
    catches="Too few fresh references for a median: two that agree can be wrong together. Denies in restricted "
    "phases, warns in OPEN. If two are far apart, or the only one is far from the last quorum, it denies "
    "in every phase.",
    judges=Judges.CLOSURES,
    reasons={
        REFERENCE_QUORUM: Reason("too few fresh references for a median", FRESH),
        REFERENCE_MISSING: Reason("too few references are fresh and near each other to judge any price", FRESH),
        REFERENCE_OUTLIER: Reason("a reference is far from the median of the others", FRESH),
        REFERENCE_UNCONVERTED: Reason("a reference does not count: nothing fresh converts its quote currency", FRESH),
    },
    evaluate=evaluate,
    permits=_permits,
    unseen=_unseen,
    notes=_notes,
)
