"""One sentence for each fact, finding and answer: the log, `watch`, the journal, the page and the report show these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import assert_never

from circuit_guard.core import facts, own_clock, reasons
from circuit_guard.core.facts import Fact
from circuit_guard.core.formatting import breaker, ending, instant, lasting, markets, scopes
from circuit_guard.core.types import (
    BreakerState,
    Decision,
    Explanation,
    Finding,
    Lift,
    MarketOutcome,
    Outcome,
    Phase,
    Severity,
    Verdict,
)

PHASES = {
    Phase.OPEN: "trading as usual",
    Phase.POST_ONLY: "only resting orders are taken",
    Phase.CANCEL_ONLY: "orders can only be cancelled",
    Phase.MAINTENANCE: "the exchange is down for maintenance",
    Phase.RECOVERING: "the guard waits for evidence that the data are sound",
}
OUTCOMES = {
    Outcome.OK: "the state goes on from what was last trusted",
    Outcome.FUNDING_JUMP: "funding cannot have moved the funding index there",
    Outcome.PRICE: "a price is neither near the references nor near the last trusted price",
    Outcome.SWAPPED: "the value of another market stands here",
    Outcome.INVALID: "a value is impossible",
    Outcome.STALE: "the row is older than what was last trusted, as from an old backup",
    Outcome.MISSING: "something is missing from the dump",
    Outcome.EXTRA: "the policy does not name this market",
    Outcome.NO_BASELINE: "there is nothing to compare this market with",
}
OUTCOMES_SHOWN_MAX = 5


def line(fact: Fact) -> str:
    """Return the sentence of a fact, after the market or scope it is about."""
    scope = scope_of(fact)
    return f"{scope}: {sentence(fact)}" if scope else sentence(fact)


def sentence(fact: Fact, *, shadow: bool = False) -> str:
    """Return what happened and why, as one sentence that leaves out the scope; `shadow`: the guard enforced nothing."""
    match fact:
        case facts.DecisionMade(decision=made):
            loss = "" if made.explained is None else f", loss {made.explained.verdict}"
            repeated = " (asked before)" if fact.repeated else ""
            return f"{explain_decision(made)} [{made.kind} of {made.account_id}, {made.request_id}{loss}]{repeated}"
        case facts.OrderJudged():
            return f"{explain_answer(fact.verdict, fact.market, fact.findings)} [order {fact.order_id}]"
        case facts.StateValidated():
            why = _not_clean(fact)
        case _:
            why = "; ".join(reasons.sentence(found) for found in findings_of(fact))
    return f"{headline(fact, shadow=shadow)}: {why}" if why else headline(fact, shadow=shadow)


def scope_of(fact: Fact) -> str:
    """Return the market or scope a fact is about; empty where it is about none, or its sentence names the market."""
    match fact:
        case facts.BreakerChanged() | facts.HaltChanged() | facts.ShadowWould():
            return fact.scope
        case facts.DecisionMade() | facts.OrderJudged():
            return ""
        case _:
            return str(getattr(fact, "market", ""))


def findings_of(fact: Fact) -> tuple[Finding, ...]:
    """Return why a fact is; none for the closing of a breaker, which keeps what had opened it."""
    match fact:
        case facts.BreakerChanged():
            return fact.findings if fact.after is BreakerState.OPEN else ()
        case facts.DecisionMade():
            return fact.decision.findings
        case facts.ObservationJudged() | facts.ReferenceJudged() | facts.ShadowWould() | facts.OrderJudged():
            return fact.findings
        case _:
            return ()


def headline(fact: Fact, *, shadow: bool = False) -> str:  # noqa: C901  # one case for each kind of fact
    """Return what happened, without the scope and without the findings."""
    match fact:
        case facts.ObservationJudged():
            again = ", delivered again" if fact.redelivered else ""
            return f"observation of {fact.source} {'accepted' if fact.accepted else 'rejected'}{again}"
        case facts.ObservationReconsidered():
            return f"observation of {fact.source} is trusted after all: the references have followed it"
        case facts.ReferenceJudged():
            return f"reference of {fact.source} {'accepted' if fact.accepted else 'rejected'}"
        case facts.BreakerChanged():
            return _breaker_changed(fact, shadow=shadow)
        case facts.PhaseChanged():
            note = f": {fact.note}" if fact.note else ""
            return f"phase {fact.before} to {fact.after}{_by(fact.actor)} ({PHASES[fact.after]}){note}"
        case facts.HaltChanged():
            until = "" if fact.expires_ns is None else f" until {instant(fact.expires_ns)}"
            what = "stay halted" if fact.stays else "halted" if fact.halted else "resumed"
            return f"closures {what}{_by(fact.actor)}{until}: {fact.reason}"
        case facts.MarketWarm():
            return "market is warm: its closures are judged from now on"
        case facts.MarketReopened():
            held = "would have been held" if shadow else "held"
            return f"{held} for {lasting(fact.held_ns)}; closures go through again, at a rising rate"
        case facts.MaintenanceBegan():
            kept = f"checkpoint {fact.checkpoint} is kept for it"
            return f"maintenance begun{_by(fact.actor)}: {fact.reason}; {kept}"
        case facts.StateValidated():
            bad = sum(found.outcome is not Outcome.OK for found in fact.outcomes)
            clean = markets(len(fact.outcomes) - bad)
            return f"the exchange's state validated{_by(fact.actor)}: {clean} clean, {bad} not clean"
        case facts.MaintenanceEnded():
            ended = f"in POST_ONLY: {scopes(fact.clean) or 'none'}; latched: {scopes(fact.latched) or 'none'}"
            return f"maintenance ended{_by(fact.actor)}: {fact.reason}; {ended}"
        case facts.Rebaselined():
            return _rebaselined(fact)
        case facts.ActProposed():
            until = f"it takes effect if somebody else asks for the same before {instant(fact.expires_ns)}"
            return f"{fact.act} of {scopes(fact.scopes)} proposed{_by(fact.actor)}: {fact.reason}; {until}"
        case facts.ClockChanged():
            return own_clock.changed_sentence(fact)
        case facts.ShadowWould():
            return f"in shadow: enforced, this would have acted for {codes(fact.findings)}"
        case facts.PolicyChanged():
            changes = (("added", fact.added), ("removed", fact.removed))
            return "".join(
                [f"policy {fact.revision} in force", *(f", {word} {scopes(names)}" for word, names in changes if names)]
            )
        case facts.CommandRefused():
            return f"command refused: {fact.subject} was {fact.observed}, expected {fact.expected}"
        case facts.DecisionMade(decision=made):
            again = " again, as asked before" if fact.repeated else ""
            differs = f", {made.shadow_verdict} with every rule enforced"
            return f"{made.verdict}{again}{differs if made.shadow_verdict is not made.verdict else ''}"
        case facts.CheckRefused():
            return f"check {fact.request_id} refused: it was asked before with another {fact.differing}"
        case facts.OrderJudged():
            return f"{fact.verdict} order {fact.order_id}"
        case _:
            assert_never(fact)


def codes(findings: Iterable[Finding]) -> str:
    """Return the reason codes of findings, each once."""
    return ", ".join(dict.fromkeys(str(found.reason) for found in findings))


def by_reason(findings: Iterable[Finding]) -> list[str]:
    """Return one line for each reason: its code, its sentence, and whatever else was found for the same."""
    lines: dict[str, str] = {}
    for found in findings:
        if found.reason in lines:
            lines[found.reason] += f"; {found.subject} was {found.observed}, expected {found.limit}"
        else:
            lines[found.reason] = f"{found.reason}: {reasons.sentence(found)}"
    return list(lines.values())


def outcome_sentence(found: MarketOutcome) -> str:
    """Return what was found of one market of a dump, without its name."""
    if found.outcome is Outcome.OK:
        return OUTCOMES[found.outcome]
    meaning = f"the value of {found.swapped_with} stands here" if found.swapped_with else OUTCOMES[found.outcome]
    also = f" (also {'; '.join(found.also)})" if found.also else ""
    return f"{meaning}: {found.subject} was {found.observed}, expected {found.limit}{also}"


def outcome_line(found: MarketOutcome) -> str:
    """Return what was found of one market: `BTC-USD-PERP funding_jump: the sentence`."""
    return f"{found.market} {found.outcome}: {outcome_sentence(found)}"


def explain_decision(answer: Decision) -> str:
    """Return the answer to a check in one line for a person."""
    return explain_answer(answer.verdict, answer.market, answer.findings, excused=_excused(answer))


def explain_answer(verdict: Verdict, market: str, found: Sequence[Finding], *, excused: bool = False) -> str:
    """Return an answer in one line for a person; `excused`: an explained loss lowered findings to warnings."""
    denying = denying_of(verdict, found)
    if not denying:
        why = ", because trusted values explain the loss" if excused else ""
        return f"{verdict} {market}" + (f": found but not enforced{why}: {codes(found)}" if found else "")
    worst = max(denying, key=_weight)
    others = codes(one for one in denying if one.reason != worst.reason)
    also = f" (also {others})" if others else ""
    how = ending(reasons.lift(worst), longest_wait_ns(denying), reasons.info_of(worst).act)
    return f"{verdict} {market}: {reasons.sentence(worst)}{also}. {how}"


def denying_of(verdict: Verdict, found: Iterable[Finding]) -> list[Finding]:
    """Return the findings that made the verdict a DENY; none for an ALLOW, which in shadow they did not change."""
    if verdict is Verdict.ALLOW:
        return []
    return [one for one in found if one.severity >= Severity.DENY and not one.shadow]


def hardest(denying: Iterable[Finding]) -> Lift | None:
    """Return what the longest-lasting denial waits for; None where nothing denies."""
    return max(map(reasons.lift, denying), key=lambda one: one.hardness, default=None)


def longest_wait_ns(denying: Sequence[Finding]) -> int | None:
    """Return the longest wait before asking again, or None where there is none or somebody has to act first."""
    waits = [reasons.ask_again_ns(one) for one in denying]
    known = [wait for wait in waits if wait is not None]
    return max(known) if known and len(known) == len(waits) else None


def _weight(found: Finding) -> tuple[int, bool, int]:
    """Order findings by what a person reads first: the hardest to lift, then what was found before what it closed."""
    return reasons.lift(found).hardness, reasons.rule_of(found.reason) != "gate", found.severity


def _excused(answer: Decision) -> bool:
    """Return whether the closure goes through only because trusted values explain the account's loss."""
    loss = answer.explained
    if loss is None or loss.verdict is not Explanation.EXPLAINED:
        return False
    return any(
        one.severity is Severity.WARN and not one.shadow and one.reason in reasons.EXCUSABLE for one in answer.findings
    )


def _breaker_changed(fact: facts.BreakerChanged, *, shadow: bool) -> str:
    if fact.actor:
        return f"breaker {breaker(fact.after, latched=fact.latched)}: reset by {fact.actor}: {fact.note}"
    if fact.after is BreakerState.OPEN:
        state = "OPEN (in shadow: nothing is denied)" if shadow else breaker(fact.after)
        why = f" for {codes(fact.findings)}" if fact.findings else ""
        until = "an operator resets it" if fact.latched else "good data have lasted"
        return f"breaker {state}{', latched' if fact.latched else ''}{why}, until {until}"
    if fact.after is BreakerState.HALF_OPEN:
        return "breaker HALF_OPEN: closures go through at a rising rate"
    return "breaker CLOSED: it no longer holds closures"


def _rebaselined(fact: facts.Rebaselined) -> str:
    who = f"{_by(fact.actor)}: {fact.reason}"
    source = "" if fact.checkpoint is None else f" (checkpoint {fact.checkpoint})"
    mark = "" if fact.mark_after is None else f", mark price {_step(fact.mark_before, fact.mark_after)}"
    index = None if fact.after is None else _step(fact.before, fact.after)
    if fact.factor is not None:
        return f"rescaled by {fact.factor.normalize():f}{mark}{f', funding index {index}' if index else ''}{who}"
    if index is None:
        return f"accounts repaired{who}; no account is tainted here any more"
    return f"funding index rebaselined {index}{mark}{source}{who}"


def _step(before: Decimal | None, after: Decimal) -> str:
    return f"from {'none' if before is None else before} to {after}"


def _not_clean(fact: facts.StateValidated) -> str:
    found = [outcome_line(one) for one in fact.outcomes if one.outcome is not Outcome.OK]
    more = len(found) - OUTCOMES_SHOWN_MAX
    return "; ".join(found[:OUTCOMES_SHOWN_MAX] + ([f"and {more} more"] if more > 0 else []))


def _by(actor: str) -> str:
    return f" by {actor}" if actor else ""
