"""What an evaluation asks of whoever stands before a closure; and the guard's own answer: its core, nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from circuit_guard.core.facts import CheckRefused, DecisionMade, Fact, ObservationJudged
from circuit_guard.core.guard import decide, new_state, step
from circuit_guard.core.inputs import Check, Observation, PhaseCommand, Reference, Restarted, Tick
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import BreakerState, Verdict
from circuit_guard.recording.score import NO_SIGN_OF_A_FAULT, enforced_reasons

Told = Observation | Reference | PhaseCommand | Tick | Restarted
GUARD_DOWN = "guard_down"


class Answer(NamedTuple):
    """The answer to one check."""

    allowed: bool
    doubts: bool = False
    """Whether it says that something is wrong with the data of the check's market."""
    reasons: tuple[str, ...] = ()


class Judge(Protocol):
    """Anybody who says whether a forced closure may go ahead, knowing only what is published and what is asked."""

    @property
    def name(self) -> str:
        """What it is called in results."""
        ...

    @property
    def hears_references(self) -> bool:
        """Whether it is told references at all; they are most of what is published."""
        ...

    def tell(self, told: Told) -> bool:
        """Take what was published, or that time has passed. Return False for an observation it does not believe."""
        ...

    def ask(self, check: Check) -> Answer:
        """Answer one check."""
        ...

    def halted(self, market: str) -> bool:
        """Return whether the market is held by something that outlasts the value that caused it: a trip, a pause."""
        ...


class GuardJudge:
    """circuit_guard's core under one policy, from a cold start. It is away while `down_ns`, and then nothing passes."""

    hears_references = True

    def __init__(self, name: str, policy: Policy, start_ns: int, down_ns: Sequence[tuple[int, int]] = ()) -> None:
        self.name = name
        self.policy = policy
        self.state = new_state(policy, start_ns)
        self._down_ns = down_ns

    def tell(self, told: Told) -> bool:
        """Feed the core; what it was not there to hear it does not know."""
        if self._down_ns and self._is_down(told.at_ns):
            return True
        return not _disbelieved(step(self.state, told, self.policy))

    def ask(self, check: Check) -> Answer:
        """Ask the core; without a guard the engine's client denies."""
        if self._down_ns and self._is_down(check.at_ns):
            return Answer(allowed=False, reasons=(GUARD_DOWN,))
        for fact in decide(self.state, check, self.policy):
            if isinstance(fact, CheckRefused):
                return Answer(allowed=False, reasons=("refused",))
            if isinstance(fact, DecisionMade):
                if fact.decision.verdict is Verdict.ALLOW:
                    return Answer(allowed=True)
                reasons = enforced_reasons(fact.decision.findings)
                return Answer(allowed=False, doubts=not NO_SIGN_OF_A_FAULT.issuperset(reasons), reasons=reasons)
        raise AssertionError(f"no decision for {check.request_id}")

    def halted(self, market: str) -> bool:
        """Return whether the breaker of the market or GLOBAL is not CLOSED, as `replay` counts it."""
        closed, state = BreakerState.CLOSED, self.state
        return state.markets[market].breaker.state is not closed or state.global_breaker.state is not closed

    def _is_down(self, at_ns: int) -> bool:
        return any(from_ns <= at_ns < until_ns for from_ns, until_ns in self._down_ns)


def _disbelieved(facts: Iterable[Fact]) -> bool:
    return any(isinstance(fact, ObservationJudged) and not fact.accepted for fact in facts)
