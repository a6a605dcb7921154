"""An incident as the journal has it: the evidence of a window, what follows from it, and the figures of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from circuit_guard.core.formatting import format_time
from circuit_guard.core.types import ARITHMETIC
from circuit_guard.journal.checkpoint import Checkpoint
from circuit_guard.journal.errors import JournalUnusable
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader
from circuit_guard.journal.record import Kind
from circuit_guard.report.closures import Assessment, Closure, closures
from circuit_guard.report.evidence import Corruption, Evidence, OrderSeen, Window
from circuit_guard.report.witness import NothingToReport, Witness, open_at

RECORDS_BETWEEN_REPORTS = 4096

Progress = Callable[[int, int], None]
"""Told now and then how many records are read, and how many there are at most."""


class Figures(NamedTuple):
    """What a set of closures comes to; amounts in quote currency."""

    closures: int
    accounts: int
    loss: Decimal
    beyond: Decimal
    """What was charged, or would have been, beyond what the accounts held."""


class RollbackPoint(NamedTuple):
    """The last checkpoint before the first corrupt value."""

    checkpoint: Checkpoint
    kept: bool
    """Whether the journal still has its state."""


@dataclass(frozen=True)
class Incident:
    """The evidence, and every closure with what became of it."""

    evidence: Evidence
    closures: tuple[Closure, ...]
    rollback: RollbackPoint | None
    """None where nothing was corrupt, or no checkpoint is before that."""

    def of(self, assessment: Assessment, *, allowed: bool) -> list[Closure]:
        """Return the closures that were assessed so, and allowed or denied."""
        return [c for c in self.closures if c.assessment is assessment and c.allowed is allowed]

    @cached_property
    def wrongful_allowed(self) -> list[Closure]:
        """The wrongful closures that were allowed: what there is to compensate."""
        return self.of(Assessment.WRONGFUL, allowed=True)

    @cached_property
    def wrongful_denied(self) -> list[Closure]:
        """The wrongful closures that were denied: what was prevented."""
        return self.of(Assessment.WRONGFUL, allowed=False)

    @cached_property
    def first(self) -> dict[str, Corruption]:
        """The first corruption of each market, in the order of time."""
        found: dict[str, Corruption] = {}
        for corruption in self.evidence.corruptions:
            found.setdefault(corruption.market, corruption)
        return found

    @cached_property
    def orders(self) -> list[OrderSeen]:
        """The orders that may rest and were judged since the rollback point, oldest first; all where there is none."""
        since_ns = 0 if self.rollback is None else self.rollback.checkpoint.at_ns
        return [seen for seen in self.evidence.orders.values() if seen.at_ns >= since_ns]


def figures(closures: Iterable[Closure]) -> Figures:
    """Return what closures come to."""
    listed = list(closures)
    with localcontext(ARITHMETIC):
        loss = sum((closure.loss for closure in listed), Decimal(0))
        beyond = sum((c.amounts.beyond for c in listed if c.amounts is not None and c.loss), Decimal(0))
    return Figures(len(listed), len({c.ask.check.account_id for c in listed}), loss, beyond)


def read_incident(directory: Path, window: Window, progress: Progress | None = None) -> Incident:
    """Return what the journal of a state directory has of a window; the guard may run meanwhile.

    Raise NothingToReport where it has nothing of it, or the inputs of its beginning are pruned; JournalUnusable for a
    journal that cannot be read or run again, RecordBroken for the first record that is not as it was written.
    """
    with JournalReader(directory) as reader:
        bounds = reader.bounds()
        last = max(bound.last.sequence for bound in bounds.values())
        opening = open_at(reader, window)
        begins_ns = max(window.from_ns, opening.checkpoint.at_ns)
        heads = {chain.value: bound.last.hash.hex() for chain, bound in bounds.items()}
        evidence = Evidence(window, begins_ns, begins_ns, heads, last, checkpoints=opening.checkpoints)
        witness = Witness(opening, directory / JOURNAL_NAME, evidence)
        ends_ns, covers = opening.checkpoint.at_ns, opening.checkpoint.covers
        expected = covers + 1
        for record in reader.records(expected):
            if record.sequence > last or (record.kind is Kind.INPUT and record.at_ns > window.to_ns):
                break
            if record.sequence not in (expected - 1, expected):  # one record may hold many checks
                problem = f"records {expected} to {record.sequence - 1} are gone: they were pruned while they were read"
                raise JournalUnusable(directory / JOURNAL_NAME, problem, "run it again")
            witness.take(record)
            expected = record.sequence + 1
            ends_ns = max(ends_ns, record.at_ns)
            if progress is not None and record.sequence % RECORDS_BETWEEN_REPORTS == 0:
                progress(record.sequence - covers, last - covers)
        evidence.ends_ns = min(max(ends_ns, begins_ns), window.to_ns)
        if not evidence.records:
            raise NothingToReport(_nothing(reader, window))
        witness.finish(evidence.ends_ns)
        rollback = _rollback(reader, evidence)
    return Incident(evidence, tuple(closures(evidence)), rollback)


def _nothing(reader: JournalReader, window: Window) -> str:
    """Return the sentence about an empty window: when the journal has records."""
    begins = next((record.at_ns for record in reader.records()), None)
    asked = f"no record is from {format_time(window.from_ns)} to {format_time(window.to_ns)}"
    if begins is None:
        return f"{asked}: the journal is empty"
    last = max(bound.last.sequence for bound in reader.bounds().values())
    ends = max(record.at_ns for record in reader.records(last))
    return f"{asked}; the journal has those from {format_time(begins)} to {format_time(ends)}"


def _rollback(reader: JournalReader, evidence: Evidence) -> RollbackPoint | None:
    first = next(iter(evidence.corruptions), None)
    before = [found for found in evidence.checkpoints if first is not None and found.covers < first.sequence]
    if not before or (first is not None and first.begun_before):
        return None
    point = max(before, key=lambda found: found.covers)
    whole = reader.checkpoint(point.sequence)
    return RollbackPoint(point, whole is not None and whole.text is not None)
