"""One log line for each fact that people may ask about later; a flood of the same kind becomes one line per 10 s.

Of decisions the first hundred of a second have a line each. What is left out is counted in the next line, in
`suppressed`; the journal has them all.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import structlog

from circuit_guard.core import facts
from circuit_guard.core.facts import Fact
from circuit_guard.core.formatting import rfc3339
from circuit_guard.core.permit import decision_of
from circuit_guard.core.reasons import sentence as finding_sentence
from circuit_guard.core.sentences import outcome_line, sentence
from circuit_guard.core.types import (
    GLOBAL_SCOPE,
    SECOND_NS,
    AllowedCheck,
    BreakerState,
    ExplainedLoss,
    Finding,
    Outcome,
    Severity,
    Verdict,
    show,
)
from circuit_guard.telemetry.logging import write_often

REPEAT_NS = 10 * SECOND_NS
"""Two lines about the same kind of event, market and reason are at least this far apart."""
DECISIONS_PER_S = 100
"""This many allowed closures, and as many denied ones, have a line each: more add nothing, and each takes time."""
SHOWN_MAX = 20
"""At most this many markets are named in one line."""

LINES: dict[type[Fact], tuple[str, tuple[str, ...]]] = {
    facts.BreakerChanged: ("breaker", ("scope", "latched", "generation", "actor", "identity", "note")),
    facts.PhaseChanged: ("phase", ("market", "before", "after", "actor", "identity", "note")),
    facts.HaltChanged: ("halt", ("scope", "actor", "identity", "reason")),
    facts.MarketWarm: ("market_warm", ("market",)),
    facts.MarketReopened: ("market_reopened", ("market",)),
    facts.PolicyChanged: ("policy", ("added", "removed")),
    facts.CommandRefused: ("command_refused", ("subject", "observed", "expected")),
    facts.CheckRefused: ("check_refused", ("request_id", "differing")),
    facts.MaintenanceBegan: ("maintenance_began", ("actor", "identity", "reason", "checkpoint")),
    facts.StateValidated: ("state_validated", ("actor", "identity")),
    facts.MaintenanceEnded: ("maintenance_ended", ("actor", "identity", "reason", "latched")),
    facts.Rebaselined: ("rebaselined", ("market", "actor", "identity", "reason", "checkpoint")),
    facts.ClockChanged: ("clock", ()),
    facts.ActProposed: ("act_proposed", ("act", "scopes", "actor", "identity", "reason")),
}
"""The facts that are rare enough for a line each: its event, and the fields that it takes over as they are."""
JUDGED = (facts.ObservationJudged, facts.ReferenceJudged)
"""Nearly all that happens; accepted ones are counted and not logged."""
WARNINGS = frozenset({"halt", "command_refused", "check_refused", "maintenance_began", "rebaselined", "act_proposed"})


class _Ration:
    """Lets a number of lines through per stretch of time, and tells the first of the next how many were left out."""

    def __init__(self, lines: int, every_ns: int) -> None:
        self._lines = lines
        self._every_ns = every_ns
        self._since_ns = 0
        self._let_through = 0
        self._left_out = 0

    def admit(self, at_ns: int) -> int | None:
        """Return how many were left out since the last one let through; None where this one is."""
        if at_ns - self._since_ns >= self._every_ns:
            self._since_ns, self._let_through = at_ns, 0
        if self._let_through >= self._lines:
            self._left_out += 1
            return None
        self._let_through += 1
        left_out, self._left_out = self._left_out, 0
        return left_out

    def left(self, at_ns: int) -> int:
        """Return how many more are let through now."""
        return self._lines - (0 if at_ns - self._since_ns >= self._every_ns else self._let_through)

    def leave_out(self, count: int) -> None:
        """Count some that are left out without being shown."""
        self._left_out += max(count, 0)


class FactLog:
    """An engine observer that writes the log. Accepted observations, references and orders are not logged."""

    def __init__(self, markets: Iterable[str]) -> None:
        """`markets` are those of the policy; any other name shares one line in 10 s with all unknown ones."""
        self._log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("circuit_guard")
        self._often_log = logging.getLogger("circuit_guard")
        self._markets = set(markets)
        self._repeats: defaultdict[tuple[str, str, str], _Ration] = defaultdict(lambda: _Ration(1, REPEAT_NS))
        """By what makes two events the same for the log: event, market and reason."""
        self._decisions = {verdict: _Ration(DECISIONS_PER_S, SECOND_NS) for verdict in Verdict}

    def on_facts(self, facts: Sequence[Fact], took_ns: int) -> None:
        """Log what is worth a line."""
        for fact in facts:
            if not (isinstance(fact, JUDGED) and fact.accepted):
                self._write(fact, took_ns)

    def on_allowed(self, checks: Sequence[AllowedCheck]) -> None:
        """Log what permits allowed: a line each, as many as there are lines for."""
        left = self._decisions[Verdict.ALLOW].left(checks[-1].at_ns)
        for check in checks[:left]:
            self._decision(facts.DecisionMade(check.at_ns, decision_of(check)), None)
        self._decisions[Verdict.ALLOW].leave_out(len(checks) - left)

    def _write(self, fact: Fact, took_ns: int) -> None:
        match fact:
            case facts.DecisionMade():
                self._decision(fact, took_ns)
            case facts.ObservationJudged(accepted=False):
                self._often("observation_rejected", fact, fact.market, source=fact.source)
            case facts.ReferenceJudged(accepted=False):
                self._often("reference_rejected", fact, fact.market, source=fact.source)
            case facts.OrderJudged(verdict=Verdict.DENY):
                self._often("order_denied", fact, fact.market, order_id=fact.order_id)
            case facts.ShadowWould():
                self._often("shadow", fact, fact.scope)
            case facts.PolicyChanged():
                self._markets = (self._markets | set(fact.added)) - set(fact.removed)
                self._rare(fact)
            case _:
                self._rare(fact)

    def _decision(self, fact: facts.DecisionMade, took_ns: int | None) -> None:
        """Log a decision and how long the rules took; None: a permit made it, too soon to be timed."""
        decision = fact.decision
        denied = decision.verdict is Verdict.DENY
        level = logging.WARNING if denied else logging.INFO
        if not self._often_log.isEnabledFor(level):
            return
        left_out = self._decisions[decision.verdict].admit(decision.at_ns)
        if left_out is None:
            return
        fields = {
            "at": rfc3339(decision.at_ns),
            "decision_id": decision.decision_id,
            "request_id": decision.request_id,
            "account_id": decision.account_id,
            "market": decision.market,
            "kind": decision.kind,
            "verdict": decision.verdict,
            "shadow_verdict": decision.shadow_verdict,
            "reasons": _reasons(decision.findings, shadow=False),
            "shadow_reasons": _reasons(decision.findings, shadow=True),
            "phase": decision.phase,
            "breaker": _breaker(decision.breaker),
            "policy_revision": decision.policy_revision,
            **({"by_permit": True} if took_ns is None else {"took_us": took_ns // 1000}),
            "repeated": fact.repeated,
            "suppressed": left_out,
            **_explained_loss(decision.explained),
            **({"findings": _sentences(decision.findings)} if denied else {}),
            "sentence": sentence(fact),
        }
        write_often(self._often_log, level, "decision", fields)

    def _often(
        self,
        event: str,
        fact: facts.ObservationJudged | facts.ReferenceJudged | facts.OrderJudged | facts.ShadowWould,
        market: str,
        **fields: str,
    ) -> None:
        """Write a line about something that can come a thousand times a second."""
        findings = fact.findings
        worst = max(findings, key=lambda finding: finding.severity, default=None)
        known = market if market in self._markets or market == GLOBAL_SCOPE else "other"
        left_out = self._repeats[event, known, worst.reason if worst else ""].admit(fact.at_ns)
        if left_out is None:
            return
        self._log.warning(
            event,
            at=rfc3339(fact.at_ns),
            market=market,
            **fields,
            reasons=_distinct(findings),
            findings=_sentences(findings),
            suppressed=left_out,
            sentence=sentence(fact),
        )

    def _rare(self, fact: Fact) -> None:  # noqa: C901  # one case for each kind of fact
        """Write a line about a change of state or an operator's act; none about what was accepted: it is counted."""
        if type(fact) not in LINES:
            return
        event, named = LINES[type(fact)]
        warn, fields = event in WARNINGS, {name: getattr(fact, name) for name in named}
        match fact:
            case facts.BreakerChanged(findings=findings):
                warn = fact.after is BreakerState.OPEN
                fields |= {"before": _breaker(fact.before), "after": _breaker(fact.after)}
                fields |= {"reasons": _distinct(findings), "findings": _sentences(findings)}
            case facts.HaltChanged():
                event = "halt" if fact.halted else "resume"
                fields |= {"stays": True} if fact.stays else {}
                fields |= {} if fact.expires_ns is None else {"expires_at": rfc3339(fact.expires_ns)}
            case facts.MarketReopened():
                fields["held_s"] = fact.held_ns / SECOND_NS
            case facts.PolicyChanged():
                fields["policy_revision"] = fact.revision
            case facts.StateValidated():
                not_clean = [outcome_line(one) for one in fact.outcomes if one.outcome is not Outcome.OK]
                warn = bool(not_clean)
                fields["outcomes"] = dict(Counter(str(one.outcome) for one in fact.outcomes))
                fields["not_clean"] = not_clean[:SHOWN_MAX]
            case facts.MaintenanceEnded():
                warn, fields["clean"] = bool(fact.latched), len(fact.clean)
            case facts.Rebaselined():
                fields |= _moved(fact)
            case facts.ClockChanged():
                warn = fact.off_ns != 0
                fields |= {"off_s": fact.off_ns / SECOND_NS, "corrected_s": fact.corrected_ns / SECOND_NS}
            case facts.ActProposed():
                fields["expires_at"] = rfc3339(fact.expires_ns)
        write = self._log.warning if warn else self._log.info
        write(event, at=rfc3339(fact.at_ns), **fields, sentence=sentence(fact))


def _explained_loss(loss: ExplainedLoss | None) -> dict[str, str | list[str]]:
    """Return what trusted values say of the account: the verdict, and its surplus's bounds or why there are none."""
    if loss is None:
        return {}
    fields: dict[str, str | list[str]] = {"explained_loss": loss.verdict}
    if loss.unknown:
        fields["unknown_markets"] = list(loss.unknown[:SHOWN_MAX])
    if loss.low is not None and loss.high is not None:
        fields |= {"surplus_low": show(loss.low), "surplus_high": show(loss.high)}
    return fields


def _sentences(findings: Iterable[Finding]) -> list[str]:
    return [finding_sentence(finding) for finding in findings]


def _reasons(findings: tuple[Finding, ...], *, shadow: bool) -> list[str]:
    return _distinct(f for f in findings if f.severity >= Severity.DENY and f.shadow is shadow)


def _distinct(findings: Iterable[Finding]) -> list[str]:
    return list(dict.fromkeys(str(finding.reason) for finding in findings))


def _breaker(state: BreakerState) -> str:
    return f"{state} (denying)" if state is BreakerState.OPEN else str(state)


def _moved(fact: facts.Rebaselined) -> dict[str, str | None]:
    """Return what a rebaseline moved, as text: the funding index always, the rest where there is any."""
    known = {"before": fact.before, "after": fact.after}
    more = {"factor": fact.factor, "mark_price_before": fact.mark_before, "mark_price_after": fact.mark_after}
    known |= {name: value for name, value in more.items() if value is not None}
    return {name: None if value is None else str(value) for name, value in known.items()}
