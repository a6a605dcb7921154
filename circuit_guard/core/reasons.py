"""Every reason a finding can carry: a stable code on the wire, in the log and as a metric label."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from circuit_guard.core.types import SECOND_NS, Finding, Lift, Severity


class Reason(StrEnum):
    """The codes. Once released, a code keeps its meaning for ever."""

    NOT_A_NUMBER = "not_a_number"
    VALUE_ABSURD = "value_absurd"
    PRICE_NOT_POSITIVE = "price_not_positive"
    VALUE_MISSING = "value_missing"
    VALUE_UNREADABLE = "value_unreadable"
    UNKNOWN_SOURCE = "unknown_source"
    SEQUENCE_BACK = "sequence_back"
    SEQUENCE_CONFLICT = "sequence_conflict"
    EVENT_TIME_BACK = "event_time_back"
    EPOCH_INTERLEAVED = "epoch_interleaved"
    DATA_STALE = "data_stale"
    FUTURE_STAMP = "future_stamp"
    MARK_FROZEN = "mark_frozen"
    FUNDING_JUMP = "funding_jump"
    FUNDING_MOVED_IN_GAP = "funding_moved_in_gap"
    FUNDING_STEP_UNPREDICTED = "funding_step_unpredicted"
    FUNDING_RATE_OVER_CAP = "funding_rate_over_cap"
    FUNDING_PREMIUM_MISMATCH = "funding_premium_mismatch"
    MARK_DIVERGENCE = "mark_divergence"
    MARK_REVERTED = "mark_reverted"
    INDEX_DIVERGENCE = "index_divergence"
    EXECUTION_DIVERGENCE = "execution_divergence"
    REFERENCE_QUORUM = "reference_quorum"
    REFERENCE_MISSING = "reference_missing"
    REFERENCE_OUTLIER = "reference_outlier"
    OUTSIDE_BAND = "outside_band"
    BAND_CENTER_MISSING = "band_center_missing"
    BASIS_MISSING = "basis_missing"
    BASIS_MARK = "basis_mark"
    BASIS_FUNDING = "basis_funding"
    CORRELATED_LATCHES = "correlated_latches"
    UNKNOWN_MARKET = "unknown_market"
    WARMING = "warming"
    BREAKER_OPEN = "breaker_open"
    GLOBAL_BREAKER_OPEN = "global_breaker_open"
    OPERATOR_HALT = "operator_halt"
    PHASE_DENIES = "phase_denies"
    ACCOUNT_MARKET_HALTED = "account_market_halted"
    ORDER_NOT_POST_ONLY = "order_not_post_only"
    ROLLBACK_CANCEL = "rollback_cancel"
    RAMP_LIMITED = "ramp_limited"
    FIRST_SIGHT = "first_sight"
    ACCOUNT_TAINTED = "account_tainted"
    STATE_NOT_CLEAN = "state_not_clean"
    UNEXPLAINED_LOSS = "unexplained_loss"
    UNEXPLAINED_BURST = "unexplained_burst"
    MARK_UNCONFIRMED = "mark_unconfirmed"


@dataclass(frozen=True, slots=True)
class ReasonInfo:
    """What a reason means, which rule reports it, and how a denial for it ends."""

    rule: str
    sentence: str
    lift: Lift
    ask_again_ns: int | None
    """When asking again can help; None: not before somebody has acted."""


_FRESH = (Lift.FRESH_DATA, SECOND_NS)
_EVIDENCE = (Lift.EVIDENCE, 5 * SECOND_NS)
_CALLER = (Lift.CALLER, None)
_EXCHANGE = (Lift.EXCHANGE, 5 * SECOND_NS)
_OPERATOR = (Lift.OPERATOR, None)

REASONS: dict[Reason, ReasonInfo] = {
    reason: ReasonInfo(rule, sentence, *ending)
    for reason, rule, sentence, ending in (
        (Reason.NOT_A_NUMBER, "validity", "a published value is not a finite number", _FRESH),
        (Reason.VALUE_ABSURD, "validity", "a published value is beyond any magnitude that can be meant", _FRESH),
        (
            Reason.PRICE_NOT_POSITIVE,
            "validity",
            "a price is zero or negative in a market that has no such prices",
            _FRESH,
        ),
        (Reason.VALUE_MISSING, "validity", "a value that closures rest on was not given", _FRESH),
        (Reason.VALUE_UNREADABLE, "validity", "a value that the caller gave is not a finite number", _CALLER),
        (Reason.UNKNOWN_SOURCE, "validity", "the source is not one that the policy names for this market", _CALLER),
        (Reason.SEQUENCE_BACK, "ordering", "the feed sequence went back", _FRESH),
        (Reason.SEQUENCE_CONFLICT, "ordering", "one feed sequence was published with two contents", _FRESH),
        (Reason.EVENT_TIME_BACK, "ordering", "the event time went back", _FRESH),
        (Reason.EPOCH_INTERLEAVED, "ordering", "an older publishing process is still writing: two writers", _FRESH),
        (Reason.DATA_STALE, "staleness", "the last trusted value is too old", _FRESH),
        (Reason.FUTURE_STAMP, "staleness", "the event time lies in the future", _FRESH),
        (Reason.MARK_FROZEN, "staleness", "the mark price stands still while the references move", _FRESH),
        (Reason.FUNDING_JUMP, "funding_continuity", "the funding index moved further than funding can move it", _FRESH),
        (
            Reason.FUNDING_MOVED_IN_GAP,
            "funding_continuity",
            "the funding index moved over a gap in which it is frozen",
            _FRESH,
        ),
        (
            Reason.FUNDING_STEP_UNPREDICTED,
            "funding_continuity",
            "the funding index did not move as the premium predicts",
            _FRESH,
        ),
        (Reason.FUNDING_RATE_OVER_CAP, "funding_rate", "the funding rate is over its cap", _FRESH),
        (Reason.FUNDING_PREMIUM_MISMATCH, "funding_rate", "funding rate, premium and index price do not agree", _FRESH),
        (Reason.MARK_DIVERGENCE, "divergence", "the mark price is outside what the references explain", _FRESH),
        (
            Reason.MARK_REVERTED,
            "divergence",
            "a diverging mark price came back though the references never moved: it was wrong",
            _EVIDENCE,
        ),
        (Reason.INDEX_DIVERGENCE, "divergence", "the index price is outside what the references explain", _FRESH),
        (
            Reason.EXECUTION_DIVERGENCE,
            "divergence",
            "the execution price is outside what the references explain",
            _CALLER,
        ),
        (Reason.REFERENCE_QUORUM, "reference_quorum", "too few fresh references for a median", _FRESH),
        (Reason.REFERENCE_MISSING, "reference_quorum", "no fresh reference: the mark price cannot be judged", _FRESH),
        (Reason.REFERENCE_OUTLIER, "reference_quorum", "a reference is far from the median of the others", _FRESH),
        (Reason.OUTSIDE_BAND, "band", "the price is outside the band round the reference price", _FRESH),
        (Reason.BAND_CENTER_MISSING, "band", "no reference price to put the band round", _FRESH),
        (Reason.BASIS_MISSING, "basis", "the caller did not say which value it computed with", _CALLER),
        (Reason.BASIS_MARK, "basis", "the caller computed with a mark price that the guard never trusted", _CALLER),
        (Reason.BASIS_FUNDING, "basis", "the caller computed with a funding index that cannot be true", _CALLER),
        (Reason.CORRELATED_LATCHES, "correlated_trips", "several markets latched within a short time", _OPERATOR),
        (Reason.UNKNOWN_MARKET, "gate", "the policy does not name this market", _CALLER),
        (Reason.WARMING, "gate", "the market has not yet shown enough consistent observations", _EVIDENCE),
        (Reason.BREAKER_OPEN, "gate", "the market's breaker is OPEN (denying)", _EVIDENCE),
        (Reason.GLOBAL_BREAKER_OPEN, "gate", "the GLOBAL breaker is OPEN (denying)", _OPERATOR),
        (Reason.OPERATOR_HALT, "gate", "an operator has halted closures", _OPERATOR),
        (Reason.PHASE_DENIES, "gate", "no closures in this phase", _EXCHANGE),
        (
            Reason.ACCOUNT_MARKET_HALTED,
            "gate",
            "the account has a position in a market whose data is not trusted now",
            _EVIDENCE,
        ),
        (
            Reason.RAMP_LIMITED,
            "gate",
            "the market has just re-opened and lets closures through at a rising rate",
            _FRESH,
        ),
        (Reason.FIRST_SIGHT, "gate", "the policy wants an operator to confirm this market at first sight", _OPERATOR),
        (
            Reason.ACCOUNT_TAINTED,
            "gate",
            "the account was settled with a funding index that was discarded as wrong or rolled back",
            _CALLER,
        ),
        (
            Reason.STATE_NOT_CLEAN,
            "maintenance",
            "the exchange's state was not found clean before maintenance ended",
            _OPERATOR,
        ),
        (
            Reason.UNEXPLAINED_LOSS,
            "unexplained_loss",
            "the account is healthy at every value that can honestly be",
            _CALLER,
        ),
        (
            Reason.UNEXPLAINED_BURST,
            "unexplained_burst",
            "more closures than any move of the reference price explains",
            _EVIDENCE,
        ),
        (Reason.MARK_UNCONFIRMED, "slow_walk", "the references were never where the mark price was", _EVIDENCE),
        (Reason.ORDER_NOT_POST_ONLY, "band", "only post-only orders in this phase", _CALLER),
        (Reason.ROLLBACK_CANCEL, "band", "the order was placed before the rollback", _CALLER),
    )
}


_BY_CODE = {str(reason): info for reason, info in REASONS.items()}
_UNKNOWN = ReasonInfo("", "this version does not know the reason", *_OPERATOR)
"""What a finding of a newer guard reads like."""


def info_of(finding: Finding) -> ReasonInfo:
    """Return what the reason of a finding means."""
    return _BY_CODE.get(finding.reason, _UNKNOWN)


def lift(finding: Finding) -> Lift:
    """Return who or what ends the denial this finding causes: a latch is always an operator's."""
    return Lift.OPERATOR if finding.severity is Severity.LATCH else info_of(finding).lift


def ask_again_ns(finding: Finding) -> int | None:
    """Return how long to wait before asking again can help, or None where somebody has to act first."""
    return None if finding.severity is Severity.LATCH else info_of(finding).ask_again_ns


def sentence(finding: Finding) -> str:
    """Return the finding as one sentence for a person."""
    return f"{info_of(finding).sentence}: {finding.subject} was {finding.observed}, expected {finding.limit}"
