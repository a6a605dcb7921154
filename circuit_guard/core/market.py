"""What the guard knows of one market, and the view of it that rules judge."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from circuit_guard.core.breaker import Breaker
from circuit_guard.core.envelope import Interval, funding_envelope, funding_price
from circuit_guard.core.evidence import Accounts, Run
from circuit_guard.core.inputs import Check, Observation
from circuit_guard.core.phase import BANDED_PHASES, PhaseState
from circuit_guard.core.policy import GapMode, MarketPolicy
from circuit_guard.core.references import ReferenceBook, ReferenceView
from circuit_guard.core.types import EXPONENT_MAX, ExplainedLoss, Finding, Phase, Severity

REDELIVERIES_REMEMBERED = 64


@dataclass(slots=True)
class Trusted:
    """The last values that passed every rule. A rejected observation never replaces them."""

    mark_price: Decimal | None = None
    mark_seen_ns: int = 0
    index_price: Decimal | None = None
    funding_index: Decimal | None = None
    funding_seen_ns: int = 0
    funding_premium: Decimal | None = None
    funding_rate: Decimal | None = None
    funding_step: Decimal = Decimal(0)
    funding_step_accrual_ns: int = 0
    """The last step of the funding index, and the accrual time it had."""


class Judged(NamedTuple):
    """An observation as it was answered; the same one again gets the same answer."""

    observation: Observation
    accepted: bool
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class Feed:
    """Where the published stream of the market stands."""

    epoch: int = -1
    feed_sequence: int = -1
    event_time_ns: int | None = None
    received_ns: int | None = None
    accrued_ns: int = 0
    """Accrual time published since the funding index was last trusted."""
    recent: dict[tuple[int, int], Judged] = field(default_factory=dict)

    def accrual_ns(self, until_ns: int, policy: MarketPolicy, now_ns: int) -> int:
        """Return how long funding can have accrued since the trusted index; in `freeze` a long gap counts nothing.

        `until_ns` is an event time, believed no further than the allowed skew ahead of `now_ns`.
        """
        until_ns = min(until_ns, now_ns + policy.staleness.future_skew_ns)
        gap_ns = max(until_ns - (self.event_time_ns or until_ns), 0)
        if policy.funding.gap_mode is GapMode.FREEZE and gap_ns > policy.funding.gap_ns:
            gap_ns = 0
        return self.accrued_ns + gap_ns

    def remember(self, judged: Judged) -> None:
        """Keep the answer for redeliveries, forgetting the oldest. The first content of a sequence is the one kept."""
        self.recent.setdefault((judged.observation.epoch, judged.observation.feed_sequence), judged)
        if len(self.recent) > REDELIVERIES_REMEMBERED:
            del self.recent[next(iter(self.recent))]


class Unchanged(NamedTuple):
    """The mark price as it was last published, the reference price when it became so, and since when that is away."""

    mark_price: Decimal
    reference_price: Decimal
    away_since_ns: int | None


@dataclass(slots=True)
class BasisDoubt:
    """A run of checks whose callers computed with values that were never published."""

    since_ns: int | None = None
    last_ns: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class Halt:
    """An operator's halt. `expires_ns` None: until somebody resumes."""

    actor: str
    reason: str
    since_ns: int
    expires_ns: int | None = None


@dataclass(slots=True)
class Ramp:
    """What a re-opened market may still let through: a bucket of closures and one of notional (quote currency)."""

    since_ns: int
    filled_ns: int
    closures: Decimal
    notional: Decimal


@dataclass(slots=True)
class MarketState:
    """The state of one market. Only `guard` changes it."""

    market: str
    breaker: Breaker
    phase: PhaseState = field(default_factory=PhaseState)
    trusted: Trusted = field(default_factory=Trusted)
    feed: Feed = field(default_factory=Feed)
    references: ReferenceBook = field(default_factory=ReferenceBook)
    marks: deque[tuple[int, Decimal]] = field(default_factory=deque)
    """Trusted mark prices of the last seconds, oldest first: what a caller may have computed with."""
    published_marks: deque[tuple[int, Decimal]] = field(default_factory=deque)
    """Published mark prices of the last seconds, trusted or not, oldest first: what the references have to confirm."""
    rejections: tuple[Finding, ...] = ()
    """Why the latest observation was rejected; empty once one is accepted again."""
    unchanged: Unchanged | None = None
    given: set[str] = field(default_factory=set)
    """The values that some observation has given: one that stops giving them is noticed."""
    reconsidered: Observation | None = None
    """The latest observation, if it was rejected for divergence alone: references that follow may still explain it."""
    standing: dict[str, int] = field(default_factory=dict)
    """Since when each reason has been found in every observation."""
    diverged_mark: Decimal | None = None
    reverted_ns: int | None = None
    healthy: Run | None = None
    """The run of accepted observations: evidence for re-opening a breaker."""
    agreeing: Run | None = None
    """The run of observations whose mark price is near the references: evidence for leaving RECOVERING."""
    consistent_observations: int = 0
    warm: bool = False
    was_warm: bool = False
    """Whether the market ever was, or an operator vouched for it: until then what is trusted is only a first sight."""
    halt: Halt | None = None
    rollback_ns: int | None = None
    basis_doubt: BasisDoubt = field(default_factory=BasisDoubt)
    unexplained: Accounts = field(default_factory=Accounts)
    """Accounts that were healthy at every admissible value when their closure was asked for."""
    asked: Accounts = field(default_factory=Accounts)
    """Accounts that a liquidation was asked for."""
    held_since_ns: int | None = None
    """Since when closures are held: by a halt, a breaker or a phase, and until the market is OPEN again."""
    trickle: Ramp | None = None
    """The rising limit for explained closures while the market is held."""
    ramp: Ramp | None = None
    """The rising limit after a hold; None where there is none."""
    discarded: deque[Interval] = field(default_factory=deque)
    """Funding indices that were published and are not true: an account settled with one is tainted. Oldest first."""
    funding_range: Interval | None = None
    """The hull of every funding index that was ever trusted here."""
    regained: Interval | None = None
    """The hull of what was trusted since the last rollback: the index passes again through values that it discarded."""


def readable(value: Decimal | None) -> Decimal | None:
    """Return the value if rules can compute with it, else None. What is not readable the validity rule reports."""
    if value is None or not value.is_finite() or (value and abs(value.adjusted()) > EXPONENT_MAX):
        return None
    return value


class Published(NamedTuple):
    """The values of an observation that rules can compute with; None where one was not given or is not readable."""

    mark_price: Decimal | None
    index_price: Decimal | None
    funding_index: Decimal | None
    funding_rate: Decimal | None
    funding_premium: Decimal | None


NOTHING_PUBLISHED = Published(None, None, None, None, None)


def published(observation: Observation) -> Published:
    """Return the readable values of an observation."""
    return Published(
        readable(observation.mark_price),
        readable(observation.index_price),
        readable(observation.funding_index),
        readable(observation.funding_rate),
        readable(observation.funding_premium),
    )


@dataclass(slots=True)
class MarketView:
    """One market at one instant, as rules see it. Rules read it and change nothing.

    Either `observation` is set, and `published` with it (data is being judged), or `closure` (a forced closure is).
    """

    now_ns: int
    state: MarketState
    phase: Phase
    references: ReferenceView
    observation: Observation | None = None
    published: Published = NOTHING_PUBLISHED
    closure: Check | None = None
    explained: ExplainedLoss | None = None
    """What the account of the closure says; None where it has none."""
    contaminated: bool = False
    """Whether the account rests on another market that is not to be trusted now."""

    @property
    def restricted(self) -> bool:
        """Whether only closures inside the band may pass: POST_ONLY, RECOVERING."""
        return self.phase in BANDED_PHASES

    def lasting(self, reason: str, trip_after_ns: int) -> Severity:
        """Return TRIP if every observation for so long has had this reason, else DENY: trip only after confirmation."""
        since_ns = self.state.standing.get(reason)
        lasted = since_ns is not None and self.now_ns - since_ns >= trip_after_ns
        return Severity.TRIP if lasted else Severity.DENY

    def funding_envelope(self, policy: MarketPolicy, margin_ns: int = 0) -> Interval | None:
        """Return where the funding index can honestly be now, give or take `margin_ns` of accrual; None if unknown."""
        trusted = self.state.trusted
        price = funding_price(trusted.index_price, trusted.mark_price)
        if trusted.funding_index is None or price is None:
            return None
        accrual_ns = self.state.feed.accrual_ns(self.now_ns, policy, self.now_ns)
        return funding_envelope(policy.funding, trusted.funding_index, price, accrual_ns + margin_ns)
