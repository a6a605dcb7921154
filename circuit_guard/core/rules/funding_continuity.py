"""funding_continuity: a funding index moves by accrual and by nothing else.

The bound, slack * rate cap * price * dt / period, is about 1/5000 of what a reset to zero does, and volatility cannot
reach it. Value and sign are no test: indices are legitimately negative, and new markets start at zero (DESIGN 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from circuit_guard.core.envelope import FundingParameters, GapMode, accrued_max, funding_bound, funding_price
from circuit_guard.core.market import FeedParameters
from circuit_guard.core.parameters import Parameters, number, share
from circuit_guard.core.policy import FirstSight, MarketPolicy
from circuit_guard.core.rule import FRESH, Delay, Excuse, Judges, Reason, Rule, Unseen
from circuit_guard.core.rules.divergence import DivergenceParameters
from circuit_guard.core.types import SECOND_NS, Finding, Severity, short_seconds, show, show_percent
from circuit_guard.core.view import MarketView

FUNDING_JUMP = "funding_jump"
FUNDING_MOVED_IN_GAP = "funding_moved_in_gap"
FUNDING_STEP_UNPREDICTED = "funding_step_unpredicted"

JUMPS = frozenset({FUNDING_JUMP, FUNDING_MOVED_IN_GAP})


@dataclass(frozen=True, slots=True)
class ContinuityParameters(Parameters):
    """How far a step of the funding index may miss what the last premium predicts."""

    TABLE: ClassVar[str] = "funding"

    predicted_step_share: Decimal = number(
        "0.5",
        "A step may miss what the premium predicts by this fraction of the predicted step ... (DESIGN 3)",
        most=10,
    )
    bound_share: Decimal = share("0.02", "... plus this fraction of the bound; beyond that it is denied (DESIGN 3).")


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Latch on a step funding cannot make; deny one the premium does not predict, trip if that lasts.

    Before the market was ever warm nothing is known to be true, so a jump only denies and the first sight starts over.
    """
    state, trusted, index = view.state, view.state.trusted, view.published.funding_index
    price = funding_price(trusted.index_price, trusted.mark_price)
    if view.observation is None or index is None or trusted.funding_index is None or price is None:
        return
    accrual_ns = state.feed.accrual_ns(view.observation.event_time_ns, policy, view.now_ns)
    funding, rule = policy.of(FundingParameters), policy.of(ContinuityParameters)
    frozen = funding.gap_mode is GapMode.FREEZE and accrual_ns == 0
    jitter_ns = 0 if frozen else policy.of(FeedParameters).future_skew_ns
    bound = funding_bound(funding, price, accrual_ns + jitter_ns)
    step = index - trusted.funding_index
    if abs(step) > bound:
        reason = FUNDING_MOVED_IN_GAP if frozen else FUNDING_JUMP
        severity = Severity.LATCH if state.was_warm else Severity.DENY
        observed = f"{show(index)}, a step of {show(step)}"
        yield Finding(reason, severity, "funding_index", observed, f"{show(trusted.funding_index)} +/- {show(bound)}")
    elif trusted.funding_premium is not None and accrual_ns <= funding.gap_ns + funding.trip_after_ns:
        # Over a longer gap the last premium predicts nothing, and a trusted value that no
        # observation could follow any more would hold the market for ever.
        predicted = trusted.funding_premium * accrual_ns / funding.period_ns
        jitter = abs(trusted.funding_premium) * jitter_ns / funding.period_ns
        tolerance = (
            jitter
            + abs(predicted) * rule.predicted_step_share
            + funding_bound(funding, price, accrual_ns) * rule.bound_share
        )
        if abs(step - predicted) > tolerance:
            reason = FUNDING_STEP_UNPREDICTED
            severity = view.lasting(reason, funding.trip_after_ns)
            observed = f"{show(index)}, a step of {show(step)}"
            limit = f"a step of {show(predicted)} +/- {show(tolerance)}"
            yield Finding(reason, severity, "funding_index", observed, limit)


SPANS_S = (5, 60, 600, 3600, 28_800)
"""Seconds since the funding index was trusted last: an observation, a hiccup, an outage, a funding period."""

_HOUR_S = 3600
_ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class FundingLimit:
    """What a funding index can do this long after it was trusted last, as fractions of the price."""

    elapsed_ns: int
    step: Decimal
    """The largest step from the trusted index that is no jump."""
    error: Decimal
    """An index further than this from the true one is surely a jump: the truth may have moved the other way."""
    unpredicted: Decimal | None
    """The largest step that is not denied while a premium of zero is published; None: no premium predicts this far,
    the step alone is the limit."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a funding index can drift from the true one in an hour of one observation per second, each passing."""

    unpublished: Decimal
    """Where the exchange publishes no premium."""
    premium_zero: Decimal | None
    premium_at_cap: Decimal | None
    """Where it publishes the true premium, which is zero, or at the cap; None: no premium predicts a second ahead."""


def funding_limits(policy: MarketPolicy) -> list[FundingLimit]:
    """Return what a funding index can do, for each of SPANS_S."""
    return [
        FundingLimit(
            span_ns, _step(policy, span_ns), _error(policy, span_ns), _unpredicted(policy, span_ns, Decimal(0))
        )
        for span_ns in (span_s * SECOND_NS for span_s in SPANS_S)
    ]


def funding_drift(policy: MarketPolicy) -> Drift:
    """Return how far a funding index can drift by steps that pass. Nothing compares it with where it was long ago."""
    largest = _error(policy, SECOND_NS)
    zero = _unpredicted(policy, SECOND_NS, Decimal(0))
    at_cap = _unpredicted(policy, SECOND_NS, policy.of(FundingParameters).rate_max)
    return Drift(
        unpublished=largest * _HOUR_S,
        premium_zero=None if zero is None else min(zero, largest) * _HOUR_S,
        premium_at_cap=None if at_cap is None else min(at_cap, largest) * _HOUR_S,
    )


def _step(policy: MarketPolicy, elapsed_ns: int) -> Decimal:
    """Return the bound on a step at a price of 1, as `evaluate` has it: clocks jitter by the allowed skew."""
    return funding_bound(policy.of(FundingParameters), _ONE, elapsed_ns + policy.of(FeedParameters).future_skew_ns)


def _error(policy: MarketPolicy, elapsed_ns: int) -> Decimal:
    return _step(policy, elapsed_ns) + accrued_max(policy.of(FundingParameters), elapsed_ns)


def _unpredicted(policy: MarketPolicy, elapsed_ns: int, premium: Decimal) -> Decimal | None:
    """Return what a step may miss the prediction of a premium by, at a price of 1; None where none predicts so far."""
    funding, rule = policy.of(FundingParameters), policy.of(ContinuityParameters)
    if elapsed_ns > funding.gap_ns + funding.trip_after_ns:
        return None
    jitter = premium * policy.of(FeedParameters).future_skew_ns / funding.period_ns
    predicted = premium * elapsed_ns / funding.period_ns
    return jitter + predicted * rule.predicted_step_share + funding_bound(funding, _ONE, elapsed_ns) * rule.bound_share


def _unseen(policy: MarketPolicy) -> Iterator[Unseen]:
    limit = _error(policy, SPANS_S[0] * SECOND_NS)
    yield Unseen("published_funding_index", limit, label=f"the funding index, published {SPANS_S[0]} s after the last")


def _delays(policy: MarketPolicy) -> Iterator[Delay]:
    yield Delay("a funding index that jumps", 0, latches=True)
    what = "a funding index that its premium does not predict"
    yield Delay(what, 0, policy.of(FundingParameters).trip_after_ns)


def _notes(policy: MarketPolicy) -> Iterator[str]:
    rule, drift = policy.of(FundingParameters), funding_drift(policy)
    skew = short_seconds(policy.of(FeedParameters).future_skew_ns)
    yield (
        "Surely seen: the true index may have moved the other way meanwhile. An index that is nearer to zero than "
        f"this may be reset to zero unseen. The limit includes {skew} of accrual for clocks that differ."
    )
    published = (
        f"; where it publishes the true premium, by {show_percent(drift.premium_zero)} while that is zero and by "
        f"{show_percent(drift.premium_at_cap)} at the cap"
        if drift.premium_zero is not None and drift.premium_at_cap is not None
        else ""
    )
    yield (
        "Small steps that each pass add up. In an hour, at one observation per second, an index can drift from the "
        f"true one by {show_percent(drift.unpublished)} where the exchange publishes no premium{published}. The test "
        "of an account drifts with it."
    )
    if rule.gap_mode is GapMode.FREEZE:
        yield f"After a gap of more than {short_seconds(rule.gap_ns)} in the published data, every step is a jump."
    if policy.first_sight is FirstSight.CONFIRM:
        yield "An index that is wrong from the first observation on is the truth to the guard: first_sight is confirm."
    yield (
        "The price in these limits is the index price trusted last. It may itself be off by "
        f"{show_percent(policy.of(DivergenceParameters).index_base)}, and these limits with it."
    )


RULE = Rule(
    name="funding_continuity",
    rank=40,
    catches="A reset, jump, scale error, swap between markets, stale restore, double application or sign flip of the "
    "funding index. Latches at once; a step that the premium does not predict denies, and trips when that lasts.",
    judges=Judges.DATA,
    parameters=ContinuityParameters,
    reasons={
        FUNDING_JUMP: Reason("the funding index moved further than funding can move it", FRESH, Excuse.EXPLAINED),
        FUNDING_MOVED_IN_GAP: Reason(
            "the funding index moved over a gap in which it must not move", FRESH, Excuse.EXPLAINED
        ),
        FUNDING_STEP_UNPREDICTED: Reason(
            "the funding index did not move as the premium predicts", FRESH, Excuse.EXPLAINED
        ),
    },
    evaluate=evaluate,
    unseen=_unseen,
    delays=_delays,
    notes=_notes,
)
