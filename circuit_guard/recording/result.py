"""The outcome of a replay: what was decided, how that compares with the truth, and the one JSON object of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from circuit_guard.core.types import SECOND_NS, Severity, Verdict
from circuit_guard.recording.entries import Fault, Label
from circuit_guard.recording.fields import JsonObject, format_time

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


@dataclass(frozen=True, slots=True)
class Example:
    """A check whose answer disagreed with its truth, at least at first, for a person to look into."""

    at_ns: int
    request_id: str
    market: str
    label: Label
    outcome: str
    reasons: tuple[str, ...]
    """Why it was denied when first asked."""

    def as_json(self) -> JsonObject:
        """Return it as in the JSON object of a replay."""
        return {
            "at": format_time(self.at_ns),
            "request_id": self.request_id,
            "market": self.market,
            "label": self.label.value,
            "outcome": self.outcome,
            "reasons": list(self.reasons),
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
    examples: list[Example] = field(default_factory=list)
    market_ns: int = 0
    halted_market_ns: int = 0
    digest: str = ""

    def as_json(self) -> JsonObject:
        """Return the JSON object of a replay."""
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
            "examples": [example.as_json() for example in self.examples],
            "market_seconds": self.market_ns / SECOND_NS,
            "halted_market_seconds": self.halted_market_ns / SECOND_NS,
            "digest": self.digest,
        }


def total(results: Sequence[ReplayResult]) -> ReplayResult:
    """Return the sum of several independent replays; its digest is that of their digests in order."""
    summed = ReplayResult()
    for field_ in fields(ReplayResult):
        if field_.name != "digest":
            for result in results:
                setattr(summed, field_.name, getattr(summed, field_.name) + getattr(result, field_.name))
    summed.examples = summed.examples[:EXAMPLES_MAX]
    summed.digest = hashlib.sha256("".join(result.digest for result in results).encode()).hexdigest()
    return summed


def _ranked(counts: Counter[str]) -> dict[str, int]:
    """Return the counts by size, then by name: a stable order."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
