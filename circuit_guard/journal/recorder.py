"""What the engine records of each input: the input itself, what it changed, and the decision it led to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from circuit_guard.core.facts import (
    ActProposed,
    BreakerChanged,
    CommandRefused,
    DecisionMade,
    Fact,
    HaltChanged,
    MaintenanceBegan,
    MaintenanceEnded,
    MarketReopened,
    MarketWarm,
    PhaseChanged,
    PolicyChanged,
    Rebaselined,
    StateValidated,
)
from circuit_guard.core.inputs import Check, Input, OrdersCheck, Tick
from circuit_guard.core.policy import Policy
from circuit_guard.core.state import GuardState
from circuit_guard.journal.checkpoint import Checkpoint
from circuit_guard.journal.errors import CheckpointGone
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.record import Entry, Start, fact_entry, input_entry, policy_entry, start_entry

PROMISED = (
    BreakerChanged,
    HaltChanged,
    PhaseChanged,
    PolicyChanged,
    MaintenanceBegan,
    StateValidated,
    MaintenanceEnded,
    Rebaselined,
    ActProposed,
)
"""These facts are on the disk before they are announced."""
RECORDED = (*PROMISED, CommandRefused, MarketReopened, MarketWarm)


def promise_anything(facts: Sequence[Fact]) -> bool:
    """Return whether any of the facts must be on the disk before it is announced."""
    return any(isinstance(fact, PROMISED) for fact in facts)


class Recorder:
    """Records what happens to the one guard that holds the journal. Every method raises JournalFailed after one."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def start(self, start: Start) -> None:
        """Record that a process begins to write."""
        self._journal.append((start_entry(start),))

    def policy(self, policy: Policy, at_ns: int) -> None:
        """Record a policy before the command that puts it into force."""
        self._journal.append((policy_entry(policy, at_ns),))

    def record(self, input_: Input | Check | OrdersCheck, facts: Sequence[Fact]) -> None:
        """Record an input and what came of it. Ticks are left out: decisions never depend on them."""
        self._journal.append(_entries(input_, facts))

    async def room(self) -> None:
        """Return once there is room for another input."""
        await self._journal.room()

    async def checkpoint(self, state: GuardState, policy: Policy, name: str) -> Checkpoint:
        """Record the state as it is now, and return once it is on the disk."""
        return await self._journal.checkpoint(state, policy, name)

    def recorded_checkpoint(self, sequence: int) -> Checkpoint | None:
        """Return the checkpoint of that sequence with its state, None where there is none. Waits for the disk.

        Raise CheckpointGone where retention has dropped the state, JournalUnusable where the file cannot be read.
        """
        with self._journal.reader() as reader:
            checkpoint = reader.checkpoint(sequence)
        if checkpoint is not None and checkpoint.text is None:
            problem = "its state was dropped by retention, which keeps the last ten, then one an hour, and named ones"
            raise CheckpointGone(sequence, problem, "name another one, of about that time")
        return checkpoint

    async def durable(self) -> None:
        """Return once all that was recorded is on the disk."""
        await self._journal.durable(self._journal.status().last_sequence)


def _entries(input_: Input | Check | OrdersCheck, facts: Sequence[Fact]) -> Iterator[Entry]:
    if not isinstance(input_, Tick):
        yield input_entry(input_)
    for fact in facts:
        if isinstance(fact, RECORDED) or (isinstance(fact, DecisionMade) and not fact.repeated):
            yield fact_entry(fact)
