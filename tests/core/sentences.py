"""Facts, answers and status as sentences: what scenarios expect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from circuit_guard.core import facts as f
from circuit_guard.core import formatting, halts, sentences
from circuit_guard.core.facts import Fact
from circuit_guard.core.reasons import ask_again_ns, lift, sentence
from circuit_guard.core.status import BreakerStatus, GuardStatus, MarketStatus
from circuit_guard.core.types import Finding, Severity, Verdict, show
from tests.core import world


def finding_line(finding: Finding) -> str:
    """Return one finding with its severity, and how it ends. A warning denies nothing and needs no ending."""
    ending = formatting.ending(lift(finding), ask_again_ns(finding)).removesuffix(".")
    shadow = "in shadow, " if finding.shadow else ""
    if finding.severity is Severity.WARN:
        ending = "it does not deny"
    return f"{finding.reason}: {sentence(finding)} ({shadow}{finding.severity.name}: {ending})"


def fact_lines(fact: Fact) -> list[str]:
    """Return a fact as a line, and what explains it as indented lines below."""
    scope = sentences.scope_of(fact)
    line = f"{scope}: {sentences.headline(fact)}" if scope else sentences.headline(fact)
    match fact:
        case f.BreakerChanged():
            return [line]
        case f.StateValidated(outcomes=outcomes):
            return [line, *(f"  {sentences.outcome_line(outcome)}" for outcome in outcomes)]
        case _:
            return [line, *(f"  {finding_line(finding)}" for finding in sentences.findings_of(fact))]


def is_news(fact: Fact) -> bool:
    """Return whether the fact is worth a line where a whole stretch of time is summed up."""
    return not isinstance(fact, f.ObservationJudged | f.ReferenceJudged | f.DecisionMade)


def summary(facts: Iterable[Fact]) -> Iterator[str]:
    """Return what was rejected or denied in a stretch of time, counted by reason."""
    counts: dict[str, int] = {}
    for fact in facts:
        match fact:
            case f.ObservationJudged(accepted=False, findings=findings):
                _count(counts, f"{fact.market} observations rejected", findings)
            case f.ReferenceJudged(accepted=False, findings=findings):
                _count(counts, f"{fact.source} references rejected", findings)
            case f.DecisionMade(decision=decision):
                denying = decision.findings if decision.verdict is Verdict.DENY else ()
                _count(counts, f"checks {decision.verdict}", denying)
    yield from (f"{count} {what}" for what, count in counts.items())


def status_lines(status: GuardStatus) -> Iterator[str]:
    """Return the status as on-call reads it."""
    halt = f", {halts.said(status.global_halts)}" if status.global_halts else ""
    shadow = ", in shadow" if status.shadow else ""
    waiting = f", waiting for {', '.join(status.not_ready)}" if status.not_ready else ""
    yield f"GLOBAL {_breaker(status.global_breaker)}{halt}{shadow}, policy {status.policy_revision}{waiting}"
    for market in status.markets:
        yield from _market_lines(market)


def _market_lines(market: MarketStatus) -> Iterator[str]:
    warm = "" if market.warm else ", warming"
    halt = f", {halts.said(market.halts)}" if market.halts else ""
    ramp = "" if market.ramp_share is None else f", ramp at {market.ramp_share:.0%}"
    held = "" if market.held_since_ns is None else f", held since {world.clock(market.held_since_ns)}"
    held += ", overdue" if market.overdue else ""
    state = f"{_breaker(market.breaker)}{warm}{halt}{held}{ramp}"
    yield f"{market.market} phase {market.phase} ({market.phase_note}), {state}"
    yield (
        f"  mark {show(market.mark_price)} within {market.mark_limits}, "
        f"reference {show(market.reference_price)} of {market.reference_count}"
    )
    yield f"  funding index {show(market.funding_index)} within {market.funding_envelope}"
    yield "  headroom " + ", ".join(f"{rule} {share:.3f}" for rule, share in sorted(market.headroom.items()))
    yield from (f"  denying {finding_line(finding)}" for finding in market.denying)


def _breaker(breaker: BreakerStatus) -> str:
    reasons = sentences.codes(breaker.findings)
    state = f"breaker {formatting.breaker(breaker.state, latched=breaker.latched)}"
    return state + (f" for {reasons}" if reasons else "")


def _count(counts: dict[str, int], what: str, findings: Sequence[Finding]) -> None:
    reasons = ", ".join(sorted({finding.reason for finding in findings if finding.severity > 1}))
    key = f"{what} for {reasons}" if reasons else what
    counts[key] = counts.get(key, 0) + 1
