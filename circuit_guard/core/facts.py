"""What happened: every state change and every answer is one of these. The shell journals, counts and publishes them."""

from __future__ import annotations

from dataclasses import dataclass

from circuit_guard.core.types import BreakerState, Decision, Finding, Phase, Verdict


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
    """A breaker moved. `scope` is a market or GLOBAL; `generation` counts its transitions."""

    at_ns: int
    scope: str
    before: BreakerState
    after: BreakerState
    latched: bool
    generation: int
    findings: tuple[Finding, ...]
    actor: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class PhaseChanged:
    """The effective phase of a market changed. `actor` is empty where the guard did it."""

    at_ns: int
    market: str
    before: Phase
    after: Phase
    actor: str
    note: str


@dataclass(frozen=True, slots=True)
class HaltChanged:
    """An operator halted or resumed a scope (a market, or GLOBAL)."""

    at_ns: int
    scope: str
    halted: bool
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class MarketWarm:
    """A market has shown enough consistent observations for its closures to be judged."""

    at_ns: int
    market: str


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


Fact = (
    ObservationJudged
    | ObservationReconsidered
    | ReferenceJudged
    | BreakerChanged
    | PhaseChanged
    | HaltChanged
    | MarketWarm
    | ShadowWould
    | PolicyChanged
    | CommandRefused
    | DecisionMade
    | CheckRefused
    | OrderJudged
)
