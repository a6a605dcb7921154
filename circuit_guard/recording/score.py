"""The score of a replay: what was decided, how that compares with the truth, and the one JSON object of it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from circuit_guard.core.facts import BreakerChanged, Fact, ObservationJudged, ReferenceJudged
from circuit_guard.core.formatting import format_time
from circuit_guard.core.gates import ACCOUNT_MARKET_HALTED, OPERATOR_HALT, PHASE_DENIES, WARMING
from circuit_guard.core.names import UNKNOWN_MARKET
from circuit_guard.core.types import GLOBAL_SCOPE, SECOND_NS, BreakerState, Decision, Finding, Severity, Verdict
from circuit_guard.recording.format import Fault, JsonObject, Label, LabelledCheck

OUTCOMES = ("allow", "allow_on_retry", "deny")
EXAMPLES_MAX = 20


@dataclass(frozen=True, slots=True)
class Trip:
    """A breaker opened, or an open one latched. `reason` is the gravest finding's."""

    at_ns: int
    scope: str
    market: str | None
    """None where the scope is GLOBAL."""
    reason: str
    severity: Severity

    def as_json(self) -> JsonObject:
        """Return it as in the JSON object of a replay."""
        return {
            "at": format_time(self.at_ns),
            "scope": self.scope,
            "market": self.market,
            "reason": self.reason,
            "severity": self.severity.name,
        }


@dataclass(slots=True)
class FaultOutcome:
    """When the guard noticed a fault.

    It is noticed by the first rejected observation, opened breaker or denied check in one of its markets, up to its
    end; a check denied only because of the phase, a halt or warming is none. `checks_before_detection` counts the
    checks asked in its markets from its start until then.
    """

    fault: Fault
    detected_at_ns: int | None = None
    checks_before_detection: int = 0

    def as_json(self) -> JsonObject:
        """Return it as in the JSON object of a replay."""
        return {
            "kind": self.fault.kind,
            "markets": list(self.fault.markets),
            "at": format_time(self.fault.at_ns),
            "detected_at": None if self.detected_at_ns is None else format_time(self.detected_at_ns),
            "checks_before_detection": self.checks_before_detection,
        }


@dataclass(slots=True)
class ReplayResult:
    """The outcome of replaying one recording, or the total of several.

    `inputs` counts what the recording holds for the guard: observations, references, phases and checks. `decisions`
    counts every answer, those to retries included, and `denied_by_reason` each reason a denial carried.
    """

    inputs: int = 0
    checks: int = 0
    retries: int = 0
    checks_refused: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    denied_by_reason: Counter[str] = field(default_factory=Counter)
    observations_rejected: Counter[str] = field(default_factory=Counter)
    references_rejected: Counter[str] = field(default_factory=Counter)
    wrongful: Counter[str] = field(default_factory=Counter)
    genuine: Counter[str] = field(default_factory=Counter)
    trips: list[Trip] = field(default_factory=list)
    faults: list[FaultOutcome] = field(default_factory=list)
    examples: list[JsonObject] = field(default_factory=list)
    """Checks whose answer disagreed with their truth, at least at first; with the reasons of the first denial."""
    market_ns: int = 0
    halted_market_ns: int = 0
    digest: str = ""

    def as_json(self) -> JsonObject:
        """Return it as in the JSON object of a replay."""
        return {
            "inputs": self.inputs,
            "checks": self.checks,
            "retries": self.retries,
            "checks_refused": self.checks_refused,
            "decisions": {
                **{verdict.value: self.decisions[verdict] for verdict in Verdict},
                "denied_by_reason": _ranked(self.denied_by_reason),
            },
            "observations_rejected": _ranked(self.observations_rejected),
            "references_rejected": _ranked(self.references_rejected),
            "labelled": {
                label.value: {outcome: counts[outcome] for outcome in OUTCOMES}
                for label, counts in ((Label.WRONGFUL, self.wrongful), (Label.GENUINE, self.genuine))
            },
            "trips": [trip.as_json() for trip in self.trips],
            "faults": [fault.as_json() for fault in self.faults],
            "examples": self.examples,
            "market_seconds": self.market_ns / SECOND_NS,
            "halted_market_seconds": self.halted_market_ns / SECOND_NS,
            "digest": self.digest,
        }


def total(results: Sequence[ReplayResult]) -> ReplayResult:
    """Return the sum of several independent replays; its digest is that of their digests in order."""
    summed = ReplayResult()
    for result in results:
        add_to(summed, result)
    del summed.examples[EXAMPLES_MAX:]
    summed.digest = hashlib.sha256(summed.digest.encode()).hexdigest()
    return summed


def add_to(summed: Any, other: Any) -> None:
    """Add each field of a dataclass to that of another of its kind; lists and texts are joined."""
    for each in fields(summed):
        setattr(summed, each.name, getattr(summed, each.name) + getattr(other, each.name))


def _ranked(counts: Counter[str]) -> dict[str, int]:
    """Return the counts by size, then by name: a stable order."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


NO_SIGN_OF_A_FAULT = frozenset({PHASE_DENIES, OPERATOR_HALT, WARMING, UNKNOWN_MARKET, ACCOUNT_MARKET_HALTED})
"""Reasons to deny that say nothing about the data of the check's own market."""


class Asked(NamedTuple):
    """A check on its way to an outcome: the truth, how often it was asked again, and why it was denied at first."""

    original: LabelledCheck
    retries: int = 0
    first_reasons: tuple[str, ...] = ()


class Score:
    """Counts, trips, detections and halted time of one replay."""

    def __init__(self, markets: Iterable[str], start_ns: int) -> None:
        self.result = ReplayResult()
        self._start_ns = start_ns
        self._markets = frozenset(markets)
        self._halted: set[str] = set()
        self._counted_until_ns = start_ns
        self._faults: list[FaultOutcome] = []
        """The faults not yet noticed."""
        self._hash = hashlib.sha256()

    def add_fault(self, fault: Fault) -> None:
        """Take note of a fault that begins."""
        outcome = FaultOutcome(fault)
        self.result.faults.append(outcome)
        self._faults.append(outcome)

    def add_facts(self, facts: list[Fact]) -> None:
        """Count what an input brought about."""
        for fact in facts:
            if isinstance(fact, ReferenceJudged):
                if not fact.accepted:
                    self.result.references_rejected.update(enforced_reasons(fact.findings))
            elif isinstance(fact, ObservationJudged):
                if not fact.accepted:
                    self.result.observations_rejected.update(enforced_reasons(fact.findings))
                    self._detect(fact.market, fact.at_ns)
            elif isinstance(fact, BreakerChanged):
                self._breaker(fact)

    def add_decision(self, asked: Asked, decision: Decision) -> None:
        """Count one answer, to a check or to a retry of it."""
        result = self.result
        self._hash.update(canonical(decision))
        result.decisions[decision.verdict] += 1
        if asked.retries:
            result.retries += 1
        if decision.verdict is Verdict.DENY:
            reasons = enforced_reasons(decision.findings)
            result.denied_by_reason.update(reasons)
            if not NO_SIGN_OF_A_FAULT.issuperset(reasons):
                self._detect(decision.market, decision.at_ns)
        if not asked.retries:
            self._count_undetected(decision.market, decision.at_ns)

    def add_outcome(self, asked: Asked, *, allowed: bool) -> None:
        """Count how a labelled check ended."""
        check, label = asked.original.check, asked.original.label
        outcome = ("allow_on_retry" if asked.retries else "allow") if allowed else "deny"
        if label is None:
            return
        counts = self.result.wrongful if label is Label.WRONGFUL else self.result.genuine
        counts[outcome] += 1
        expected = "deny" if label is Label.WRONGFUL else "allow"
        if outcome != expected and len(self.result.examples) < EXAMPLES_MAX:
            self.result.examples.append(
                {
                    "at": format_time(check.at_ns),
                    "request_id": check.request_id,
                    "market": check.market,
                    "label": label.value,
                    "outcome": outcome,
                    "reasons": list(asked.first_reasons),
                }
            )

    def finish(self, end_ns: int) -> ReplayResult:
        """Close the books at the end of the recording."""
        self._count_halted(end_ns)
        self.result.market_ns = len(self._markets) * (end_ns - self._start_ns)
        self.result.digest = self._hash.hexdigest()
        return self.result

    def _breaker(self, fact: BreakerChanged) -> None:
        self._count_halted(fact.at_ns)
        if fact.after is BreakerState.CLOSED:
            self._halted.discard(fact.scope)
        else:
            self._halted.add(fact.scope)
        if fact.after is BreakerState.OPEN:
            market = None if fact.scope == GLOBAL_SCOPE else fact.scope
            severity = Severity.LATCH if fact.latched else Severity.TRIP
            gravest = max(fact.findings, key=lambda finding: finding.severity)
            self.result.trips.append(Trip(fact.at_ns, fact.scope, market, str(gravest.reason), severity))
            self._detect(fact.scope, fact.at_ns)

    def _count_halted(self, until_ns: int) -> None:
        """Add the time since the last change. A market is halted while its own breaker or GLOBAL is not CLOSED."""
        halted = self._markets if GLOBAL_SCOPE in self._halted else self._halted
        self.result.halted_market_ns += len(halted) * (until_ns - self._counted_until_ns)
        self._counted_until_ns = until_ns

    def _detect(self, market: str, at_ns: int) -> None:
        for outcome in self._faults:
            if at_ns <= outcome.fault.until_ns and market in (*outcome.fault.markets, GLOBAL_SCOPE):
                outcome.detected_at_ns = at_ns
        self._faults = [outcome for outcome in self._faults if outcome.detected_at_ns is None]

    def _count_undetected(self, market: str, at_ns: int) -> None:
        for outcome in self._faults:
            outcome.checks_before_detection += market in outcome.fault.markets and at_ns <= outcome.fault.until_ns


def enforced_reasons(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """Return the different reasons that denied or rejected, in the order they were found."""
    return tuple(dict.fromkeys(str(f.reason) for f in findings if f.severity >= Severity.DENY and not f.shadow))


def canonical(decision: Decision) -> bytes:
    """Return a decision as bytes that are equal exactly where decisions are equal."""
    findings = [
        [finding.reason, finding.severity.name, finding.subject, finding.observed, finding.limit, finding.shadow]
        for finding in decision.findings
    ]
    values = [
        decision.decision_id,
        decision.request_id,
        decision.account_id,
        decision.market,
        decision.kind,
        decision.at_ns,
        decision.verdict,
        decision.shadow_verdict,
        findings,
        decision.phase,
        decision.breaker,
        decision.policy_revision,
    ]
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"
