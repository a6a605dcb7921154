"""The outcome of an evaluation: a tally per guard and kind of fault, and the one JSON object of it all.

    recordings  their names
    faults      the kinds that were laid
    seeds       how many seeds each recording was run with
    dispersion  how far venues part: recorded, or real
    as_recorded with real dispersion: the recordings of which a window kept its venues, as it has fewer than three
    policies    {guard: {file, revision}} of the guards that have one
    guards      [{guard, source, total, faults: {kind: tally}, examples}], the guard under evaluation first
    difference  with --against: {kind: {wrongful, genuine: {asked, allowed_only_by_policy, allowed_only_by_against},
                examples}}

`Tally` says what each figure means. Amounts are text, in quote currency, to the cent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal, localcontext
from statistics import median
from typing import Any

from circuit_guard.core.types import ARITHMETIC, SECOND_NS
from circuit_guard.evaluation.dispersion import Dispersion
from circuit_guard.evaluation.peers import PEERS
from circuit_guard.recording.format import JsonObject, Label
from circuit_guard.recording.score import add_to

EXAMPLES_MAX = 20
CENT = Decimal("0.01")


@dataclass(slots=True)
class Tally:
    """The counts of one or many runs. Amounts are in quote currency.

    Wrongful closures are those of accounts that are truly above water. An allowed one is inside the limit where its
    true surplus is below what the guard under evaluation cannot see in principle (`judge.hidden_max`, the same for
    every judge), and its loss is what the account lost. Genuine ones are allowed at once, or on asking again within
    12 s, or denied; they lapse where the engine no longer wants them before that.
    """

    runs: int = 0
    wrongful: int = 0
    wrongful_beyond: int = 0
    """Of those asked for, how many have a true surplus that is not inside the limit."""
    wrongful_inside: int = 0
    loss_inside: Decimal = Decimal(0)
    wrongful_outside: int = 0
    loss_outside: Decimal = Decimal(0)
    wrongful_while_halted: int = 0
    """Of those allowed, how many in a market that was halted."""
    genuine: int = 0
    genuine_at_once: int = 0
    genuine_on_retry: int = 0
    genuine_denied: int = 0
    genuine_lapsed: int = 0
    halted_asked: int = 0
    """Genuine closures first asked for while their market was halted ..."""
    halted_allowed: int = 0
    """... and how many of them were allowed, at once or on asking again."""
    halted_tainted: int = 0
    """How many of them stay denied as their account was settled with a wrong index, which no value can explain."""
    faults: int = 0
    observations_before: list[int] = field(default_factory=list)
    """For each fault that was noticed, how many observations of its markets had been believed since it began."""
    closures_before: list[int] = field(default_factory=list)
    """For each fault that was noticed, how many closures had been allowed in its markets since it began."""
    honest_trips: int = 0
    """Markets halted although nothing was wrong with their data; where a fault halts everything, that is one GLOBAL act
    and none of these."""
    halted_market_ns: int = 0
    market_ns: int = 0
    bad_debt: Decimal = Decimal(0)
    """What holding genuine closures cost: by how much their true surplus fell from the first question to the answer
    that let them through. One still denied after 12 s counts until its market is no longer halted; where it was not
    halted, until the engine no longer wants it; at most until the end of the run."""
    examples: list[dict[str, Any]] = field(default_factory=list)
    """Answers that went wrong, as JSON objects with what it takes to lay the same fault again.

    `outcome` is `allowed_outside_limit`, `denied` or `allowed_on_retry`; `limit` the envelope's limit for this account,
    None where there was no envelope; `reasons` why it was denied when first asked.
    """

    def as_json(self) -> JsonObject:
        """Return it as in the JSON object of an evaluation."""
        return {
            "runs": self.runs,
            "wrongful": {
                "asked": self.wrongful,
                "asked_outside_limit": self.wrongful_beyond,
                "denied": self.wrongful - self.wrongful_inside - self.wrongful_outside,
                "allowed_inside_limit": self.wrongful_inside,
                "loss_inside_limit": quote(self.loss_inside),
                "allowed_outside_limit": self.wrongful_outside,
                "loss_outside_limit": quote(self.loss_outside),
                "allowed_while_halted": self.wrongful_while_halted,
            },
            "genuine": {
                "asked": self.genuine,
                "allowed_at_once": self.genuine_at_once,
                "allowed_on_retry": self.genuine_on_retry,
                "denied": self.genuine_denied,
                "lapsed": self.genuine_lapsed,
                "asked_while_halted": self.halted_asked,
                "allowed_while_halted": self.halted_allowed,
                "tainted_while_halted": self.halted_tainted,
            },
            "detection": {
                "faults": self.faults,
                "noticed": len(self.observations_before),
                "observations_before": _spread(self.observations_before),
                "closures_before": _spread(self.closures_before),
            },
            "trips_on_honest_data": self.honest_trips,
            "halted_market_seconds": self.halted_market_ns / SECOND_NS,
            "market_seconds": self.market_ns / SECOND_NS,
            "bad_debt_while_held": quote(self.bad_debt),
        }

    @property
    def recall(self) -> float | None:
        """Return the share of the wrongful closures outside the limit that were not allowed; None without any."""
        return 1 - self.wrongful_outside / self.wrongful_beyond if self.wrongful_beyond else None

    @property
    def genuine_held(self) -> float | None:
        """Return the share of genuine closures still denied after 12 s; None without any."""
        return self.genuine_denied / self.genuine if self.genuine else None


def total(tallies: Iterable[Tally]) -> Tally:
    """Return the sum, with the first examples, those of wrongful closures before all others."""
    summed = Tally()
    with localcontext(ARITHMETIC):
        for tally in tallies:
            add_to(summed, tally)
            summed.examples.sort(key=lambda example: example["label"] == Label.GENUINE)
            del summed.examples[EXAMPLES_MAX:]
    return summed


def quote(amount: Decimal) -> str:
    """Return an amount to the cent."""
    return str(amount.quantize(CENT))


def _spread(values: Sequence[int]) -> JsonObject:
    return {"median": median(values) if values else None, "max": max(values, default=None)}


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
            "examples": summed.examples,
        }


@dataclass(slots=True)
class Changed:
    """Closures of one label that both policies were asked about, and those that only one of them allowed."""

    asked: int = 0
    allowed_only_by_policy: int = 0
    allowed_only_by_against: int = 0


@dataclass(slots=True)
class Difference:
    """What the second policy would change, each closure by its outcome after being asked again."""

    changed: dict[Label, Changed] = field(default_factory=lambda: {label: Changed() for label in Label})
    examples: list[JsonObject] = field(default_factory=list)

    @staticmethod
    def total(differences: Iterable[Difference]) -> Difference:
        """Return the sum of several, with the first examples."""
        summed = Difference()
        for difference in differences:
            for label, changed in difference.changed.items():
                add_to(summed.changed[label], changed)
            summed.examples += difference.examples
        del summed.examples[DIFFERENCES_SHOWN_MAX:]
        return summed

    def as_json(self) -> JsonObject:
        """Return it as in the JSON object of an evaluation."""
        return {**{label.value: asdict(self.changed[label]) for label in Label}, "examples": self.examples}


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
    dispersion: Dispersion = Dispersion.RECORDED
    as_recorded: tuple[str, ...] = ()
    """The recordings of which a window has its venues as recorded."""

    def as_json(self) -> JsonObject:
        """Return the JSON object of an evaluation; equal plans give equal objects."""
        result: JsonObject = {
            "recordings": list(self.recordings),
            "faults": list(self.kinds),
            "seeds": self.seeds,
            "dispersion": self.dispersion.value,
            "policies": {used.guard: {"file": used.file, "revision": used.revision} for used in self.policies},
            "guards": [guard.as_json() for guard in self.guards],
        }
        if self.dispersion is Dispersion.REAL:
            result["as_recorded"] = list(self.as_recorded)
        if self.differences:
            result["difference"] = {kind: difference.as_json() for kind, difference in self.differences.items()}
        return result
