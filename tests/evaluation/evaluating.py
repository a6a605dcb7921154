"""What the tests of an evaluation share: a small recording, a run on it, and judges with a mind of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from circuit_guard.core.inputs import Check, Reference
from circuit_guard.evaluation.faults import lay
from circuit_guard.evaluation.judge import Answer, Told
from circuit_guard.evaluation.population import Closure, accounts, closures
from circuit_guard.evaluation.trial import Run
from circuit_guard.recording.file import write_recording
from circuit_guard.recording.format import Entry, Header
from tests.evaluation.honest_feed import MARKETS, VENUES, honest_entries, honest_feed

FEED = honest_feed(markets=3)
POPULATION = accounts(FEED, 1, 80)


class Puppet:
    """A judge that allows a closure from the nth question on; 0 is never. It halts the markets it is told to."""

    hears_references = True

    def __init__(self, name: str, allows_from: int, halted: Iterable[str] = ()) -> None:
        self.name = name
        self.asked: list[str] = []
        self._allows_from = allows_from
        self._halted = set(halted)
        self._counts: dict[str, int] = {}

    def tell(self, told: Told) -> bool:
        del told
        return True

    def ask(self, check: Check) -> Answer:
        self.asked.append(check.request_id)
        request_id = check.request_id.partition("#")[0]
        count = self._counts[request_id] = self._counts.get(request_id, 0) + 1
        return Answer(allowed=0 < self._allows_from <= count)

    def halted(self, market: str) -> bool:
        return market in self._halted


def run_of(kind: str, seed: int = 0) -> Run:
    """Return a fault on the small feed, with what an engine asks."""
    faulted = lay(kind, FEED, seed)
    return Run.of("made-up", seed, faulted, closures(faulted, POPULATION))


def with_closures(run: Run, asked: Iterable[Closure]) -> Run:
    """Return the run with other closures on it."""
    return Run.of(run.recording, run.seed, run.faulted, list(asked))


def moved(closure: Closure, **values: object) -> Closure:
    """Return a closure with some of its truth replaced."""
    return replace(closure, **values)  # type: ignore[arg-type]


def write_honest(
    folder: Path, name: str = "honest.jsonl", seed: int = 1, extra: Iterable[Entry] = (), venues: int = len(VENUES)
) -> Path:
    """Write a recording of three markets, ten minutes, without a fault, and return its path."""
    path = folder / name
    heard = [
        entry
        for entry in honest_entries(seed, markets=3, seconds=600)
        if not isinstance(entry, Reference) or entry.source in VENUES[:venues]
    ]
    entries = sorted((*heard, *extra), key=lambda entry: entry.at_ns)
    write_recording(path, Header(markets=dict.fromkeys(MARKETS[:3], Decimal("0.02"))), entries)
    return path
