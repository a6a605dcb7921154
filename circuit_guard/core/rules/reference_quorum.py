"""reference_quorum: a median of fewer than three is no median; two sources that agree can be wrong together."""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.references import ReferenceParameters
from circuit_guard.core.rule import FRESH, Judges, Reason, Rule, Unseen
from circuit_guard.core.rules.divergence import DivergenceParameters
from circuit_guard.core.types import Finding, Severity, short_seconds, show_percent
from circuit_guard.core.view import MarketView

REFERENCE_QUORUM = "reference_quorum"
REFERENCE_MISSING = "reference_missing"
REFERENCE_OUTLIER = "reference_outlier"


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny without a quorum in restricted phases, warn of it otherwise; without any reference always deny."""
    if view.closure is None or view.references.quorum:
        return
    observed = f"{view.references.count} fresh"
    limit = f"at least {policy.of(ReferenceParameters).quorum} fresh"
    if view.references.count == 0:
        yield Finding(REFERENCE_MISSING, Severity.DENY, "references", observed, limit)
    else:
        severity = Severity.DENY if view.restricted else Severity.WARN
        yield Finding(REFERENCE_QUORUM, severity, "references", observed, limit)


def wrong_references(policy: MarketPolicy) -> int:
    """Return how many references that are wrong alike make the median theirs, of no more than a quorum."""
    return (policy.of(ReferenceParameters).quorum + 1) // 2


def _unseen(policy: MarketPolicy) -> Iterator[Unseen]:
    yield Unseen("references_wrong_alike", None, label="the references, most of them wrong alike")


def _notes(policy: MarketPolicy) -> Iterator[str]:
    rule, wrong = policy.of(ReferenceParameters), wrong_references(policy)
    named = f"The policy names {len(rule.sources)} sources." if rule.sources else "The policy admits any source."
    yield (
        f"{named} The majority is trusted: if {wrong} of {rule.quorum} fresh ones (the quorum) are wrong alike, they "
        "are the reference price. A mark price that is wrong with them passes at any size, and nothing here can see "
        "it."
    )
    yield (
        "An honest mark price then diverges: it is denied at once and trips after "
        f"{short_seconds(policy.of(DivergenceParameters).trip_after_ns)}. By moving the reference price up and down "
        "they make room on both sides, as the table of the mark price says."
    )
    if wrong > 1:
        yield (
            f"Fewer than {wrong} wrong ones move it no further than the honest ones are apart; a reference that is "
            f"{show_percent(rule.outlier_share)} from the rest is reported."
        )
        yield (
            f"In OPEN with fewer than {rule.quorum} fresh ones a price has to be near each of them, and nothing trips "
            "for diverging: a single one that is left decides alone. In POST_ONLY and RECOVERING closures are then "
            "denied; with none left they are denied everywhere."
        )


RULE = Rule(
    name="reference_quorum",
    rank=70,
    catches="Too few fresh references for a median: two that agree can be wrong together. Denies in restricted phases, "
    "warns in OPEN; without any it always denies.",
    judges=Judges.CLOSURES,
    reasons={
        REFERENCE_QUORUM: Reason("too few fresh references for a median", FRESH),
        REFERENCE_MISSING: Reason("no reference is fresh, so the mark price cannot be judged", FRESH),
        REFERENCE_OUTLIER: Reason("a reference is far from the median of the others", FRESH),
    },
    evaluate=evaluate,
    unseen=_unseen,
    notes=_notes,
)
