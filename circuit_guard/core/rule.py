"""What a rule is: everything that is said of it stands in its own file, and all else is derived from that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

from circuit_guard.core.envelope import Interval
from circuit_guard.core.parameters import Parameters
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.types import FOR_EVER_NS, SECOND_NS, Finding, Lift

FRESH = (Lift.FRESH_DATA, SECOND_NS)
EVIDENCE = (Lift.EVIDENCE, 5 * SECOND_NS)
EXCHANGE = (Lift.EXCHANGE, 5 * SECOND_NS)
CALLER = (Lift.CALLER, None)
OPERATOR = (Lift.OPERATOR, None)
"""How denials end: who or what ends them, and after how long asking again can help (None: somebody has to act)."""


class Judges(Enum):
    """What a rule looks at."""

    DATA = "data"
    """Observations only."""
    CLOSURES = "closures"
    """Checks only."""
    BOTH = "both"
    MARKETS = "markets"
    """The latches of all markets together."""


class Excuse(Enum):
    """Whether a denial is lifted for a closure that trusted values explain, where the policy says `allow_explained`."""

    NEVER = "never"
    EXPLAINED = "explained"
    """It says nothing of an account whose loss trusted values explain."""
    KNOWN_PRICE = "known price"
    """As EXPLAINED, and only where the closure executes at a price of its own that the references admit."""
    RECOVERING = "recovering"
    """As EXPLAINED, and only in RECOVERING."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What a reason code means, and how a denial for it ends.

    A code is a stable name on the wire, in the log and as a metric label. Once released it keeps its meaning for ever.
    """

    sentence: str
    ends: tuple[Lift, int | None]
    excuse: Excuse = Excuse.NEVER
    act: str = "reset the breaker"
    """What an operator has to do where nothing else ends the denial."""
    says: Callable[[Finding], str] | None = None
    """The whole sentence of a finding, where `SENTENCE: SUBJECT was OBSERVED, expected LIMIT` would not read well."""


class Where(Enum):
    """Which checks a limit holds for."""

    EVERYWHERE = "everywhere"
    WITH_ACCOUNT = "with account"
    WITHOUT_ACCOUNT = "without account"


@dataclass(frozen=True, slots=True)
class Unseen:
    """A limit that a rule puts on one kind of corruption: what is smaller passes.

    `limit` is a fraction of the price, and so of an account's notional; None: the rule puts none, whatever the size.
    Where several rules limit the same `what`, the smallest limit counts.
    """

    what: str
    limit: Decimal | None
    where: Where = Where.EVERYWHERE
    label: str = ""
    """What it is in words; one rule of those that limit the same has to say it."""


@dataclass(frozen=True, slots=True)
class Delay:
    """How soon a rule deals with one kind of corruption; 0 is at the first observation, or in the answer to the check.

    None: that never comes of it. What trips denies from then on.
    """

    what: str
    denied_ns: int | None
    trips_ns: int | None = None
    trips_count: int = 1
    """And so many closures of the kind have to be asked for."""
    latches: bool = False


class Permitted(NamedTuple):
    """The closures without an account in which a rule finds nothing, until an instant unless an input comes first.

    Each price and the funding index lies in its interval; None: wherever it may be. `accounts`: fewer different
    accounts than this are asked about within `window_ns`; 0: any number. A permit is what all rules permit
    (`core/permit.py`).
    """

    mark_price: Interval | None = None
    execution_price: Interval | None = None
    funding_index: Interval | None = None
    until_ns: int = FOR_EVER_NS
    accounts: int = 0
    window_ns: int = 0


ANY_CLOSURE = Permitted()


def no_closure(view: Any, policy: MarketPolicy) -> Permitted | None:
    """Permit nothing: every closure is shown to the rule."""
    return None


def any_closure(view: Any, policy: MarketPolicy) -> Permitted | None:
    """Permit every closure that carries no account: the rule judges accounts only."""
    return ANY_CLOSURE


def nothing(policy: MarketPolicy) -> Iterator[Any]:
    """Have nothing to say of a policy."""
    return iter(())


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `evaluate` is pure: it takes a market's view and the policy, and yields findings."""

    name: str
    rank: int
    """Where its findings stand in an answer: lower ranks come first. No two rules have the same."""
    catches: str
    """What it is for, as the design's table says it."""
    judges: Judges
    reasons: Mapping[str, Reason]
    evaluate: Callable[..., Iterable[Any]]
    parameters: type[Parameters] | None = None
    judges_accounts: bool = False
    """Whether it may find something in the account of a check: then every check with one is shown to it. What any other
    finds does not grow with an account that is under water."""
    judged_again: bool = False
    """Whether an observation that only this rule denied is judged again when references arrive."""
    permits: Callable[[Any, MarketPolicy], Permitted | None] = no_closure
    """Of a rule that judges closures: those in which it finds nothing, by a market's view; None: it has to look."""
    unseen: Callable[[MarketPolicy], Iterable[Unseen]] = nothing
    """What it cannot see, in principle."""
    delays: Callable[[MarketPolicy], Iterable[Delay]] = nothing
    """How soon it sees what it can see."""
    notes: Callable[[MarketPolicy], Iterable[str]] = nothing
    """What the figures leave out, in sentences."""
