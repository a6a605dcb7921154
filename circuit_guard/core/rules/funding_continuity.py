"""funding_continuity: a funding index moves by accrual and by nothing else.

The bound, slack * rate cap * price * dt / period, is about 1/5000 of what a reset to zero does, and volatility cannot
reach it. Value and sign are no test: indices are legitimately negative, and new markets start at zero (DESIGN 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from circuit_guard.core.envelope import (
    FundingAccrual,
    FundingParameters,
    GapMode,
    Interval,
    accrued_max,
    fastest,
    funding_bound,
    rounding_of,
)
from circuit_guard.core.formatting import time_of_day
from circuit_guard.core.funding import OPENING, ORIGIN, SILENT_NS, Anchor, PathPoint
from circuit_guard.core.market import FeedParameters
from circuit_guard.core.parameters import Parameters, number, share
from circuit_guard.core.policy import FirstSight, MarketPolicy
from circuit_guard.core.rule import FRESH, Delay, Excuse, Judges, Reason, Rule, Unseen
from circuit_guard.core.settlement import FLOOR_SHARE, Due, next_settlement
from circuit_guard.core.types import SECOND_NS, Finding, Severity, short_seconds, show, show_percent
from circuit_guard.core.view import MarketView

FUNDING_JUMP = "funding_jump"
FUNDING_MOVED_IN_GAP = "funding_moved_in_gap"
FUNDING_OFF_SETTLEMENT = "funding_off_settlement"
FUNDING_STEP_UNPREDICTED = "funding_step_unpredicted"
FUNDING_UNEXPLAINED = "funding_unexplained"

RESET_SHARE = Decimal("0.1")
"""An index that is left with less than this of what it was may have been reset, and have accrued a little since."""
BASIS_PERIOD_NS = 8 * 3600 * SECOND_NS
MINUTE_NS = 60 * SECOND_NS
_HOUR_NS = Decimal(3600 * SECOND_NS)

JUMPS = frozenset({FUNDING_JUMP, FUNDING_MOVED_IN_GAP, FUNDING_OFF_SETTLEMENT})
TWICE = Decimal("1.5")
"""From this multiple of what is predicted on, a step is nearer to funding that was settled once too often."""


@dataclass(frozen=True, slots=True)
class ContinuityParameters(Parameters):
    """How far a step of the funding index may miss what the last premium predicts."""

    TABLE: ClassVar[str] = "funding"

    predicted_step_share: Decimal = number(
        "0.5",
        "A step may miss what the premium predicts by this fraction of the predicted step ... (DESIGN 3)",
        most=10,
    )
    bound_share: Decimal = share(
        "0.02", "... plus this fraction of the bound. A step that misses by more is denied (DESIGN 3)."
    )
    basis_share_per_h: Decimal = share(
        "0.0008",
        "If the premium is published, the index may differ over an hour by this fraction of the price from what "
        "mark and index price explain, and by more where the period is shorter than 8 h. "
        "Raise it for an exchange that averages its premium over hours, which lags "
        "after a crash. 1: no test, and a premium and an index that are wrong together pass.",
    )


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Latch on a move funding cannot make; deny one the premium does not predict, trip if that lasts.

    Before the market was ever warm nothing is known to be true, so a jump only denies and the first sight starts over.
    """
    trusted, index = view.state.trusted, view.published.funding_index
    if view.observation is None or view.path is None or index is None or trusted.funding_index is None:
        return
    if policy.of(FundingParameters).accrual is FundingAccrual.STEPWISE:
        finding = None if view.due is None else _Stepped(view, view.due, index, policy).finding()
        begins = view.state.funding.steps is None  # until here it may have accrued all the time
        if finding is not None and not (begins and next(_accrued(view, view.path, index, policy), None) is None):
            yield finding
        return
    yield from _accrued(view, view.path, index, policy)


def _accrued(view: MarketView, here: PathPoint, index: Decimal, policy: MarketPolicy) -> Iterator[Finding]:
    judged = _Judged(view, here, index, policy)
    if (jump := judged.jump()) is not None:
        yield jump
        return
    yield from filter(None, (judged.unpredicted(), judged.unexplained()))


class _Judged:
    """A published funding index, held against where the path has been."""

    def __init__(self, view: MarketView, here: PathPoint, index: Decimal, policy: MarketPolicy) -> None:
        self.view, self.here, self.index = view, here, index
        self.funding, self.rule = view.funding(policy), policy.of(ContinuityParameters)
        path, trusted = view.state.funding, view.state.trusted
        self.price = view.funding_price(policy) or Decimal(0)
        self.last = path.last or Anchor(ORIGIN, trusted.funding_index or Decimal(0))
        self.anchors = path.anchors() or [self.last]
        frozen_ns = here.accrual_ns - self.last.point.accrual_ns
        self.frozen = self.funding.gap_mode is GapMode.FREEZE and frozen_ns == 0
        self.skew_ns = 0 if self.frozen else policy.of(FeedParameters).future_skew_ns

    def jump(self) -> Finding | None:
        """Return a latch where the index is further from an anchor than any funding reaches, or goes on from a jump."""
        observed = f"{show(self.index)}, a step of {show(self.index - self.last.value)}"
        reason = FUNDING_MOVED_IN_GAP if self.frozen else FUNDING_JUMP
        severity = Severity.LATCH if self.view.state.was_warm else Severity.DENY
        if self._goes_on_from_rejected():
            limit = f"a value that goes on from {show(self.last.value)}: rejected until an operator rebaselines it"
            return Finding(reason, severity, "funding_index", observed, limit)
        for anchor in self.anchors:
            moved, reach = abs(self.index - anchor.value), self.here.reach - anchor.point.reach
            if moved > reach and moved > (bound := self._bound(anchor)):
                limit = f"{show(anchor.value)} +/- {show(bound)}{self._ago(anchor)}"
                return Finding(reason, severity, "funding_index", observed, limit)
        if self._is_reset():
            limit = f"a value that goes on from {show(self.last.value)}: next to zero is where a reset leaves it"
            return Finding(reason, severity, "funding_index", observed, limit)
        return None

    def unpredicted(self) -> Finding | None:
        """Return a denial where the premiums do not predict the move from an anchor."""
        for anchor in self.anchors:
            step, predicted = self.index - anchor.value, self._predicted(anchor)
            missed = predicted.distance(step)
            if missed <= self._of_step(anchor, predicted):  # as nearly always
                continue
            tolerance = self._tolerance(anchor, predicted)
            if missed > tolerance:
                limit = f"a step of {_about(predicted)} +/- {show(tolerance)}"
                return self._lasting(FUNDING_STEP_UNPREDICTED, f"{show(step)}{self._ago(anchor)}", limit)
        return None

    def unexplained(self) -> Finding | None:
        """Return a denial where, over an hour, mark and index price explain neither the move nor its premium."""
        if self.here.premium is None:
            return None
        share_per_h = _basis_share_per_h(self.funding, self.rule)
        for anchor in self.view.state.funding.hour:
            here, since, step = self.here, anchor.point, self.index - anchor.value
            low, high = here.explained_low - since.explained_low, here.explained_high - since.explained_high
            explained = Interval(min(low, _ZERO), max(high, _ZERO))
            missed = explained.distance(step)
            if missed <= share_per_h * self.price:  # as nearly always
                continue
            tolerance = share_per_h * self._price_hours(anchor)
            if missed > tolerance:
                limit = f"a step of {_about(explained)} +/- {show(tolerance)}"
                elapsed = short_seconds(here.accrual_ns - since.accrual_ns)
                return self._lasting(FUNDING_UNEXPLAINED, f"{show(step)} in {elapsed}", limit)
        return None

    def _lasting(self, reason: str, step: str, limit: str) -> Finding:
        severity = self.view.lasting(reason, self.funding.trip_after_ns)
        return Finding(reason, severity, "funding_index", f"{show(self.index)}, a step of {step}", limit)

    def _is_reset(self) -> bool:
        """Return whether the index fell to next to zero though no premium before or after takes it there.

        Over a long gap the bound may admit that, but an index that honestly went there would have been taken by its
        premium.
        """
        last, step = self.last, self.index - self.last.value
        if abs(self.index) > abs(last.value) * RESET_SHARE:
            return False
        premiums = [one for one in (last.point.premium, self.here.premium, Decimal(0)) if one is not None]
        periods = Decimal(self.here.accrual_ns - last.point.accrual_ns) / self.funding.period_ns
        by_premium = Interval(min(premiums) * periods, max(premiums) * periods)
        near_zero = funding_bound(self.funding, self.price, MINUTE_NS)
        return by_premium.distance(step) > max(near_zero, self._tolerance(last, by_premium))

    def _price_hours(self, anchor: Anchor) -> Decimal:
        """Return the price since the anchor times the hours since, an hour at least; a crash takes the price away."""
        elapsed_ns, price = self.here.accrual_ns - anchor.point.accrual_ns, self.price
        if elapsed_ns:
            reach = (self.here.reach - anchor.point.reach) / (self.funding.slack * self.funding.rate_max)
            price = max(price, reach * self.funding.period_ns / elapsed_ns)
        return price * max(Decimal(1), Decimal(elapsed_ns) / _HOUR_NS)

    def _goes_on_from_rejected(self) -> bool:
        rejected = self.view.state.funding.rejected
        if rejected is None:
            return False
        apart = abs(self.index - rejected.value)
        predicted = self._predicted(self.last)
        return apart <= self._bound(rejected) and apart < predicted.distance(self.index - self.last.value)

    def _bound(self, anchor: Anchor) -> Decimal:
        """Return how far from an anchor funding can have moved the index; clocks may differ, publishers round."""
        jitter = funding_bound(self.funding, self.price, self.skew_ns)
        return self.here.reach - anchor.point.reach + jitter + self._rounding(anchor)

    def _predicted(self, anchor: Anchor) -> Interval:
        return Interval(self.here.low - anchor.point.low, self.here.high - anchor.point.high)

    def _tolerance(self, anchor: Anchor, predicted: Interval) -> Decimal:
        premiums = (abs(one) for one in (self.here.premium, self.last.point.premium, anchor.point.premium) if one)
        jitter = max(premiums, default=Decimal(0)) * self.skew_ns / self.funding.period_ns
        share = self.rule.bound_share
        unseen = min(self.here.unseen - anchor.point.unseen, _unseen_at_most(self.funding, share, self.price))
        tolerance = jitter + max((self.here.reach - anchor.point.reach) * share, unseen) + self._rounding(anchor)
        return tolerance + self._of_step(anchor, predicted)

    def _of_step(self, anchor: Anchor, predicted: Interval) -> Decimal:
        """Return the part of the tolerance that grows with the predicted step; over many steps that averages out."""
        if anchor is not self.last:
            return _ZERO
        return max(abs(predicted.low), abs(predicted.high)) * self.rule.predicted_step_share

    def _rounding(self, anchor: Anchor) -> Decimal:
        return rounding_of(self.price, self.index, anchor.value)

    def _ago(self, anchor: Anchor) -> str:
        elapsed_ns = self.here.accrual_ns - anchor.point.accrual_ns
        return "" if anchor is self.last else f" in {short_seconds(elapsed_ns)}"


class _Stepped:
    """A published funding index that moves only when funding is settled, held against what may be settled in it."""

    def __init__(self, view: MarketView, due: Due, index: Decimal, policy: MarketPolicy) -> None:
        self.view, self.due, self.index, self.policy = view, due, index, policy
        self.last = due.stood(view.state.trusted.funding_index or Decimal(0))
        self.step = index - self.last

    def finding(self) -> Finding | None:
        """Latch on a move that is no settlement; deny one that the premium does not predict, trip if that lasts."""
        counts, stands = self.due.counts(self.step), abs(self.step) <= self.due.rounding
        if self._goes_on_from_rejected():
            limit = f"a value that goes on from {show(self.last)}: rejected until an operator rebaselines it"
            return self._latch(FUNDING_JUMP, limit)
        if not stands and self._is_reset():
            return self._latch(
                FUNDING_JUMP, f"a value that goes on from {show(self.last)}: next to zero is where a reset leaves it"
            )
        if counts:
            return None
        if not stands and self.due.most == 0:
            return self._latch(FUNDING_OFF_SETTLEMENT, f"{show(self.last)} until {self._next()}")
        furthest = self.due.bound * self.due.most + self.due.rounding
        if abs(self.step) > furthest:
            return self._latch(FUNDING_JUMP, f"{show(self.last)} +/- {show(furthest)}")
        return self._unpredicted()

    def _unpredicted(self) -> Finding:
        count = self.due.least or self.due.most
        predicted = self.due.predicted(count) or Interval(Decimal(0), Decimal(0))
        limit = f"a step of {_about(predicted)} +/- {show(self.due.tolerance(count))}"
        if count > 1:
            limit += f" for {count} settlements"
        outermost = max(predicted.low, predicted.high, key=abs)
        if self.step * outermost > 0 and abs(self.step) >= TWICE * abs(outermost) and not self.due.steps.opened:
            return self._latch(FUNDING_JUMP, limit)
        severity = self.view.lasting(FUNDING_STEP_UNPREDICTED, self.due.funding.trip_after_ns)
        return Finding(FUNDING_STEP_UNPREDICTED, severity, "funding_index", self._observed(), limit)

    def _goes_on_from_rejected(self) -> bool:
        rejected, low = self.view.state.funding.rejected, self.due.steps.premium_low
        if rejected is None or low is None:
            return False
        since = self.index - rejected.value
        predicted = (self.due.predicted(count) for count in range(self.due.most + 1))
        apart = min(one.distance(since) for one in predicted if one is not None)
        return apart < self.due.distance(self.step)

    def _is_reset(self) -> bool:
        """Return whether the index fell to next to zero though no premium takes it there, be the bound ever so wide."""
        low, high = self.due.steps.premium_low, self.due.steps.premium_high
        if low is None or high is None or abs(self.index) > abs(self.last) * RESET_SHARE:
            return False
        by_premium = Interval(min(low, Decimal(0)) * self.due.most, max(high, Decimal(0)) * self.due.most)
        missed = max(abs(by_premium.low), abs(by_premium.high)) * self.due.funding.settle_share
        return by_premium.distance(self.step) > missed + self.due.floor * max(self.due.most, 1) + self.due.rounding

    def _next(self) -> str:
        funding, tolerance_ns = self.due.funding, self.due.funding.settle_tolerance_ns
        at_ns = next_settlement(funding, self.due.until_ns + tolerance_ns)
        return f"{time_of_day(at_ns)} UTC +/- {short_seconds(tolerance_ns)}, the next settlement"

    def _latch(self, reason: str, limit: str) -> Finding:
        severity = Severity.LATCH if self.view.state.was_warm else Severity.DENY
        return Finding(reason, severity, "funding_index", self._observed(), limit)

    def _observed(self) -> str:
        return f"{show(self.index)}, a step of {show(self.step)}"


def _unseen_at_most(funding: FundingParameters, bound_share: Decimal, price: Decimal) -> Decimal:
    """Return what a premium that came and went in a silence may have moved the index by: half of an hour's tolerance.

    The anchor of an hour ago has more than that in any case, so it adds nothing to how far the index can drift.
    """
    return funding_bound(funding, price, 3600 * SECOND_NS) * bound_share / 2


def _about(interval: Interval) -> str:
    return show(interval.low) if interval.low == interval.high else str(interval)


SPANS_S = (5, 60, 600, 3600, 28_800)
"""Seconds since the funding index was trusted last: an observation, a hiccup, an outage, a funding period."""

_ZERO, _ONE = Decimal(0), Decimal(1)


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
    """How far a funding index can drift from the true one in an hour, each step passing.

    At any cadence up to `funding.gap_s`; one that is published more seldom drifts towards `unpublished`.
    """

    unpublished: Decimal
    """Where the exchange publishes no premium."""
    premium_zero: Decimal
    premium_at_cap: Decimal
    """Where it publishes the true premium, which is zero, or at the cap."""
    premium_wrong_too: Decimal
    """Where the premium is wrong along with the index: this much beyond what mark and index price explain."""


def funding_limits(policy: MarketPolicy) -> list[FundingLimit]:
    """Return what a funding index can do, for each of SPANS_S."""
    return [
        FundingLimit(
            span_ns, _step(policy, span_ns), _error(policy, span_ns), _unpredicted(policy, span_ns, Decimal(0))
        )
        for span_ns in (span_s * SECOND_NS for span_s in SPANS_S)
    ]


def funding_drift(policy: MarketPolicy) -> Drift:
    """Return how far a funding index can drift by steps that pass: it is held against where it was an hour ago.

    One that moves only at settlements may miss each by so much.
    """
    funding, rule, hour_ns = fastest(policy.of(FundingParameters)), policy.of(ContinuityParameters), 3600 * SECOND_NS
    largest = _error(policy, hour_ns)
    if funding.accrual is FundingAccrual.STEPWISE:
        steps = 1 + hour_ns // funding.period_ns
        floor = steps * FLOOR_SHARE
        at_cap = floor + steps * funding.rate_max * funding.settle_share
        return Drift(largest, min(floor, largest), min(at_cap, largest), largest)
    missed = funding_bound(funding, _ONE, hour_ns) * rule.bound_share
    jitter = funding.rate_max * policy.of(FeedParameters).future_skew_ns / funding.period_ns
    averaged = _basis_share_per_h(funding, rule)
    return Drift(largest, min(missed, largest), min(missed + jitter, largest), min(averaged, largest))


def _basis_share_per_h(funding: FundingParameters, rule: ContinuityParameters) -> Decimal:
    """Return what an index may miss in an hour: a premium that is an average pays the faster the shorter its period."""
    return rule.basis_share_per_h * max(Decimal(1), Decimal(BASIS_PERIOD_NS) / funding.period_ns)


def _step(policy: MarketPolicy, elapsed_ns: int) -> Decimal:
    """Return the bound on a step at a price of 1, as `evaluate` has it: clocks jitter by the allowed skew."""
    return funding_bound(
        fastest(policy.of(FundingParameters)), _ONE, elapsed_ns + policy.of(FeedParameters).future_skew_ns
    )


def _error(policy: MarketPolicy, elapsed_ns: int) -> Decimal:
    return _step(policy, elapsed_ns) + accrued_max(fastest(policy.of(FundingParameters)), elapsed_ns)


def _unpredicted(policy: MarketPolicy, elapsed_ns: int, premium: Decimal) -> Decimal | None:
    """Return what a step may miss the prediction of a premium by, at a price of 1; None where none predicts so far."""
    funding, rule = fastest(policy.of(FundingParameters)), policy.of(ContinuityParameters)
    if elapsed_ns > funding.gap_ns:
        return None
    jitter = premium * policy.of(FeedParameters).future_skew_ns / funding.period_ns
    predicted = premium * elapsed_ns / funding.period_ns
    return jitter + predicted * rule.predicted_step_share + funding_bound(funding, _ONE, elapsed_ns) * rule.bound_share


def _unseen(policy: MarketPolicy) -> Iterator[Unseen]:
    if policy.of(FundingParameters).accrual is FundingAccrual.NONE:
        return
    limit = _error(policy, SPANS_S[0] * SECOND_NS)
    yield Unseen("published_funding_index", limit, label=f"the funding index, published {SPANS_S[0]} s after the last")


def _delays(policy: MarketPolicy) -> Iterator[Delay]:
    if policy.of(FundingParameters).accrual is FundingAccrual.NONE:
        yield Delay("a wrong funding index: none is judged", None)
        return
    yield Delay("a funding index that jumps", 0, latches=True)
    what = "a funding index that its premium does not predict"
    yield Delay(what, 0, policy.of(FundingParameters).trip_after_ns)


def _notes(policy: MarketPolicy) -> Iterator[str]:
    accrual = policy.of(FundingParameters).accrual
    if accrual is FundingAccrual.CONTINUOUS:
        yield from _notes_of_accrual(policy)
    elif accrual is FundingAccrual.STEPWISE:
        yield from _notes_of_steps(policy.of(FundingParameters))
    else:
        yield "No funding index is judged: accrual is none. What an account has accrued is not seen."


def _notes_of_steps(funding: FundingParameters) -> Iterator[str]:
    yield (
        f"The index steps every {short_seconds(funding.period_ns)} and stands still between: any other move latches. "
        f"Near a settlement, {short_seconds(funding.settle_tolerance_ns)} before and after, one step is admitted, and "
        f"it may miss what the last premium predicts by {show_percent(funding.settle_share)} of that and by "
        f"{show_percent(FLOOR_SHARE)} of the price. Where no rate or premium is published, the step may be anything "
        "within the bound."
    )
    yield (
        "A premium that is wrong along with the step is seen only beyond the cap: what mark and index price explain is "
        "not looked at. A settlement of next to nothing that is left out is not seen."
    )


def _notes_of_accrual(policy: MarketPolicy) -> Iterator[str]:
    rule, drift = fastest(policy.of(FundingParameters)), funding_drift(policy)
    skew = short_seconds(policy.of(FeedParameters).future_skew_ns)
    yield (
        "Surely seen: the guard allows for a true index that moved the other way meanwhile. An index that is "
        f"nearer to zero than this may be reset to zero unseen. The limit includes {skew} of accrual for clocks "
        "that differ."
    )
    yield (
        "An index is compared with where it was a step, 1 min, 10 min and 1 h ago, so small steps do not add up. "
        f"In an hour it can drift from the true index by {show_percent(drift.unpublished)} if the exchange "
        f"publishes no premium. If it publishes the true premium, the drift is {show_percent(drift.premium_zero)} "
        f"while the premium is zero and {show_percent(drift.premium_at_cap)} while it is at the cap. If the "
        f"premium is wrong as well, the drift is {show_percent(drift.premium_wrong_too)} beyond what mark and "
        "index price explain: an index price that is wrong by as much as the cap explains a premium at the cap, and "
        f"the first figure holds. If the index is published less often than every {short_seconds(rule.gap_ns)}, no "
        "premium predicts all of it, and the first figure holds after "
        f"{short_seconds(rule.gap_ns * (1 + OPENING))}. The test of an account drifts with the index."
    )
    unseen = show_percent(_unseen_at_most(rule, policy.of(ContinuityParameters).bound_share, _ONE))
    yield (
        f"A premium can come and go while observations are missing for more than {short_seconds(SILENT_NS)}: an "
        f"index that moved by up to {unseen} more than the published premiums predict is not denied then."
    )
    if rule.period_min_ns:
        shortest = short_seconds(rule.period_ns)
        yield f"These figures hold at a period of {shortest}, the shortest that a publisher may claim."
    if rule.gap_mode is GapMode.FREEZE:
        yield f"After a gap of more than {short_seconds(rule.gap_ns)} in the published data, every step is a jump."
    if policy.first_sight is FirstSight.CONFIRM:
        yield "first_sight is confirm: the guard trusts an index that is wrong from the first observation on."
    yield (
        "The price in these limits is the last trusted index price. An error in it makes these limits wrong by the "
        "same fraction. The table of what passes unseen shows how large that error can be."
    )


RULE = Rule(
    name="funding_continuity",
    rank=40,
    catches="A reset, jump, scale error, swap between markets, stale restore, double application or sign flip of "
    "the funding index. Latches at once. A step that the premium does not predict denies, and trips when "
    "that lasts.",
    judges=Judges.DATA,
    parameters=ContinuityParameters,
    reasons={
        FUNDING_JUMP: Reason("the funding index moved further than funding can move it", FRESH, Excuse.EXPLAINED),
        FUNDING_MOVED_IN_GAP: Reason(
            "the funding index moved over a gap in which it must not move", FRESH, Excuse.EXPLAINED
        ),
        FUNDING_OFF_SETTLEMENT: Reason(
            "the funding index moved although no funding was settled", FRESH, Excuse.EXPLAINED
        ),
        FUNDING_STEP_UNPREDICTED: Reason(
            "the funding index did not move as the premium predicts", FRESH, Excuse.EXPLAINED
        ),
        FUNDING_UNEXPLAINED: Reason(
            "mark and index price do not explain how far the funding index moved",
            FRESH,
            Excuse.EXPLAINED,
        ),
    },
    evaluate=evaluate,
    unseen=_unseen,
    delays=_delays,
    notes=_notes,
)
