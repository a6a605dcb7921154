"""When a judge notices that something is wrong: counted in observations believed and closures allowed until then."""

from __future__ import annotations

from circuit_guard.core.inputs import Observation
from circuit_guard.evaluation.judge import Answer
from circuit_guard.evaluation.tally import Tally
from circuit_guard.recording.entries import Fault


class Noticing:
    """Watches one fault. It is noticed by the first observation of its markets that is not believed, or by the first
    closure denied there with doubts about its data, from its beginning to its end.
    """

    def __init__(self, fault: Fault | None) -> None:
        self._fault = fault
        self._noticed = False
        self._observations = 0
        self._closures = 0

    def observed(self, observation: Observation, *, believed: bool) -> None:
        """Take an observation that was believed or not."""
        if self._watching(observation.market, observation.at_ns):
            self._observations += believed
            self._noticed = not believed

    def answered(self, market: str, at_ns: int, answer: Answer) -> None:
        """Take an answer to a check, or to a retry of it."""
        if self._watching(market, at_ns):
            self._closures += answer.allowed
            self._noticed = answer.doubts

    def report(self, tally: Tally) -> None:
        """Write what was counted into a tally."""
        if self._fault is None:
            return
        tally.faults += 1
        if self._noticed:
            tally.observations_before.append(self._observations)
            tally.closures_before.append(self._closures)

    def _watching(self, market: str, at_ns: int) -> bool:
        fault = self._fault
        if fault is None or self._noticed or market not in fault.markets:
            return False
        return fault.at_ns <= at_ns <= fault.until_ns
