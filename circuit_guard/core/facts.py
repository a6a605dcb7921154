"""What happened: every state change and every answer is one of these. The shell journals, counts and publishes them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from circuit_guard.core.types import BreakerState, Decision, Finding, MarketOutcome, Phase, Verdict


@dataclass(frozen=True, slots=True)
class ObservationJudged:
    """An observation became the trusted state, or was rejected with its findings."""

    at_ns: int
    market: str
    source: str
    accepted: bool
    redelivered: bool
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class ObservationReconsidered:
    """The latest observation, rejected for divergence, is trusted after all: the references have followed it."""

    at_ns: int
    market: str
    source: str


@dataclass(frozen=True, slots=True)
class ReferenceJudged:
    """A reference was taken into the median, or rejected with its findings."""

    at_ns: int
    market: str
    source: str
    accepted: bool
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class BreakerChanged:
    """A breaker moved. `scope` is a market or GLOBAL; `generation` counts its transitions.

    `actor` is empty where the guard did it. `identity`, of this fact and all others: who the actor provably was; empty
    where nobody is authenticated.
    """

    at_ns: int
    scope: str
    before: BreakerState
    after: BreakerState
    latched: bool
    generation: int
    findings: tuple[Finding, ...]
    actor: str = ""
    note: str = ""
    identity: str = ""


@dataclass(frozen=True, slots=True)
class PhaseChanged:
    """The effective phase of a market changed. `actor` is empty where the guard did it."""

    at_ns: int
    market: str
    before: Phase
    after: Phase
    actor: str
    note: str
    identity: str = ""


@dataclass(frozen=True, slots=True)
class HaltChanged:
    """An operator halted or resumed a scope (a market, or GLOBAL); or a halt expired, and `actor` is empty.

    `halted` and `expires_ns` say how the scope is left. `stays`: it was halted before and no halt was added, since a
    longer one of the same actor stands, or others do after one expired.
    """

    at_ns: int
    scope: str
    halted: bool
    actor: str
    reason: str
    expires_ns: int | None = None
    stays: bool = False
    identity: str = ""


@dataclass(frozen=True, slots=True)
class MarketWarm:
    """A market has shown enough consistent observations for its closures to be judged."""

    at_ns: int
    market: str


@dataclass(frozen=True, slots=True)
class MarketReopened:
    """Nothing holds a market's closures any more; from now on they go through at a rising rate."""

    at_ns: int
    market: str
    held_ns: int


@dataclass(frozen=True, slots=True)
class MaintenanceBegan:
    """The exchange is about to restart. `checkpoint` is the name of the state kept for it."""

    at_ns: int
    actor: str
    reason: str
    checkpoint: str
    identity: str = ""


@dataclass(frozen=True, slots=True)
class StateValidated:
    """A dump was held against what was last trusted: one outcome a market, of the policy and of the dump."""

    at_ns: int
    actor: str
    outcomes: tuple[MarketOutcome, ...]
    identity: str = ""


@dataclass(frozen=True, slots=True)
class MaintenanceEnded:
    """The clean markets go on in POST_ONLY; the others are latched."""

    at_ns: int
    actor: str
    reason: str
    clean: tuple[str, ...]
    latched: tuple[str, ...]
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Rebaselined:
    """An operator set what a market is judged from: `before` and `after` are funding indices.

    Without an index and a factor the market's tainted values were forgotten. With a `factor` everything in quote
    currency per 1 base unit became so many times what it was. The mark prices are None where the price stays.
    """

    at_ns: int
    market: str
    before: Decimal | None
    after: Decimal | None
    actor: str
    reason: str
    checkpoint: int | None = None
    factor: Decimal | None = None
    mark_before: Decimal | None = None
    mark_after: Decimal | None = None
    identity: str = ""


@dataclass(frozen=True, slots=True)
class ActProposed:
    """The policy wants two people for this act; it takes effect once another actor asks for the same in time."""

    at_ns: int
    act: str
    scopes: tuple[str, ...]
    actor: str
    reason: str
    expires_ns: int
    identity: str = ""


@dataclass(frozen=True, slots=True)
class ShadowWould:
    """Shadow findings that, enforced, would have rejected an observation or moved the breaker of `scope`."""

    at_ns: int
    scope: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """A policy took effect."""

    at_ns: int
    revision: str
    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CommandRefused:
    """A command named something that does not exist or changed nothing it could change; nothing was changed."""

    at_ns: int
    subject: str
    observed: str
    expected: str


@dataclass(frozen=True, slots=True)
class DecisionMade:
    """A check was answered. `repeated`: the request_id was known, and this is the answer it got then."""

    at_ns: int
    decision: Decision
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class CheckRefused:
    """A check came with a known request_id and another content: it is not decided."""

    at_ns: int
    request_id: str
    differing: str


@dataclass(frozen=True, slots=True)
class OrderJudged:
    """An order may go ahead or stay (ALLOW), or must not (DENY: decline it; cancel it where it rests)."""

    at_ns: int
    order_id: str
    market: str
    verdict: Verdict
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class ClockChanged:
    """The guard's own clock is found to be off, is corrected, or is right again.

    `off_ns`: how far the truth is ahead of it, 0 where it is right. `corrected_ns`: by how much it was corrected. Both
    together: it stands still until the machine's clock has come to it.
    """

    at_ns: int
    off_ns: int
    corrected_ns: int = 0


Fact = (
    ObservationJudged
    | ObservationReconsidered
    | ReferenceJudged
    | BreakerChanged
    | PhaseChanged
    | HaltChanged
    | MarketWarm
    | MarketReopened
    | MaintenanceBegan
    | StateValidated
    | MaintenanceEnded
    | Rebaselined
    | ActProposed
    | ClockChanged
    | ShadowWould
    | PolicyChanged
    | CommandRefused
    | DecisionMade
    | CheckRefused
    | OrderJudged
)
