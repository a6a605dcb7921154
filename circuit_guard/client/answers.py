"""What a client answers: always a verdict and its explanation, also when the guard gave no answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from circuit_guard.client.questions import CheckKind


class Verdict(StrEnum):
    """Whether the closure or the order may go ahead."""

    ALLOW = "ALLOW"
    DENY = "DENY"


class Source(StrEnum):
    """Who gave the verdict: the guard, or this client's fail policy because the guard gave no answer."""

    GUARD = "guard"
    NO_ANSWER = "no_answer"


class Outcome(StrEnum):
    """The outcome of asking, before the fail policy is applied."""

    ALLOW = "allow"
    DENY = "deny"
    UNAVAILABLE = "unavailable"
    """No connection, or it broke, or the guard said that it cannot decide now."""
    DEADLINE = "deadline"
    """No answer within the deadline."""
    ERROR = "error"
    """The guard refused the question, or its response is not an answer."""


class Severity(StrEnum):
    """What a finding does: nothing; deny; open the breaker; open it until an operator resets it."""

    WARN = "WARN"
    DENY = "DENY"
    TRIP = "TRIP"
    LATCH = "LATCH"


class LiftedBy(StrEnum):
    """Who or what ends a denial, from the easiest to the hardest to wait for."""

    FRESH_DATA = "FRESH_DATA"
    EVIDENCE = "EVIDENCE"
    EXCHANGE = "EXCHANGE"
    CALLER = "CALLER"
    OPERATOR = "OPERATOR"


class Phase(StrEnum):
    """What the exchange is doing."""

    OPEN = "OPEN"
    POST_ONLY = "POST_ONLY"
    CANCEL_ONLY = "CANCEL_ONLY"
    MAINTENANCE = "MAINTENANCE"
    RECOVERING = "RECOVERING"


class BreakerState(StrEnum):
    """The state of the market's breaker; CLOSED lets closures through, OPEN denies them."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class Explanation(StrEnum):
    """Whether admissible values explain the account's loss."""

    EXPLAINED = "EXPLAINED"
    UNEXPLAINED = "UNEXPLAINED"
    INDETERMINATE = "INDETERMINATE"
    NOT_EVALUATED = "NOT_EVALUATED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a rule found; `sentence` explains it in full to a person.

    `severity` and `lifted_by` are None where a newer guard sends a value that this client does not know.
    `ask_again_after` None: not until somebody has acted. A shadow finding enforces nothing.
    """

    reason: str
    rule: str
    severity: Severity | None
    subject: str
    observed: str
    limit: str
    sentence: str
    shadow: bool
    lifted_by: LiftedBy | None
    ask_again_after: timedelta | None

    @property
    def denies(self) -> bool:
        """Whether this finding makes a DENY, where the guard is not in shadow as a whole."""
        return not self.shadow and self.severity is not Severity.WARN


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedLoss:
    """The least and the most that the account's margin surplus can be, in quote currency, and what follows.

    `verdict` is None where a newer guard sends a value that this client does not know.
    """

    verdict: Explanation | None
    low: Decimal | None
    high: Decimal | None
    unknown_markets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseAnswer:
    """What every answer has. It is true in an `if` exactly where the verdict is ALLOW.

    `explanation` is one line for a person. `lifted_by` and `ask_again_after` are None for an ALLOW; `ask_again_after`
    None on a DENY means that asking again does not help until somebody has acted.
    """

    market: str
    verdict: Verdict
    source: Source
    outcome: Outcome
    explanation: str
    findings: tuple[Finding, ...] = ()
    lifted_by: LiftedBy | None = None
    ask_again_after: timedelta | None = None

    @property
    def allowed(self) -> bool:
        """Whether it may go ahead."""
        return self.verdict is Verdict.ALLOW

    @property
    def fail_open(self) -> bool:
        """Whether it may go ahead only because the fail policy is open: the guard gave no answer."""
        return self.verdict is Verdict.ALLOW and self.source is Source.NO_ANSWER

    @property
    def reasons(self) -> tuple[str, ...]:
        """The codes of what denied, each once; none for an ALLOW, and none where the guard gave no answer."""
        if self.allowed:
            return ()
        return tuple(dict.fromkeys(found.reason for found in self.findings if found.denies))

    def __bool__(self) -> bool:
        return self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(BaseAnswer):
    """The answer about one closure. Fields that only the guard knows are None where it gave no answer."""

    request_id: str
    account_id: str
    kind: CheckKind
    decision_id: str | None = None
    shadow_verdict: Verdict | None = None
    """The verdict had every shadow rule been enforced and the guard not been in shadow."""
    explained_loss: ExplainedLoss | None = None
    phase: Phase | None = None
    breaker: BreakerState | None = None
    policy_revision: str | None = None
    decided_at: datetime | None = None
    repeated: bool = False
    """True where the guard knew the request_id, and this is the decision it made then."""
    age: timedelta | None = None
    """How long before the answer it was decided: an old ALLOW is no permission. None: the guard does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAnswer(BaseAnswer):
    """The answer about one order. DENY: decline it; cancel it where it rests, unless the source is NO_ANSWER."""

    order_id: str
    judged_at: datetime | None = None
