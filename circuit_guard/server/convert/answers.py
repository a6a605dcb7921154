"""Core facts as answers."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from circuit_guard.core import reasons, sentences
from circuit_guard.core.facts import DecisionMade, ObservationJudged, OrderJudged, ReferenceJudged
from circuit_guard.core.types import (
    DIGITS_MAX,
    SECOND_NS,
    ExplainedLoss,
    Finding,
    MarketOutcome,
)
from circuit_guard.errors import SHOWN_CHARACTERS_MAX, WireError
from circuit_guard.server.convert import enums
from circuit_guard.v1 import liquidation_pb2, market_data_pb2, order_pb2, types_pb2

LOWER_BOUND = Context(prec=DIGITS_MAX, rounding=ROUND_FLOOR)
UPPER_BOUND = Context(prec=DIGITS_MAX, rounding=ROUND_CEILING)
"""What was computed is rounded to what the wire may carry."""

MALFORMED_REQUEST = "MALFORMED_REQUEST"
REQUEST_ID_CONFLICT = "REQUEST_ID_CONFLICT"


def timestamp(at_ns: int) -> Timestamp:
    """Return nanoseconds since the Unix epoch as a protobuf time."""
    return Timestamp(seconds=at_ns // SECOND_NS, nanos=at_ns % SECOND_NS)


def duration(duration_ns: int | None) -> Duration | None:
    """Return a duration of at least 0 ns; None stays None, an absent field."""
    return None if duration_ns is None else Duration(seconds=duration_ns // SECOND_NS, nanos=duration_ns % SECOND_NS)


def finding(found: Finding) -> types_pb2.Finding:
    """Return one finding with all that explains it."""
    return types_pb2.Finding(
        reason=found.reason,
        rule=reasons.rule_of(found.reason),
        severity=enums.SEVERITIES[found.severity],
        subject=found.subject,
        observed=found.observed,
        limit=found.limit,
        sentence=reasons.sentence(found),
        shadow=found.shadow,
        lifted_by=enums.LIFTS[reasons.lift(found)],
        ask_again_after=duration(reasons.ask_again_ns(found)),
    )


def findings(found: Iterable[Finding]) -> list[types_pb2.Finding]:
    """Return findings in the order they were found."""
    return [finding(one) for one in found]


def decision(made: DecisionMade) -> liquidation_pb2.LiquidationDecision:
    """Return the answer to a check."""
    answer = made.decision
    denying = sentences.denying_of(answer.verdict, answer.findings)
    return liquidation_pb2.LiquidationDecision(
        decision_id=answer.decision_id,
        request_id=answer.request_id,
        account_id=answer.account_id,
        market=answer.market,
        kind=enums.KINDS[answer.kind],
        verdict=enums.VERDICTS[answer.verdict],
        shadow_verdict=enums.VERDICTS[answer.shadow_verdict],
        findings=findings(answer.findings),
        lifted_by=_lifted_by(denying),
        ask_again_after=duration(sentences.longest_wait_ns(denying)),
        explanation=sentences.explain_decision(answer),
        phase=enums.PHASES[answer.phase],
        breaker=enums.BREAKER_STATES[answer.breaker],
        policy_revision=answer.policy_revision,
        decided_at=timestamp(answer.at_ns),
        repeated=made.repeated,
        explained_loss=None if answer.explained is None else _explained_loss(answer.explained),
    )


def _explained_loss(loss: ExplainedLoss) -> liquidation_pb2.ExplainedLoss:
    """Return what trusted values say of a loss; its bounds are rounded away from each other, never towards."""
    return liquidation_pb2.ExplainedLoss(
        verdict=enums.EXPLANATIONS[loss.verdict],
        low="" if loss.low is None else str(LOWER_BOUND.plus(loss.low)),
        high="" if loss.high is None else str(UPPER_BOUND.plus(loss.high)),
        unknown_markets=loss.unknown,
    )


def judgement(judged: OrderJudged) -> order_pb2.OrderJudgement:
    """Return the answer for an order."""
    denying = sentences.denying_of(judged.verdict, judged.findings)
    return order_pb2.OrderJudgement(
        order_id=judged.order_id,
        market=judged.market,
        verdict=enums.VERDICTS[judged.verdict],
        findings=findings(judged.findings),
        lifted_by=_lifted_by(denying),
        ask_again_after=duration(sentences.longest_wait_ns(denying)),
        explanation=sentences.explain_answer(judged.verdict, judged.market, judged.findings),
        judged_at=timestamp(judged.at_ns),
    )


def published(judged: ObservationJudged | ReferenceJudged) -> market_data_pb2.PublishResult:
    """Return the answer for a published item that was judged."""
    accepted = market_data_pb2.PUBLISH_STATUS_ACCEPTED
    return market_data_pb2.PublishResult(
        status=accepted if judged.accepted else market_data_pb2.PUBLISH_STATUS_REJECTED,
        redelivered=isinstance(judged, ObservationJudged) and judged.redelivered,
        findings=findings(judged.findings),
    )


def refused(error: WireError) -> market_data_pb2.PublishResult:
    """Return the answer for a published item that was malformed."""
    return market_data_pb2.PublishResult(
        status=market_data_pb2.PUBLISH_STATUS_REFUSED, error=request_error(error, MALFORMED_REQUEST)
    )


def outcome(found: MarketOutcome) -> types_pb2.MarketOutcome:
    """Return one outcome with all that explains it."""
    return types_pb2.MarketOutcome(
        market=found.market,
        outcome=enums.OUTCOMES[found.outcome],
        subject=found.subject,
        observed=found.observed,
        limit=found.limit,
        swapped_with=found.swapped_with,
        sentence=sentences.outcome_sentence(found),
    )


def request_error(error: WireError, reason: str) -> types_pb2.RequestError:
    """Return why one item of a batch has no answer; `reason` as in ErrorInfo."""
    return types_pb2.RequestError(
        reason=reason,
        field=error.field,
        value=cut(error.value),
        expected=error.expected,
        message=str(error),
    )


def cut(text: str, characters_max: int = SHOWN_CHARACTERS_MAX) -> str:
    """Return text of at most that length, marked where something was left out."""
    return text if len(text) <= characters_max else text[: characters_max - 3] + "..."


def _lifted_by(denying: Iterable[Finding]) -> types_pb2.LiftedBy:
    hardest = sentences.hardest(denying)
    return types_pb2.LIFTED_BY_UNSPECIFIED if hardest is None else enums.LIFTS[hardest]
