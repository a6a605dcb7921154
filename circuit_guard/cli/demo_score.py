"""The score of a demo: what the recording says is true, held against what the guard answered."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from circuit_guard.core.inputs import Observation
from circuit_guard.recording.format import Fault, Label, LabelledCheck


@dataclass(slots=True)
class FaultScore:
    """When the guard noticed a fault. `halted_before`: its markets were denied already when it began."""

    fault: Fault
    halted_before: bool
    published: Counter[str] = field(default_factory=Counter)
    """Observations of its markets since it began."""
    noticed_at_observation: int | None = None
    checks_before: int = 0

    def noticed(self) -> str:
        """Return when it was noticed, for the table."""
        if self.halted_before:
            return "denied already"
        if self.noticed_at_observation is None:
            return "not noticed"
        return f"observation {self.noticed_at_observation}"


@dataclass(slots=True)
class Score:
    """How labelled closures ended, and how soon faults were noticed."""

    outcomes: Counter[tuple[Label, bool]] = field(default_factory=Counter)
    """By label, and whether the closure was allowed in the end."""
    on_retry: int = 0
    asked: int = 0
    faults: list[FaultScore] = field(default_factory=list)

    def total(self, label: Label) -> int:
        """Return how many closures have this label."""
        return self.outcomes[label, True] + self.outcomes[label, False]

    def nothing_wrongful_allowed(self) -> bool:
        """Tell whether the guard did what it is there for."""
        return self.total(Label.WRONGFUL) > 0 and not self.outcomes[Label.WRONGFUL, True]

    def add_fault(self, fault: Fault, *, halted_before: bool) -> None:
        """Take note of a fault that begins."""
        self.faults.append(FaultScore(fault, halted_before))

    def add_observation(self, observed: Observation, *, rejected: bool) -> None:
        """Count an observation against the faults that are on."""
        for score in self._on(observed.market, observed.at_ns):
            score.published[observed.market] += 1
            if rejected and score.noticed_at_observation is None:
                score.noticed_at_observation = score.published[observed.market]

    def add_question(self, market: str, at_ns: int) -> None:
        """Count a question against the faults that are on and not yet noticed."""
        self.asked += 1
        for score in self._on(market, at_ns):
            score.checks_before += score.noticed_at_observation is None and not score.halted_before

    def add_outcome(self, asked: LabelledCheck, *, allowed: bool, retries: int) -> None:
        """Count how a closure ended, after its last retry."""
        if asked.label is not None:
            self.outcomes[asked.label, allowed] += 1
            self.on_retry += allowed and retries > 0

    def _on(self, market: str, at_ns: int) -> list[FaultScore]:
        return [
            score
            for score in self.faults
            if market in score.fault.markets and score.fault.at_ns <= at_ns <= score.fault.until_ns
        ]
