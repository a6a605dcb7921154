"""The words of the core: the enumerations, and the values every other module exchanges.

Times are integers, nanoseconds since the Unix epoch, and end in `_ns`; durations too.
Prices and indices are `Decimal`, in quote currency per 1 base unit. Shares are fractions (0.01 is 1 %).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

SECOND_NS = 1_000_000_000
FOR_EVER_NS = 2**63 - 1

READINESS: Final = ""
"""What a probe asks by: SERVING while the guard is ready. The markets that the policy requires have been warm, and the
engine answers."""
LIVENESS: Final = "liveness"
"""SERVING from the start until the guard drains, whatever the market data are. No answer: the event loop is stuck."""

GLOBAL_SCOPE = "GLOBAL"

DIGITS_MAX = 40
EXPONENT_MAX = 30
"""A decimal has at most 40 digits and a magnitude within 1e-30 .. 1e30 (DESIGN 7)."""

ARITHMETIC = Context(prec=60, traps=[InvalidOperation, DivisionByZero, Overflow])
"""Every decision is computed in this context, whatever the process around it has set."""

_FOUR_DIGITS = Context(prec=4)


class Phase(StrEnum):
    """What the exchange is doing. RECOVERING is entered by the guard itself, never commanded."""

    OPEN = "OPEN"
    POST_ONLY = "POST_ONLY"
    CANCEL_ONLY = "CANCEL_ONLY"
    MAINTENANCE = "MAINTENANCE"
    RECOVERING = "RECOVERING"


class Verdict(StrEnum):
    """The answer to a check."""

    ALLOW = "ALLOW"
    DENY = "DENY"


class Severity(IntEnum):
    """What a finding does: nothing; deny until fresh data; open the breaker; open it until an operator resets."""

    WARN = 1
    DENY = 2
    TRIP = 3
    LATCH = 4


class BreakerState(StrEnum):
    """CLOSED lets closures through, OPEN denies them, HALF_OPEN lets them through at a rising rate."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class CheckKind(StrEnum):
    """The forced closures an engine can ask about. All harm through wrong data. Only LIQUIDATION closes accounts
    for being under water, so only there the account's health is judged. SETTLEMENT closes all of them, because the
    market is delisted.
    """

    LIQUIDATION = "LIQUIDATION"
    AUTO_DELEVERAGE = "AUTO_DELEVERAGE"
    INSURANCE_TRANSFER = "INSURANCE_TRANSFER"
    TRIGGER = "TRIGGER"
    SETTLEMENT = "SETTLEMENT"


class Explanation(StrEnum):
    """Whether an account's loss is explained by values that can honestly be (DESIGN 3)."""

    EXPLAINED = "EXPLAINED"
    UNEXPLAINED = "UNEXPLAINED"
    INDETERMINATE = "INDETERMINATE"
    NOT_EVALUATED = "NOT_EVALUATED"


class Lift(StrEnum):
    """Who or what ends a denial, from the easiest to the hardest to wait for."""

    FRESH_DATA = "FRESH_DATA"
    EVIDENCE = "EVIDENCE"
    EXCHANGE = "EXCHANGE"
    CALLER = "CALLER"
    OPERATOR = "OPERATOR"

    @property
    def hardness(self) -> int:
        """How hard it is to wait for, 0 for the easiest."""
        return _HARDNESS[self]


_HARDNESS = {lift: number for number, lift in enumerate(Lift)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a rule found: what was looked at, what it was, what it may be.

    `reason` is a member of `reasons.Reason`; `subject` names the field (`mark_price`, `basis.funding_index`);
    `observed` and `limit` are text for people. A shadow finding is counted and shown, and enforces nothing.
    """

    reason: str
    severity: Severity
    subject: str
    observed: str
    limit: str
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class ExplainedLoss:
    """The bounds of an account's margin surplus over all admissible values, in quote currency, and what follows.

    NOT_EVALUATED: nothing is trusted of the markets in `unknown`, and there are no bounds.
    """

    verdict: Explanation
    low: Decimal | None = None
    high: Decimal | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one check, with everything needed to explain it and to run it again."""

    decision_id: str
    request_id: str
    account_id: str
    market: str
    kind: CheckKind
    at_ns: int
    verdict: Verdict
    shadow_verdict: Verdict
    """The verdict had every shadow rule been enforced and the guard not been in shadow."""
    findings: tuple[Finding, ...]
    phase: Phase
    breaker: BreakerState
    policy_revision: str
    explained: ExplainedLoss | None = None
    """What the account's loss says; None where the check carried no account."""


class AllowedCheck(NamedTuple):
    """A check that a permit allowed, and its decision: all that is kept of either (`core/permit.py`).

    Values are the texts that were given; empty: not given.
    """

    at_ns: int
    number: int
    """Of the decision, since the state began."""
    request_id: str
    account_id: str
    market: str
    kind: CheckKind
    size: str
    execution_price: str
    mark_price: str
    funding_index: str
    phase: Phase
    policy_revision: str


class Outcome(StrEnum):
    """What a dump of the exchange's state says of one market; `ok` alone is clean."""

    OK = "ok"
    FUNDING_JUMP = "funding_jump"
    PRICE = "price"
    SWAPPED = "swapped"
    INVALID = "invalid"
    STALE = "stale"
    MISSING = "missing"
    EXTRA = "extra"
    NO_BASELINE = "no_baseline"


@dataclass(frozen=True, slots=True)
class MarketOutcome:
    """One market of a validated dump: the worst fault of its row.

    `swapped_with`: the market whose value stands here; empty for other outcomes. `also`: a text for each other fault of
    the row, worst first, for instance `stale: event_time was 58.0 s before ..., expected not before it`.
    """

    market: str
    outcome: Outcome
    subject: str = ""
    observed: str = ""
    limit: str = ""
    swapped_with: str = ""
    also: tuple[str, ...] = ()


def show(value: Decimal | None) -> str:
    """Return a decimal as a person reads it: at most 12 significant digits, `not given` for None."""
    if value is None:
        return "not given"
    return format(value, ".12g") if value or not value.is_finite() else "0"


def show_seconds(duration_ns: int) -> str:
    """Return a duration as seconds with one decimal, e.g. `31.5 s`."""
    return f"{duration_ns / SECOND_NS:.1f} s"


def show_percent(share: Decimal) -> str:
    """Return a fraction as a person reads it: `1 %`."""
    return f"{_FOUR_DIGITS.multiply(share, Decimal(100)).normalize():f} %"


def short_seconds(duration_ns: int) -> str:
    """Return a duration as seconds without needless decimals, e.g. `30 s`."""
    return f"{duration_ns / SECOND_NS:g} s"
