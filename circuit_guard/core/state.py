"""Everything the guard remembers."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from circuit_guard.core import halts
from circuit_guard.core.breaker import Breaker
from circuit_guard.core.facts import ActProposed, StateValidated
from circuit_guard.core.halts import Halt
from circuit_guard.core.market import MarketState
from circuit_guard.core.own_clock import OwnClock
from circuit_guard.core.phase import PhaseState
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import GLOBAL_SCOPE, AllowedCheck, Decision


class InvariantViolated(Exception):
    """The shell broke the core's contract; a bug, never an operating error."""


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A maintenance of the exchange, and what the last dump of its state said; None: none was validated yet.

    `identity`: who the actor provably was; empty where nobody is authenticated.
    """

    actor: str
    reason: str
    since_ns: int
    checkpoint: str
    validated: StateValidated | None = None
    identity: str = ""


@dataclass(slots=True)
class GuardState:
    """The state of the whole guard. It has one owner; `step` and `decide` change it in place."""

    now_ns: int
    markets: dict[str, MarketState]
    """Every market that a policy has named so far."""
    listed: tuple[str, ...]
    """The markets of the policy in force."""
    global_breaker: Breaker
    global_halt: Halt | None = None
    """The operator's halt of everything that lasts longest."""
    other_global_halts: tuple[Halt, ...] = ()
    """Other operators' halts of everything beside it, the longest first."""
    latched_ns: dict[str, int] = field(default_factory=dict)
    """When each market last latched: what `correlated_trips` looks at."""
    remembered: OrderedDict[str, tuple[dict[str, str], Decision]] = field(default_factory=OrderedDict)
    """What was asked and answered lately, by request_id, oldest first."""
    allowed: OrderedDict[str, AllowedCheck] = field(default_factory=OrderedDict)
    """The same of what permits allowed."""
    decisions: int = 0
    maintenance: Maintenance | None = None
    """The maintenance that has begun and not ended."""
    proposals: dict[str, ActProposed] = field(default_factory=dict)
    """Acts that wait for a second actor, by what they would do."""
    clock: OwnClock = field(default_factory=OwnClock)
    """Whether the guard's own clock is right."""
    remembered_bytes: int | None = field(default=None, init=False, repr=False, compare=False)
    unconfirmed_bytes: int | None = field(default=None, init=False, repr=False, compare=False)
    """What `remembered`, and `unconfirmed` of all markets take; None: to be summed up. See `core/remembered.py`."""

    @property
    def global_halts(self) -> tuple[Halt, ...]:
        """Every operator's halt of everything, the longest first."""
        return halts.all_of(self.global_halt, self.other_global_halts)

    def halts(self, scope: str) -> tuple[Halt, ...]:
        """Return every operator's halt of a market or of GLOBAL, the longest first."""
        return self.global_halts if scope == GLOBAL_SCOPE else self.markets[scope].halts

    def set_halts(self, scope: str, standing: tuple[Halt, ...]) -> None:
        """Have these halts in a scope, the longest first, and no others."""
        longest, others = next(iter(standing), None), standing[1:]
        if scope == GLOBAL_SCOPE:
            self.global_halt, self.other_global_halts = longest, others
        else:
            self.markets[scope].halt, self.markets[scope].other_halts = longest, others


def new_market(market: str, at_ns: int) -> MarketState:
    """Return a market at first sight: WARMING, and RECOVERING until it has shown evidence."""
    return MarketState(market, Breaker(market, since_ns=at_ns), PhaseState(since_ns=at_ns))


def new_state(policy: Policy, at_ns: int) -> GuardState:
    """Return the state of a cold start: every market of the policy at first sight."""
    markets = {market: new_market(market, at_ns) for market in policy.markets}
    return GuardState(at_ns, markets, tuple(policy.markets), Breaker(GLOBAL_SCOPE, since_ns=at_ns))
