"""What every judge of an evaluation meets: a faulted feed and the closures asked for on it, in time order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from circuit_guard.core.inputs import Reference, Restarted, Tick
from circuit_guard.core.types import SECOND_NS
from circuit_guard.evaluation.feed import WARM_UP_NS, FaultedFeed
from circuit_guard.evaluation.judge import Told
from circuit_guard.evaluation.population import Closure


@dataclass(frozen=True, slots=True)
class Run:
    """A faulted feed and the closures on it, in the order in which a judge meets them, second by second."""

    recording: str
    seed: int
    """The seed that the evaluation was asked for; the fault's own is derived from it."""
    faulted: FaultedFeed
    closures: tuple[Closure, ...]
    timeline: tuple[Told | Closure, ...]
    timeline_without_references: tuple[Told | Closure, ...]

    @staticmethod
    def of(recording: str, seed: int, faulted: FaultedFeed, closures: Sequence[Closure]) -> Run:
        """Put everything in time order: at one instant time passes first, and closures are asked for last.

        While the guard warms up nobody is asked: an account that goes under water then was closed before.
        """
        start_ns, end_ns = faulted.honest.start_ns, faulted.honest.end_ns
        warm_ns = start_ns + WARM_UP_NS
        gone = {closure.check.account_id for closure in closures if closure.at_ns < warm_ns}
        first_ns = start_ns - start_ns % SECOND_NS + SECOND_NS
        ticks = [Tick(at_ns) for at_ns in range(first_ns, end_ns, SECOND_NS)]
        restarts = [Restarted(at_ns) for at_ns in faulted.restarts_ns]
        asked = [
            closure
            for closure in closures
            if warm_ns <= closure.at_ns <= end_ns and closure.check.account_id not in gone
        ]
        timeline: list[Told | Closure] = [*ticks, *restarts, *faulted.published, *asked]
        timeline.sort(key=lambda item: item.at_ns)
        without = (item for item in timeline if not isinstance(item, Reference))
        return Run(recording, seed, faulted, tuple(asked), tuple(timeline), tuple(without))
