"""What the guard knows of one market."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, NamedTuple

from circuit_guard.core import halts
from circuit_guard.core.breaker import Breaker
from circuit_guard.core.envelope import NO_TERMS, FundingParameters, GapMode, Interval, Terms, funding_price
from circuit_guard.core.evidence import Accounts, Run, doubted, relieved
from circuit_guard.core.funding import FundingPath
from circuit_guard.core.halts import Halt
from circuit_guard.core.inputs import Account, Observation
from circuit_guard.core.outlook import Outlook
from circuit_guard.core.parameters import Parameters, Relation, seconds
from circuit_guard.core.phase import PhaseState
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.price import EXACT, PriceParameters
from circuit_guard.core.references import ReferenceBook
from circuit_guard.core.types import EXPONENT_MAX, SECOND_NS, Finding

REDELIVERIES_REMEMBERED = 64
DOUBLING_NS = 600 * SECOND_NS


@dataclass(frozen=True, slots=True)
class FeedParameters(Parameters):
    """How a market's feed is followed when clocks differ or the feed is silent."""

    TABLE: ClassVar[str] = "staleness"
    RELATIONS: ClassVar[tuple[Relation, ...]] = (
        Relation("staleness.deny_after_s", "at most", "staleness.recovering_after_s", "denial comes before RECOVERING"),
    )

    recovering_after_ns: int = seconds(
        30,
        "A market whose feed was silent for this long comes back in RECOVERING: closures must stay inside the "
        "band until mark price and references agree again (DESIGN 4).",
        most=86_400,
    )
    future_skew_ns: int = seconds(
        2,
        "How far a stamp may lie in the future. Allow what two synchronised clocks differ by, and no more.",
        least=0,
        most=60,
    )


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
    confirmed_mark: Decimal | None = None
    confirmed_index: Decimal | None = None
    confirmed_ns: int = 0
    """The prices that were trusted last while references stood by them, and when."""
    basis: Decimal = Decimal(1)
    """The mark price as a multiple of the reference price, as it was lately while the market was OPEN."""

    def funding_price(self) -> Decimal | None:
        """Return the price to bound funding with; None without any. One that no reference confirmed widens nothing."""
        if self.confirmed_mark is None:
            return funding_price(self.index_price, self.mark_price)
        return funding_price(self.confirmed_index, self.confirmed_mark)

    def unreferenced(self, share: Decimal, now_ns: int, prices: PriceParameters = EXACT) -> Interval | None:
        """Return where the mark price can be while no reference says anything: wider as time passes, up to all of it.

        `share`: of the price, at once; it doubles within ten minutes, as in a crash. None without a mark price.
        """
        mark = self.mark_price if self.confirmed_mark is None else self.confirmed_mark
        if mark is None:
            return None
        since_ns = self.mark_seen_ns if self.confirmed_mark is None else self.confirmed_ns
        elapsed = Decimal(max(now_ns - since_ns, 0)) / DOUBLING_NS
        reach = prices.reach(min(share * (1 + elapsed), Decimal(1)), mark)
        return Interval(mark - reach, mark + reach)


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
        funding = policy.of(FundingParameters)
        latest_ns = now_ns + policy.of(FeedParameters).future_skew_ns
        until_ns = until_ns if until_ns < latest_ns else latest_ns
        gap_ns = until_ns - self.event_time_ns if self.event_time_ns and self.event_time_ns < until_ns else 0
        if gap_ns > funding.gap_ns and funding.gap_mode is GapMode.FREEZE:
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
    """Checks whose callers computed with values that were never published, by shares of time."""

    since_ns: int | None = None
    last_ns: int = 0
    count: int = 0
    holds: bool = True
    """Whether the last check was one of them."""
    claimed: Decimal | None = None
    claimed_since_ns: int = 0
    """The funding index that they compute with, and since when with that one."""
    accounts: tuple[str, ...] = ()
    """The different accounts that were asked about with it; no more than are needed to believe it."""

    def run(self) -> Run | None:
        """Return for how long they have come, by shares of time; None where there is no doubt."""
        return None if self.since_ns is None else Run(self.since_ns, self.last_ns, self.holds)

    def note(self, now_ns: int, window_ns: int, *, wrong: bool) -> None:
        """Take a check that is one of them or clean: clean ones take from the doubt, and silence ends it."""
        before = None if now_ns - self.last_ns > window_ns else self.run()
        after = doubted(before, now_ns) if wrong else before and relieved(before, now_ns)
        if after is None:
            self.since_ns, self.count, self.claimed, self.accounts = None, 0, None, ()
            return
        self.since_ns, self.last_ns, self.holds = after
        self.count = (0 if before is None else self.count) + wrong


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
    funding: FundingPath = field(default_factory=FundingPath)
    terms: Terms = NO_TERMS
    """The funding period and the cap that the exchange published last."""
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
    """Since when each reason that the latest observation has was found in every one."""
    doubts: dict[str, Run] = field(default_factory=dict)
    """For how long each reason has been found, by shares of time: what lasts trips."""
    diverged_mark: Decimal | None = None
    reverted_ns: int | None = None
    healthy: Run | None = None
    """For how long observations have been accepted: evidence for re-opening a breaker."""
    agreeing: Run | None = None
    """For how long the mark price has been near the references: evidence for leaving RECOVERING."""
    consistent_observations: int = 0
    warm: bool = False
    was_warm: bool = False
    """Whether the market ever was, or an operator vouched for it: until then what is trusted is only a first sight."""
    halt: Halt | None = None
    """The operator's halt that lasts longest."""
    other_halts: tuple[Halt, ...] = ()
    """Other operators' halts beside it, the longest first."""
    rollback_ns: int | None = None
    basis_doubt: BasisDoubt = field(default_factory=BasisDoubt)
    unexplained: Accounts = field(default_factory=Accounts)
    """Accounts that were healthy at every admissible value when their closure was asked for."""
    unconfirmed: OrderedDict[str, tuple[int, Account]] = field(default_factory=OrderedDict)
    """Accounts that looked healthy, and when first: the references may not have had their lag yet. Oldest first."""
    asked: Accounts = field(default_factory=Accounts)
    """Accounts whose liquidation was asked for and could be allowed, though nothing explained it."""
    held_since_ns: int | None = None
    """Since when closures are held: by a halt, a breaker or a phase, and until the market is OPEN again."""
    trickle: Ramp | None = None
    """The rising limit for explained closures while the market is held."""
    ramp: Ramp | None = None
    """The rising limit after a hold; None where there is none."""
    discarded: deque[Interval] = field(default_factory=deque)
    """Funding indices that were published and are not true: an account settled with one is tainted."""
    funding_range: Interval | None = None
    """The hull of every funding index that was ever trusted here."""
    rejected_ns: int | None = None
    """When an observation was rejected last."""
    regained: Interval | None = None
    """The hull of what was trusted since the last rollback: the index passes again through values that it discarded."""
    outlook: Outlook | None = field(default=None, init=False, repr=False, compare=False)
    """What checks have worked out since the data last changed. No part of the state: see `core/outlook.py`."""

    @property
    def halts(self) -> tuple[Halt, ...]:
        """Every operator's halt of the market, the longest first."""
        return halts.all_of(self.halt, self.other_halts)


def readable(value: Decimal | None) -> Decimal | None:
    """Return the value if rules can compute with it, else None. What is not readable the validity rule reports."""
    if value is None or not value.is_finite() or (value and abs(value.adjusted()) > EXPONENT_MAX):
        return None
    return value


def all_readable(values: Iterable[Decimal]) -> bool:
    """Return whether rules can compute with each of many values, as `readable` says of one."""
    return all(value.is_finite() and (not value or abs(value.adjusted()) <= EXPONENT_MAX) for value in values)


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


def published_terms(observation: Observation) -> Terms:
    """Return the funding period and the cap that an observation carries; a period that is no number is 0."""
    given, period_s = observation.funding_period_s, readable(observation.funding_period_s)
    period_ns = None if given is None else int((period_s or 0) * SECOND_NS)
    return Terms(period_ns, observation.funding_rate_max)
