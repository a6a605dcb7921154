"""From the journal back to the state: the last checkpoint, and every input after it run again.

A run is the same function of the same inputs, so what comes out is the state that the records were made in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from circuit_guard.core import guard
from circuit_guard.core.facts import DecisionMade, Fact
from circuit_guard.core.inputs import Check, Input, OrdersCheck, PolicyCommand
from circuit_guard.core.permit import admit, asked_of, check_of, decision_of
from circuit_guard.core.policy import Policy
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import AllowedCheck
from circuit_guard.journal.checkpoint import Checkpoint
from circuit_guard.journal.codec import CodecError, decode, decode_as
from circuit_guard.journal.errors import JournalUnusable
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader
from circuit_guard.journal.record import ChecksAllowed, Kind, ObservationsTaken, Record, ReferencesTaken, of_allowed

REMEDY = "run the version of circuit_guard that wrote it, or start with an empty state directory"


@dataclass(slots=True)
class Rerun:
    """The core run again over records, under the policies that were in force."""

    state: GuardState
    policy: Policy
    inputs: int = 0
    announced: Policy | None = None
    """A recorded policy that its command has not put into force yet: a crash may come between the two."""

    def take(self, record: Record) -> list[Fact]:
        """Take the next record in order and return what it makes happen; only inputs make anything happen."""
        if record.kind is Kind.POLICY:
            self.announced = decode_as(Policy, record.payload)
        if of_allowed(record):
            return [fact for one in decode_as(ChecksAllowed, record.payload).checks for fact in self.allow(one)]
        if record.kind is not Kind.INPUT:
            return []
        value = decode(record.payload)
        if isinstance(value, ObservationsTaken | ReferencesTaken):
            return [fact for item in value.items for fact in self.run(item)]
        return self.run(value)

    def allow(self, recorded: AllowedCheck) -> list[Fact]:
        """Run a check again that a permit allowed: by the permit, and by all rules where that does not allow it."""
        self.inputs += 1
        asked = asked_of(recorded)
        allowed = admit(self.state, self.policy, asked, recorded.at_ns)
        if allowed is None:
            return apply(self.state, check_of(recorded), self.policy)
        return [DecisionMade(allowed.at_ns, decision_of(allowed))]

    def run(self, input_: object) -> list[Fact]:
        """Run one recorded input, and return what it makes happen."""
        self.inputs += 1
        if isinstance(input_, PolicyCommand) and self.announced is not None:
            self.policy, self.announced = self.announced, None
        return apply(self.state, input_, self.policy)


def apply(state: GuardState, value: object, policy: Policy) -> list[Fact]:
    """Feed one recorded input to the core."""
    match value:
        case Check():
            return guard.decide(state, value, policy)
        case OrdersCheck():
            return guard.decide_orders(state, value, policy)
        case _:
            input_: Input = value  # type: ignore[assignment]  # an INPUT record holds nothing else
            return guard.step(state, input_, policy)


def rerun_from(checkpoint: Checkpoint, path: Path) -> Rerun:
    """Return a run that stands at a checkpoint. Raise JournalUnusable where its state cannot be read any more."""
    try:
        content = checkpoint.content()
    except (CodecError, ValueError) as error:
        raise JournalUnusable(path, f"checkpoint {checkpoint.sequence} cannot be read: {error}", REMEDY) from error
    return Rerun(content.state, content.policy)


def recover(directory: Path) -> Rerun | None:
    """Return the state that a journal leads to, or None where it holds none yet.

    Raise JournalUnusable, and RecordBroken for the first record that is not as it was written.
    """
    path = directory / JOURNAL_NAME
    with JournalReader(directory) as reader:
        checkpoint = reader.last_checkpoint()
        if checkpoint is None:
            return None
        rerun, covers = rerun_from(checkpoint, path), checkpoint.covers
        del checkpoint  # and with it the text of its state
        for record in reader.stored(covers + 1, (Kind.INPUT, Kind.POLICY)):
            with rerun_errors(record, path):
                rerun.take(record)
    return rerun


@contextmanager
def rerun_errors(record: Record, path: Path) -> Iterator[None]:
    """Raise JournalUnusable with the record for any error: a forged or foreign one may do anything to the core."""
    try:
        yield
    except Exception as error:
        problem = f"record {record.sequence} cannot be run again ({type(error).__name__}: {error})"
        raise JournalUnusable(path, problem, REMEDY) from error
