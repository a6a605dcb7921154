"""What the journal is made of: records, and the hash that chains each to the one before it.

There are two chains, because they are kept for different times: `recorder` holds the inputs, `audit` everything else.
Sequences are counted over both, so that the order of all that happened is kept, and a hole in either is seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from circuit_guard.core.facts import (
    ActProposed,
    BreakerChanged,
    ClockChanged,
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
from circuit_guard.core.inputs import (
    Account,
    Check,
    Input,
    Observation,
    OrdersCheck,
    Reference,
    Tick,
    ValidateState,
)
from circuit_guard.core.policy import Policy
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import AllowedCheck

ENTRY_BYTES = 1_000
HOLDING_BYTES = 700
ALLOWED_BYTES = 500
REFERENCE_BYTES = 500
"""About what an entry takes while it waits, and what is added by each position, order, row or finding in it; by each
check that a permit allowed; and by each reference of many. An observation of many takes as much as an entry."""
TAKEN_MAX = 1_000
"""The most market data in one record."""

GENESIS = bytes(32)
"""The hash before the first record of a chain."""


class Kind(StrEnum):
    """What a record holds."""

    START = "START"
    POLICY = "POLICY"
    INPUT = "INPUT"
    FACT = "FACT"
    DECISION = "DECISION"
    CHECKPOINT = "CHECKPOINT"


class Chain(StrEnum):
    """The chain that a record belongs to."""

    RECORDER = "recorder"
    AUDIT = "audit"


def chain_of(kind: Kind) -> Chain:
    """Return the chain that records of this kind belong to."""
    return Chain.RECORDER if kind is Kind.INPUT else Chain.AUDIT


@dataclass(frozen=True, slots=True)
class Start:
    """A process began to write."""

    at_ns: int
    program_version: str
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class DecisionsDropped:
    """The decisions that overflow `drop` left unrecorded since the last such note."""

    at_ns: int
    """When the last of them was made."""
    count: int


@dataclass(frozen=True, slots=True)
class ChecksAllowed:
    """Checks that permits allowed one right after the other: both the inputs and their decisions, in one record."""

    checks: tuple[AllowedCheck, ...]


@dataclass(frozen=True, slots=True)
class ObservationsTaken:
    """Observations that came together, in the order in which they were taken."""

    items: tuple[Observation, ...]


@dataclass(frozen=True, slots=True)
class ReferencesTaken:
    """References that came together, in the order in which they were taken."""

    items: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class JournalAdopted:
    """An operator took a journal for what it is, though its anchor or its lock file says that something is missing."""

    at_ns: int
    actor: str
    seconded_by: str
    """The second actor, where the policy in force wanted two to resume."""
    reason: str
    problem: str
    """What is missing, as it was found."""


class Entry(NamedTuple):
    """Something to be recorded. It must not change any more: it is encoded later, by the writer."""

    kind: Kind
    at_ns: int
    scope: str
    """A market, GLOBAL, or the name of a checkpoint; empty for what concerns no single one."""
    value: object


class Record(NamedTuple):
    """Something recorded; the payload is the encoded value."""

    sequence: int
    kind: Kind
    at_ns: int
    scope: str
    payload: str


@dataclass(frozen=True, slots=True)
class CheckpointContent:
    """What a checkpoint holds: the state, and the policy that it was reached under. Recorded by the name `Snapshot`."""

    state: GuardState
    policy: Policy


@dataclass(frozen=True, slots=True)
class CheckpointNote:
    """What the record of a checkpoint says: which record it comes after, and the SHA-256 of the text of its content."""

    covers: int
    digest: str


class PackedCheckpoint(NamedTuple):
    """A checkpoint as it is stored: its note, and the compressed text of its content."""

    note: CheckpointNote
    body: bytes


def input_entry(input_: Input | Check | OrdersCheck) -> Entry:
    """Return the entry of an input."""
    return Entry(Kind.INPUT, input_.at_ns, _scope(input_), input_)


def fact_entry(fact: Fact) -> Entry:
    """Return the entry of a fact; an answered check is a DECISION."""
    if isinstance(fact, DecisionMade):
        return Entry(Kind.DECISION, fact.at_ns, _scope(fact.decision), fact)
    return Entry(Kind.FACT, fact.at_ns, _scope(fact), fact)


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
RECORDED = (*PROMISED, CommandRefused, MarketReopened, MarketWarm, ClockChanged)
_PROMISED, _RECORDED = frozenset(PROMISED), frozenset(RECORDED)


def items_in(entry: Entry) -> int:
    """Return how many records an entry stands for: market data that came together, or one."""
    *_, value = entry
    return len(value.items) if isinstance(value, ObservationsTaken | ReferencesTaken) else 1


def estimated_bytes(entry: Entry) -> int:
    """Return about how much memory an entry takes, without encoding it."""
    *_, value = entry
    match value:
        case Check(account=Account() as account):
            return ENTRY_BYTES + HOLDING_BYTES * (len(account.positions) + len(account.assets))
        case DecisionMade():
            return ENTRY_BYTES + HOLDING_BYTES * len(value.decision.findings)
        case OrdersCheck():
            return ENTRY_BYTES + HOLDING_BYTES * len(value.orders)
        case ValidateState():
            return ENTRY_BYTES + HOLDING_BYTES * len(value.rows)
        case StateValidated():
            return ENTRY_BYTES + HOLDING_BYTES * len(value.outcomes)
        case ChecksAllowed():
            return ENTRY_BYTES + ALLOWED_BYTES * len(value.checks)
        case ObservationsTaken():
            return ENTRY_BYTES * len(value.items)
        case ReferencesTaken():
            return ENTRY_BYTES + REFERENCE_BYTES * len(value.items)
        case PackedCheckpoint():
            return ENTRY_BYTES + len(value.body)
    return ENTRY_BYTES


def allowed_entry(checks: Sequence[AllowedCheck]) -> Entry:
    """Return the entry of checks that permits allowed; a DECISION, and as no input may be lost, never dropped."""
    return Entry(Kind.DECISION, checks[-1].at_ns, "", ChecksAllowed(tuple(checks)))


def taken_entries(items: Sequence[Observation] | Sequence[Reference]) -> Iterator[Entry]:
    """Yield the entries of market data of one kind that came together: one entry for as many as a record may hold."""
    for start in range(0, len(items), TAKEN_MAX):
        some = items[start : start + TAKEN_MAX]
        if len(some) == 1:
            yield input_entry(some[0])
            continue
        observations = tuple(one for one in some if isinstance(one, Observation))
        references = tuple(one for one in some if isinstance(one, Reference))
        taken = ObservationsTaken(observations) if observations else ReferencesTaken(references)
        yield Entry(Kind.INPUT, some[-1].at_ns, "", taken)


_TAKEN = tuple(f'{{"{kind.__name__}":' for kind in (ObservationsTaken, ReferencesTaken))
_ALLOWED = f'{{"{ChecksAllowed.__name__}":'


def promise_anything(facts: Sequence[Fact]) -> bool:
    """Return whether any of the facts must be on the disk before it is announced."""
    return not _PROMISED.isdisjoint(map(type, facts))


def entries_of(input_: Input | Check | OrdersCheck, facts: Sequence[Fact]) -> Iterator[Entry]:
    """Yield what is recorded of an input and its facts. Ticks are left out: decisions never depend on them."""
    if not isinstance(input_, Tick):
        yield input_entry(input_)
    yield from fact_entries(facts)


def fact_entries(facts: Iterable[Fact]) -> Iterator[Entry]:
    """Yield what is recorded of facts."""
    for fact in facts:
        kind = type(fact)
        if kind in _RECORDED or (isinstance(fact, DecisionMade) and not fact.repeated):
            yield fact_entry(fact)


def of_allowed(record: Record) -> bool:
    """Return whether a record holds checks that permits allowed: inputs as well as decisions."""
    return record.kind is Kind.DECISION and record.payload.startswith(_ALLOWED)


def of_taken(record: Record) -> bool:
    """Return whether a record holds market data that came together: many inputs."""
    return record.kind is Kind.INPUT and record.payload.startswith(_TAKEN)


def hash_after(previous: bytes, record: Record) -> bytes:
    """Return the hash of a record that follows the one whose hash is `previous`."""
    scope = record.scope
    text = f"{record.sequence} {record.kind.value} {record.at_ns} {len(scope)} {scope} {record.payload}"
    return sha256(previous + text.encode()).digest()


def chain_hashes(previous: bytes, records: Iterable[Record]) -> list[bytes]:
    """Return the hash of each of the records, which follow the one whose hash is `previous`."""
    hashes = []
    for record in records:
        previous = hash_after(previous, record)
        hashes.append(previous)
    return hashes


def _scope(value: object) -> str:
    scope: str = getattr(value, "market", "") or getattr(value, "scope", "")
    return scope.encode("utf-8", "backslashreplace").decode()
