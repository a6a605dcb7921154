"""One log line for each fact that somebody may ask about later; a flood of the same kind becomes one line in 10 s.

Of decisions the first hundred of a second have a line each. What is left out is counted in the next line, in
`suppressed`; the journal has them all.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import structlog

from circuit_guard.core.facts import (
    BreakerChanged,
    CheckRefused,
    CommandRefused,
    DecisionMade,
    Fact,
    HaltChanged,
    MarketWarm,
    ObservationJudged,
    OrderJudged,
    PhaseChanged,
    PolicyChanged,
    ReferenceJudged,
    ShadowWould,
)
from circuit_guard.core.reasons import sentence
from circuit_guard.core.types import (
    GLOBAL_SCOPE,
    SECOND_NS,
    BreakerState,
    Decision,
    ExplainedLoss,
    Finding,
    Severity,
    Verdict,
    show,
)
from circuit_guard.telemetry.act_log import log_act, stamp
from circuit_guard.telemetry.logging import write_often

REPEAT_NS = 10 * SECOND_NS
"""How far apart two lines about the same kind of event, market and reason are at least."""

DECISIONS_PER_S = 100
"""So many allowed closures, and so many denied ones, have a line each: more tell nobody more, and each takes time."""

UNKNOWN_SHOWN_MAX = 20


class _Kind(NamedTuple):
    """What makes two events the same for the log."""

    event: str
    market: str
    reason: str


class _Ration:
    """Lets so many lines through in a stretch of time, and the first of the next with the count of those left out."""

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


class FactLog:
    """An engine observer that writes the log. Accepted observations, references and orders are not logged."""

    def __init__(self, markets: Iterable[str]) -> None:
        """`markets` are those of the policy; any other name shares one line in 10 s with all unknown ones."""
        self._log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("circuit_guard")
        self._often_log = logging.getLogger("circuit_guard")
        self._markets = set(markets)
        self._repeats: defaultdict[_Kind, _Ration] = defaultdict(lambda: _Ration(1, REPEAT_NS))
        self._decisions = {verdict: _Ration(DECISIONS_PER_S, SECOND_NS) for verdict in Verdict}

    def on_facts(self, facts: Sequence[Fact], took_ns: int) -> None:
        """Log what is worth a line."""
        for fact in facts:
            match fact:
                case DecisionMade():
                    self._decision(fact.decision, took_ns, repeated=fact.repeated)
                case ObservationJudged(accepted=False):
                    self._often("observation_rejected", fact.market, fact.findings, fact.at_ns, source=fact.source)
                case ReferenceJudged(accepted=False):
                    self._often("reference_rejected", fact.market, fact.findings, fact.at_ns, source=fact.source)
                case OrderJudged(verdict=Verdict.DENY):
                    self._often("order_denied", fact.market, fact.findings, fact.at_ns, order_id=fact.order_id)
                case ShadowWould():
                    self._often("shadow", fact.scope, fact.findings, fact.at_ns)
                case _:
                    self._rare(fact)

    def _decision(self, decision: Decision, took_ns: int, *, repeated: bool) -> None:
        denied = decision.verdict is Verdict.DENY
        level = logging.WARNING if denied else logging.INFO
        if not self._often_log.isEnabledFor(level):
            return
        left_out = self._decisions[decision.verdict].admit(decision.at_ns)
        if left_out is None:
            return
        findings = {"findings": [sentence(finding) for finding in decision.findings]} if denied else {}
        fields = {
            "at": stamp(decision.at_ns),
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
            "took_us": took_ns // 1000,
            "repeated": repeated,
            "suppressed": left_out,
            **_explained_loss(decision.explained),
            **findings,
        }
        write_often(self._often_log, level, "decision", fields)

    def _often(self, event: str, market: str, findings: tuple[Finding, ...], at_ns: int, **fields: str) -> None:
        """Write a line about something that can come a thousand times a second."""
        worst = max(findings, key=lambda finding: finding.severity, default=None)
        known = market if market in self._markets or market == GLOBAL_SCOPE else "other"
        left_out = self._repeats[_Kind(event, known, worst.reason if worst else "")].admit(at_ns)
        if left_out is None:
            return
        self._log.warning(
            event,
            at=stamp(at_ns),
            market=market,
            **fields,
            reasons=_distinct(findings),
            findings=[sentence(finding) for finding in findings],
            suppressed=left_out,
        )

    def _rare(self, fact: Fact) -> None:
        at = stamp(fact.at_ns)
        match fact:
            case BreakerChanged():
                self._breaker_changed(fact)
            case PhaseChanged():
                change = {"before": fact.before, "after": fact.after}
                self._log.info("phase", at=at, market=fact.market, **change, actor=fact.actor, note=fact.note)
            case HaltChanged():
                event = "halt" if fact.halted else "resume"
                expiry = {} if fact.expires_ns is None else {"expires_at": stamp(fact.expires_ns)}
                self._log.warning(event, at=at, scope=fact.scope, actor=fact.actor, reason=fact.reason, **expiry)
            case MarketWarm():
                self._log.info("market_warm", at=at, market=fact.market)
            case PolicyChanged():
                self._markets = (self._markets | set(fact.added)) - set(fact.removed)
                changes = {"added": list(fact.added), "removed": list(fact.removed)}
                self._log.info("policy", at=at, policy_revision=fact.revision, **changes)
            case CommandRefused():
                refusal = {"subject": fact.subject, "observed": fact.observed, "expected": fact.expected}
                self._log.warning("command_refused", at=at, **refusal)
            case CheckRefused():
                self._log.warning("check_refused", at=at, request_id=fact.request_id, differing=fact.differing)
            case _:
                log_act(self._log, fact)

    def _breaker_changed(self, fact: BreakerChanged) -> None:
        write = self._log.warning if fact.after is BreakerState.OPEN else self._log.info
        write(
            "breaker",
            at=stamp(fact.at_ns),
            scope=fact.scope,
            before=_breaker(fact.before),
            after=_breaker(fact.after),
            latched=fact.latched,
            generation=fact.generation,
            reasons=_distinct(fact.findings),
            findings=[sentence(finding) for finding in fact.findings],
            actor=fact.actor,
            note=fact.note,
        )


def _explained_loss(loss: ExplainedLoss | None) -> dict[str, str | list[str]]:
    """Return what trusted values say of the account: the verdict, and its surplus's bounds or why there are none."""
    if loss is None:
        return {}
    if loss.low is None or loss.high is None:
        return {"explained_loss": loss.verdict, "unknown_markets": list(loss.unknown[:UNKNOWN_SHOWN_MAX])}
    return {"explained_loss": loss.verdict, "surplus_low": show(loss.low), "surplus_high": show(loss.high)}


def _reasons(findings: tuple[Finding, ...], *, shadow: bool) -> list[str]:
    return _distinct(f for f in findings if f.severity >= Severity.DENY and f.shadow is shadow)


def _distinct(findings: Iterable[Finding]) -> list[str]:
    return list(dict.fromkeys(str(finding.reason) for finding in findings))


def _breaker(state: BreakerState) -> str:
    return f"{state} (denying)" if state is BreakerState.OPEN else str(state)
