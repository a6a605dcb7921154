"""What the policy of a market cannot see, in principle: how large a corruption of each kind passes.

Shares are fractions of the price, and so of an account's notional. None means of any size, zero that nothing passes at
all. How soon the rest is seen is in `policy_delays`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from circuit_guard.core.envelope import funding_bound
from circuit_guard.core.policy import Halted, MarketPolicy, RestrictedClosures
from circuit_guard.core.types import SECOND_NS

SPANS_S = (5, 60, 600, 3600, 28_800)
"""Seconds since the funding index was trusted last: an observation, a hiccup, an outage, a funding period."""
MOVES = tuple(map(Decimal, ("0", "0.001", "0.003", "0.01", "0.03", "0.1")))
"""How far the reference price moves within `divergence.window_s`, as a share: calm to crash."""

_ONE = Decimal(1)
_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class FundingLimit:
    """What a funding index can do so long after it was trusted last."""

    elapsed_ns: int
    step: Decimal
    """The largest step from the trusted index that is no jump."""
    error: Decimal
    """An index further than this from the true one is surely a jump: the truth may have moved the other way."""
    unpredicted: Decimal | None
    """The largest step that is not denied while a premium of zero is published; None: no premium predicts for so long,
    the step alone is the limit."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a funding index can drift from the true one in an hour at an observation a second, each step passing."""

    unpublished: Decimal
    """Where the exchange publishes no premium."""
    premium_zero: Decimal | None
    premium_at_cap: Decimal | None
    """Where it publishes the true premium, which is zero, or at the cap; None: no premium predicts for a second."""


@dataclass(frozen=True, slots=True)
class MarkLimit:
    """How far a mark price may be from the nearest price that the reference has had within the window."""

    moved: Decimal
    """How far the reference price has moved within the window."""
    diverges: Decimal
    """Beyond it the mark price is denied."""
    trips_at_once: Decimal
    believed: Decimal
    """Within it the mark price is believed when an account's loss is held against it."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """The largest corruption of one kind that passes, where a check comes without its account and where with it."""

    what: str
    without_account: Decimal | None
    with_account: Decimal | None


def enforced(policy: MarketPolicy, rule: str) -> bool:
    """Return whether the rule enforces what it finds: it is not in shadow."""
    return rule not in policy.shadow_rules


def tests_accounts(policy: MarketPolicy) -> bool:
    """Return whether closures of healthy accounts are denied where checks carry their account."""
    return policy.explained_loss.deny and enforced(policy, "unexplained_loss")


def wrong_references(policy: MarketPolicy) -> int:
    """Return how many references that are wrong alike make the median theirs, of no more than a quorum."""
    return (policy.references.quorum + 1) // 2


def funding_limits(policy: MarketPolicy) -> list[FundingLimit]:
    """Return what a funding index can do, for each of SPANS_S."""
    return [
        FundingLimit(
            elapsed_ns=elapsed_ns,
            step=_step(policy, elapsed_ns),
            error=_error(policy, elapsed_ns),
            unpredicted=_unpredicted(policy, elapsed_ns, premium=Decimal(0)),
        )
        for elapsed_ns in (seconds * SECOND_NS for seconds in SPANS_S)
    ]


def funding_drift(policy: MarketPolicy) -> Drift:
    """Return how far a funding index can drift by steps that pass. Nothing holds it against where it was long ago."""
    largest = _error(policy, SECOND_NS)
    zero = _unpredicted(policy, SECOND_NS, premium=Decimal(0))
    at_cap = _unpredicted(policy, SECOND_NS, premium=policy.funding.rate_max)
    return Drift(
        unpublished=largest * _HOUR_S,
        premium_zero=None if zero is None else min(zero, largest) * _HOUR_S,
        premium_at_cap=None if at_cap is None else min(at_cap, largest) * _HOUR_S,
    )


def mark_limits(policy: MarketPolicy) -> list[MarkLimit]:
    """Return how far a mark price may be off, for each of MOVES."""
    rule, believed = policy.divergence, policy.explained_loss
    far = max(rule.base, rule.trip_at_once_base)
    return [
        MarkLimit(
            moved=moved,
            diverges=rule.base + rule.hull_widths * moved,
            trips_at_once=far + rule.trip_at_once_hull_widths * moved,
            believed=believed.mark_share + believed.hull_widths * moved,
        )
        for moved in MOVES
    ]


def account_limit(policy: MarketPolicy) -> Decimal | None:
    """Return the surplus that an account needs at true values for its closure to be denied whatever else is wrong.

    A share of its notional, while the reference price stands still; None where no closure is denied for it. Of a short
    the mark's part grows by its maintenance margin fraction, which grows with the mark.
    """
    if not tests_accounts(policy):
        return None
    oldest_ns = policy.staleness.deny_after_ns
    funding = funding_bound(policy.funding, _ONE, oldest_ns) + _accrued(policy, oldest_ns)
    return policy.explained_loss.mark_share + funding


def unseen(policy: MarketPolicy) -> list[Unseen]:
    """Return what passes of each kind while the reference price stands still and the exchange is OPEN, and elsewhere.

    Of prices in POST_ONLY and RECOVERING it is what passes of a price that a closure executes at.
    """
    test, divergence, callers = account_limit(policy), policy.divergence, _callers_index(policy)
    published = _error(policy, SPANS_S[0] * SECOND_NS) if enforced(policy, "funding_continuity") else None
    mark = divergence.base if enforced(policy, "divergence") else None
    execution = divergence.execution_base if enforced(policy, "divergence") else None
    index = divergence.index_base if enforced(policy, "divergence") else None
    post_only = _banded(policy, policy.band.post_only_closures, execution)
    recovering = _banded(policy, policy.band.recovering_closures, execution)
    excused = policy.explained_loss.halted is Halted.ALLOW_EXPLAINED and recovering != 0
    return [
        Unseen("published_funding_index", published, published),
        Unseen("callers_funding_index", callers, _smaller(callers, test)),
        Unseen("mark_price", mark, _smaller(mark, test)),
        Unseen("index_price", index, index),
        Unseen("execution_price", execution, execution),
        Unseen("execution_price_in_post_only", post_only, post_only),
        Unseen("execution_price_in_recovering", recovering, execution if excused else recovering),
        Unseen("engine_sums", None, test),
        Unseen("account_as_given", None, None),
        Unseen("references_wrong_alike", None, None),
    ]


def _step(policy: MarketPolicy, elapsed_ns: int) -> Decimal:
    """Return the bound of the funding_continuity rule, at a price of 1; clocks jitter by the allowed skew."""
    return funding_bound(policy.funding, _ONE, elapsed_ns + policy.staleness.future_skew_ns)


def _error(policy: MarketPolicy, elapsed_ns: int) -> Decimal:
    return _step(policy, elapsed_ns) + _accrued(policy, elapsed_ns)


def _accrued(policy: MarketPolicy, elapsed_ns: int) -> Decimal:
    """Return how far the true funding index can have moved: at the cap all the time."""
    return policy.funding.rate_max * elapsed_ns / policy.funding.period_ns


def _unpredicted(policy: MarketPolicy, elapsed_ns: int, premium: Decimal) -> Decimal | None:
    """Return what a step may miss the prediction of a premium by; None where none predicts for so long."""
    rule = policy.funding
    if elapsed_ns > rule.gap_ns + rule.trip_after_ns:
        return None
    jitter = premium * policy.staleness.future_skew_ns / rule.period_ns
    predicted = premium * elapsed_ns / rule.period_ns
    bound = funding_bound(rule, _ONE, elapsed_ns)
    return jitter + predicted * rule.predicted_step_share + bound * rule.bound_share


def _callers_index(policy: MarketPolicy) -> Decimal | None:
    """Return how wrong the index of a caller can be, against what was trusted last, on the oldest data that count."""
    if not enforced(policy, "basis") or not policy.basis.required:
        return None
    oldest_ns = policy.staleness.deny_after_ns
    return funding_bound(policy.funding, _ONE, oldest_ns + policy.basis.window_ns) + _accrued(policy, oldest_ns)


def _banded(policy: MarketPolicy, closures: RestrictedClosures, execution: Decimal | None) -> Decimal | None:
    if not enforced(policy, "band"):
        return execution
    return Decimal(0) if closures is RestrictedClosures.DENIED else _smaller(policy.band.share, execution)


def _smaller(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    """Return the smaller limit; None is no limit."""
    known = [limit for limit in (one, other) if limit is not None]
    return min(known, default=None)
