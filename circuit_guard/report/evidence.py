"""What the journal says of a window, gathered: values, questions, answers, orders, changes. No judgement yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from circuit_guard.core.envelope import FundingParameters, Interval
from circuit_guard.core.inputs import Check, Observation, Order
from circuit_guard.core.types import Decision, Finding
from circuit_guard.journal.checkpoint import Checkpoint
from circuit_guard.report.funding import FundingHistory

VALUES = {
    "mark_price": "mark price",
    "index_price": "index price",
    "funding_index": "funding index",
    "funding_rate": "funding rate",
    "funding_premium": "funding premium",
}
"""The published values by the names that people have for them; everything else is the order of the feed."""


class Window(NamedTuple):
    """The time a report is about, both ends included."""

    from_ns: int
    to_ns: int

    def __contains__(self, at_ns: object) -> bool:
        return isinstance(at_ns, int) and self.from_ns <= at_ns <= self.to_ns


class Value(NamedTuple):
    """A value that was trusted, and when it was published."""

    name: str
    value: Decimal
    seen_ns: int


@dataclass(slots=True)
class Corruption:
    """Published values of one market that cannot be true, from the first to the last.

    Observations that were rejected in a row are corrupt where a breaker opened over them, or where a mark price went
    away without the references ever having followed it; others were doubted for a moment, as in any crash.
    """

    market: str
    sequence: int
    """The record of the first one; later inputs are later."""
    first: Observation
    finding: Finding
    """The gravest that was found of the first one."""
    before: tuple[Value, ...]
    """What was trusted of the values in doubt before."""
    last_at_ns: int
    observations: int = 1
    proved: bool = False
    ended_ns: int | None = None
    """When the first good one came; None: none did in the window."""
    begun_before: bool = False
    """Whether it had begun before the first record that was read: the first one here is not the first there was."""


def value_name(corruption: Corruption) -> str:
    """Return what of a market was wrong."""
    return VALUES.get(corruption.finding.subject, "order of the feed")


class Seen(NamedTuple):
    """What there was to know of a market when a closure was asked about."""

    mark: Decimal | None
    """The mark price as published last ..."""
    mark_trusted: bool
    funding_index: Decimal | None
    """... and the funding index ..."""
    index_trusted: bool
    event_ns: int
    """... with their event time."""
    reference_price: Decimal | None
    tainted: bool = False
    """Whether the account was settled with a funding index that is known to be wrong."""


class Ask(NamedTuple):
    """One question about a closure, and its answer."""

    check: Check
    decision: Decision
    seen: Mapping[str, Seen]
    """Of each market that the account and the closure touch."""
    recorded: bool
    """Whether the journal has the answer; else it is what the inputs lead to."""


class Gap(NamedTuple):
    """A time without a single observation of a market; `until_ns` None: to the end of the window."""

    market: str
    from_ns: int
    until_ns: int | None


class OrderSeen(NamedTuple):
    """An order that the guard was asked about, when it was asked last, and whether it may rest."""

    at_ns: int
    order: Order
    allowed: bool


class Happening(NamedTuple):
    """A line of the timeline. `scope`: a market, GLOBAL, or empty."""

    at_ns: int
    scope: str
    what: str
    kind: str = ""
    """`corrupt`, `stop`, `open` or `act` where it is to stand out."""


class Held(NamedTuple):
    """What holds a market's closures at the end of the window."""

    scope: str
    why: str


class Tainted(NamedTuple):
    """Funding indices of a market that are known to be wrong: accounts settled with one are to be repaired."""

    market: str
    values: Interval


class PolicyInForce(NamedTuple):
    """A policy revision, and since when it has been in force."""

    revision: str
    shadow: bool
    since_ns: int


@dataclass(slots=True)
class Evidence:
    """Everything that was found in the window."""

    window: Window
    begins_ns: int
    """Where the journal's own account of the window begins: later than the window where the journal does."""
    ends_ns: int
    """The last record that was read."""
    heads: Mapping[str, str]
    """The hash of the last record of each chain."""
    last_sequence: int
    records: int = 0
    versions: list[str] = field(default_factory=list)
    policies: list[PolicyInForce] = field(default_factory=list)
    markets: tuple[str, ...] = ()
    corruptions: list[Corruption] = field(default_factory=list)
    doubted: int = 0
    """Observations that were rejected, and are no corruption."""
    funding: dict[str, FundingParameters] = field(default_factory=dict)
    """The funding policy of each market that was seen, as of its last observation."""
    histories: dict[str, FundingHistory] = field(default_factory=dict)
    asks: list[Ask] = field(default_factory=list)
    happenings: list[Happening] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    orders: dict[tuple[str, str], OrderSeen] = field(default_factory=dict)
    """By market and order id."""
    held: list[Held] = field(default_factory=list)
    tainted: list[Tainted] = field(default_factory=list)
    dropped: int = 0
    """Decisions that the journal says were dropped."""
    different: int = 0
    """Recorded decisions that the inputs do not lead to in this version."""
    checkpoints: list[Checkpoint] = field(default_factory=list)

    @property
    def shadow(self) -> bool:
        """Whether the guard enforced nothing in some part of the window."""
        return any(policy.shadow for policy in self.policies)
