"""Facts, answers and status as sentences: what scenarios expect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from circuit_guard.core import facts as f
from circuit_guard.core.facts import Fact
from circuit_guard.core.reasons import ask_again_ns, lift
from circuit_guard.core.status import BreakerStatus, GuardStatus, MarketStatus
from circuit_guard.core.types import SECOND_NS, Finding, MarketOutcome, Outcome, Severity, Verdict, show, show_seconds
from tests.core import world


def finding_line(finding: Finding) -> str:
    """Return one finding with its severity, and who or what ends it. A warning ends nothing and needs no ending."""
    wait_ns = ask_again_ns(finding)
    ending = f"lifted by {lift(finding)}" + ("" if wait_ns is None else f", ask again in {wait_ns // SECOND_NS} s")
    shadow = "in shadow, " if finding.shadow else ""
    if finding.severity is Severity.WARN:
        ending = "nothing is held"
    what = f"{finding.subject} was {finding.observed}, expected {finding.limit}"
    return f"{finding.reason}: {what} ({shadow}{finding.severity.name}, {ending})"


def fact_lines(fact: Fact) -> list[str]:  # noqa: C901  # one case a fact
    """Return a fact as a line, and its findings as indented lines below."""
    match fact:
        case f.ObservationJudged(accepted=accepted, redelivered=redelivered, findings=findings):
            again = " again: redelivered" if redelivered else ""
            return _with(f"observation {'accepted' if accepted else 'REJECTED'}{again}", findings)
        case f.ObservationReconsidered():
            return [f"{fact.market} observation reconsidered: the references have followed it"]
        case f.ReferenceJudged(accepted=accepted, findings=findings):
            return _with(f"reference {fact.source} {'accepted' if accepted else 'REJECTED'}", findings)
        case f.BreakerChanged():
            latched = ", latched" if fact.latched else ""
            who = f" by {fact.actor}: {fact.note}" if fact.actor else ""
            reasons = ", ".join(dict.fromkeys(finding.reason for finding in fact.findings))
            why = f" for {reasons}" if reasons and not who else ""
            return [f"{fact.scope} breaker {fact.before} -> {fact.after}{latched}{why}{who}"]
        case f.PhaseChanged():
            who = f" by {fact.actor}" if fact.actor else ""
            return [f"{fact.market} phase {fact.before} -> {fact.after}{who}: {fact.note}"]
        case f.HaltChanged():
            until = "" if fact.expires_ns is None else f" until {world.clock(fact.expires_ns)}"
            who = f" by {fact.actor}" if fact.actor else ""
            return [f"{fact.scope} {'halted' if fact.halted else 'resumed'}{until}{who}: {fact.reason}"]
        case f.MarketWarm():
            return [f"{fact.market} is warm"]
        case f.MarketReopened():
            return [f"{fact.market} re-opens after {show_seconds(fact.held_ns)}, at a rising rate"]
        case f.MaintenanceBegan():
            return [f"maintenance begun by {fact.actor}: {fact.reason}"]
        case f.StateValidated():
            return [_outcome_line(outcome) for outcome in fact.outcomes]
        case f.MaintenanceEnded():
            latched = f", latched {', '.join(fact.latched)}" if fact.latched else ""
            return [f"maintenance ended by {fact.actor}: clean {', '.join(fact.clean) or 'none'}{latched}"]
        case f.Rebaselined(after=None):
            return [f"{fact.market} accounts repaired, says {fact.actor}: {fact.reason}"]
        case f.Rebaselined():
            to = "" if fact.checkpoint is None else f" (checkpoint {fact.checkpoint})"
            step = f"{show(fact.before)} -> {show(fact.after)}{to}"
            return [f"{fact.market} funding index rebaselined {step} by {fact.actor}: {fact.reason}"]
        case f.ActProposed():
            until = world.clock(fact.expires_ns)
            return [f"{fact.act} of {', '.join(fact.scopes)} proposed by {fact.actor}, waits for another until {until}"]
        case f.ShadowWould():
            return [f"{fact.scope} shadow would: {', '.join(finding.reason for finding in fact.findings)}"]
        case f.PolicyChanged():
            names = [f"{sign}{name}" for sign, group in (("+", fact.added), ("-", fact.removed)) for name in group]
            return [" ".join([f"policy {fact.revision} in force", *names])]
        case f.CommandRefused():
            return [f"REFUSED: {fact.subject} was {fact.observed}, expected {fact.expected}"]
        case f.DecisionMade(decision=decision, repeated=repeated):
            again = " again: the same request_id" if repeated else ""
            shadow = f", enforcing every rule {decision.shadow_verdict}"
            differs = shadow if decision.shadow_verdict is not decision.verdict else ""
            return _with(f"{decision.verdict}{again}{differs}", decision.findings)
        case f.CheckRefused():
            return [f"REFUSED: request {fact.request_id} was asked before with another {fact.differing}"]
        case f.OrderJudged(verdict=verdict, findings=findings):
            return _with(f"{verdict} order {fact.order_id}", findings)


def _outcome_line(outcome: MarketOutcome) -> str:
    if outcome.outcome is Outcome.OK:
        return f"{outcome.market} ok"
    swapped = f" with {outcome.swapped_with}" if outcome.swapped_with else ""
    what = f"{outcome.subject} was {outcome.observed}, expected {outcome.limit}"
    return f"{outcome.market} {outcome.outcome}{swapped}: {what}"


def is_news(fact: Fact) -> bool:
    """Return whether the fact is worth a line where a whole stretch of time is summed up."""
    return not isinstance(fact, f.ObservationJudged | f.ReferenceJudged | f.DecisionMade)


def summary(facts: Iterable[Fact]) -> Iterator[str]:
    """Return what was rejected or denied in a stretch of time, counted by reason."""
    counts: dict[str, int] = {}
    for fact in facts:
        match fact:
            case f.ObservationJudged(accepted=False, findings=findings):
                _count(counts, f"{fact.market} observations REJECTED", findings)
            case f.ReferenceJudged(accepted=False, findings=findings):
                _count(counts, f"{fact.source} references REJECTED", findings)
            case f.DecisionMade(decision=decision):
                denying = decision.findings if decision.verdict is Verdict.DENY else ()
                _count(counts, f"checks {decision.verdict}", denying)
    yield from (f"{count} {what}" for what, count in counts.items())


def status_lines(status: GuardStatus) -> Iterator[str]:
    """Return the status as on-call reads it."""
    halt = f", halted by {status.global_halt.actor}" if status.global_halt else ""
    shadow = ", in shadow" if status.shadow else ""
    waiting = f", waiting for {', '.join(status.not_ready)}" if status.not_ready else ""
    yield f"GLOBAL {_breaker(status.global_breaker)}{halt}{shadow}, policy {status.policy_revision}{waiting}"
    for market in status.markets:
        yield from _market_lines(market)


def _market_lines(market: MarketStatus) -> Iterator[str]:
    warm = "" if market.warm else ", warming"
    halt = f", halted by {market.halt.actor}: {market.halt.reason}" if market.halt else ""
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
    latched = " latched" if breaker.latched else ""
    reasons = ", ".join(dict.fromkeys(finding.reason for finding in breaker.findings))
    return f"breaker {breaker.state}{latched}" + (f" for {reasons}" if reasons else "")


def _with(line: str, findings: Sequence[Finding]) -> list[str]:
    return [line, *(f"  {finding_line(finding)}" for finding in findings)]


def _count(counts: dict[str, int], what: str, findings: Sequence[Finding]) -> None:
    reasons = ", ".join(sorted({finding.reason for finding in findings if finding.severity > 1}))
    key = f"{what} for {reasons}" if reasons else what
    counts[key] = counts.get(key, 0) + 1
