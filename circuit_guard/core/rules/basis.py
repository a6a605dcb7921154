"""basis: the caller's own values. Where they were never published, the caller is consuming something else.

This stops a closure even where the guard's feed looks clean (DESIGN 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from circuit_guard.core.envelope import FundingParameters, Interval, accrued_max, fastest, funding_bound
from circuit_guard.core.evidence import doubted
from circuit_guard.core.parameters import Parameters, count, flag, seconds, share
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.price import PriceParameters
from circuit_guard.core.references import HullParameters
from circuit_guard.core.rule import CALLER, Delay, Excuse, Judges, Permitted, Reason, Rule, Unseen
from circuit_guard.core.rules.staleness import StalenessParameters
from circuit_guard.core.types import Finding, Severity, show, show_percent
from circuit_guard.core.view import MarketView

BASIS_MISSING = "basis_missing"
BASIS_MARK = "basis_mark"
BASIS_FUNDING = "basis_funding"


@dataclass(frozen=True, slots=True)
class BasisParameters(Parameters):
    """The tests of the mark price and funding index that the caller itself computed with."""

    TABLE: ClassVar[str] = "basis"

    required: bool = flag(
        True,
        "true: a check without these two values is denied (DESIGN 3). Without them a caller's corrupt "
        "values are invisible.",
    )
    mark_share: Decimal = share(
        "0.01", "How far a caller's mark price may be from those published within window_s.", zero=True
    )
    window_ns: int = seconds(
        30, "How old the published mark price that a caller computed with may be. Allow for the caller's own delay."
    )
    trip_after_ns: int = seconds(
        30, "Wrong callers trip the market once they have been wrong for this long ...", least=0
    )
    trip_count_min: int = count(3, "... and in this many checks. Something then feeds them other data.", most=10_000)


def published_marks(view: MarketView, policy: MarketPolicy) -> Interval | None:
    """Return what the mark price has been within the window, widened: what a caller may have computed with."""
    rule = policy.of(BasisParameters)
    lately = [(at_ns, price) for at_ns, price in view.state.marks if view.now_ns - at_ns <= rule.window_ns]
    if lately:
        view.outlook.ends(min(at_ns for at_ns, _ in lately) + rule.window_ns + 1)
    prices = [price for _, price in lately]
    if not prices and view.state.trusted.mark_price is not None:
        prices = [view.state.trusted.mark_price]
    return (
        policy.of(PriceParameters).widened(
            Interval(min(prices), max(prices)), rule.mark_share, policy.of(HullParameters).hull_widths
        )
        if prices
        else None
    )


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny a closure computed with values outside their envelopes; trip where callers keep doing it."""
    if view.closure is None:
        return
    rule = policy.of(BasisParameters)
    mark, index = view.closure.basis.mark_price, view.closure.basis.funding_index
    if mark is None:
        if rule.required:
            yield _missing("basis.mark_price")
    elif _outside(mark, marks := view.once(published_marks)):
        yield Finding(BASIS_MARK, _severity(view, policy), "basis.mark_price", show(mark), str(marks))
    if policy.of(FundingParameters).rates_only:
        return
    if index is None:
        if rule.required:
            yield _missing("basis.funding_index")
    elif _outside(index, envelope := view.funding_envelope(policy, rule.window_ns)):
        severity = _severity(view, policy)
        yield Finding(BASIS_FUNDING, severity, "basis.funding_index", show(index), str(envelope))


def _permits(view: MarketView, policy: MarketPolicy) -> Permitted | None:
    funding_index, until_ns = view.funding_always(policy, policy.of(BasisParameters).window_ns)
    return Permitted(view.once(published_marks), None, funding_index, until_ns)


def _outside(value: Decimal, envelope: Interval | None) -> bool:
    return envelope is not None and (not value.is_finite() or value not in envelope)


def _missing(subject: str) -> Finding:
    return Finding(BASIS_MISSING, Severity.DENY, subject, "not given", "the value computed with")


def _severity(view: MarketView, policy: MarketPolicy) -> Severity:
    """Return TRIP where callers have been wrong for long and often enough, else DENY."""
    doubt, rule = view.state.basis_doubt, policy.of(BasisParameters)
    silent, run = view.now_ns - doubt.last_ns > rule.window_ns, doubt.run()
    if run is None or silent or doubt.count + 1 < rule.trip_count_min:
        return Severity.DENY
    lasted_ns = doubted(run, view.now_ns).length_ns
    return Severity.TRIP if lasted_ns >= rule.trip_after_ns else Severity.DENY


def _unseen(policy: MarketPolicy) -> Iterator[Unseen]:
    rule, limit = policy.of(BasisParameters), None
    if rule.required:  # against what was trusted last, on the oldest data that count
        funding, oldest_ns = fastest(policy.of(FundingParameters)), policy.of(StalenessParameters).deny_after_ns
        limit = funding_bound(funding, Decimal(1), oldest_ns + rule.window_ns) + accrued_max(funding, oldest_ns)
    if not policy.of(FundingParameters).rates_only:
        yield Unseen("callers_funding_index", limit, label="the funding index that the caller computed with")


def _delays(policy: MarketPolicy) -> Iterator[Delay]:
    rule = policy.of(BasisParameters)
    off = f"{show_percent(rule.mark_share)} off the published ones"
    what = f"a caller's mark price {off}, or a wrong funding index of a caller"
    yield Delay(what, 0, rule.trip_after_ns, rule.trip_count_min)


def _notes(policy: MarketPolicy) -> Iterator[str]:
    if not policy.of(BasisParameters).required:
        yield "A caller may leave out what it computed with; what it leaves out is not seen."


RULE = Rule(
    name="basis",
    rank=90,
    catches="A caller's own mark price or funding index outside its envelope. Denies, trips on repetition.",
    judges=Judges.CLOSURES,
    parameters=BasisParameters,
    reasons={
        BASIS_MISSING: Reason("the caller did not say which value it computed with", CALLER),
        BASIS_MARK: Reason(
            "the caller computed with a mark price that the guard never trusted", CALLER, Excuse.KNOWN_PRICE
        ),
        BASIS_FUNDING: Reason("the caller computed with a funding index that cannot be true", CALLER, Excuse.EXPLAINED),
    },
    evaluate=evaluate,
    permits=_permits,
    unseen=_unseen,
    delays=_delays,
    notes=_notes,
)
