"""The outcome of an evaluation, and the one JSON object of it.

    recordings  their names
    faults      the kinds that were laid
    seeds       how many seeds each recording was run with
    policies    {guard: {file, revision}} of the guards that have one
    guards      [{guard, source, total, faults: {kind: tally}, examples}], the guard under evaluation first
    difference  with --against: {kind: {wrongful, genuine: {asked, allowed_only_by_policy, allowed_only_by_against},
                examples}}

`tally.Tally` says what each figure means. Amounts are text, in quote currency, to the cent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from circuit_guard.evaluation.peers import PEERS
from circuit_guard.evaluation.tally import Tally, total
from circuit_guard.evaluation.trial import Trial
from circuit_guard.recording.entries import Label
from circuit_guard.recording.fields import JsonObject, format_time

DIFFERENCES_SHOWN_MAX = 5
SOURCES = {peer.name: peer.source for peer in PEERS}


@dataclass(frozen=True, slots=True)
class PolicyUsed:
    """Which policy a guard judged by."""

    guard: str
    file: str
    revision: str


@dataclass(frozen=True, slots=True)
class GuardResult:
    """One judge: what it did with each kind of fault."""

    guard: str
    by_kind: Mapping[str, Tally]

    def total(self) -> Tally:
        """Return the sum over all kinds."""
        return total(self.by_kind.values())

    def as_json(self) -> JsonObject:
        """Return it as in the JSON object of an evaluation."""
        summed = self.total()
        return {
            "guard": self.guard,
            "source": SOURCES.get(self.guard, ""),
            "total": summed.as_json(),
            "faults": {kind: tally.as_json() for kind, tally in self.by_kind.items()},
            "examples": [example.as_json() for example in summed.examples],
        }


@dataclass(slots=True)
class Changed:
    """Closures of one label that both policies were asked about, and those that only one of them allowed."""

    asked: int = 0
    only_policy: int = 0
    only_against: int = 0

    def as_json(self) -> JsonObject:
        """Return it as in the JSON object of an evaluation."""
        return {
            "asked": self.asked,
            "allowed_only_by_policy": self.only_policy,
            "allowed_only_by_against": self.only_against,
        }


@dataclass(slots=True)
class Difference:
    """What the second policy would change, each closure by its outcome after being asked again."""

    changed: dict[Label, Changed] = field(default_factory=lambda: {label: Changed() for label in Label})
    examples: list[JsonObject] = field(default_factory=list)

    @staticmethod
    def between(policy: Trial, against: Trial) -> Difference:
        """Compare two trials of one run. A closure that only one of them came to ask about is left out."""
        difference = Difference()
        for closure in policy.run.closures:
            request_id = closure.check.request_id
            if request_id not in policy.allowed or request_id not in against.allowed:
                continue
            changed = difference.changed[closure.label]
            changed.asked += 1
            before, after = policy.allowed[request_id], against.allowed[request_id]
            if before == after:
                continue
            changed.only_policy += before
            changed.only_against += after
            difference.examples.append(
                {
                    "recording": policy.run.recording,
                    "seed": policy.run.seed,
                    "at": format_time(closure.at_ns),
                    "request_id": request_id,
                    "market": closure.check.market,
                    "label": closure.label.value,
                    "allowed_by": "policy" if before else "against",
                }
            )
        del difference.examples[DIFFERENCES_SHOWN_MAX:]
        return difference

    @staticmethod
    def total(differences: Iterable[Difference]) -> Difference:
        """Return the sum of several, with the first examples."""
        summed = Difference()
        for difference in differences:
            for label, changed in difference.changed.items():
                into = summed.changed[label]
                into.asked += changed.asked
                into.only_policy += changed.only_policy
                into.only_against += changed.only_against
            summed.examples += difference.examples
        del summed.examples[DIFFERENCES_SHOWN_MAX:]
        return summed

    def as_json(self) -> JsonObject:
        """Return it as in the JSON object of an evaluation."""
        return {**{label.value: self.changed[label].as_json() for label in Label}, "examples": self.examples}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that one evaluation found."""

    recordings: tuple[str, ...]
    kinds: tuple[str, ...]
    seeds: int
    policies: tuple[PolicyUsed, ...]
    guards: tuple[GuardResult, ...]
    differences: Mapping[str, Difference]
    """Empty where there was no second policy."""

    def as_json(self) -> JsonObject:
        """Return the JSON object of an evaluation; equal plans give equal objects."""
        result: JsonObject = {
            "recordings": list(self.recordings),
            "faults": list(self.kinds),
            "seeds": self.seeds,
            "policies": {used.guard: {"file": used.file, "revision": used.revision} for used in self.policies},
            "guards": [guard.as_json() for guard in self.guards],
        }
        if self.differences:
            result["difference"] = {kind: difference.as_json() for kind, difference in self.differences.items()}
        return result
