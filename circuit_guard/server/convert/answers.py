"""Core facts as answers."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from functools import lru_cache

from circuit_guard.core import reasons, sentences
from circuit_guard.core.facts import DecisionMade, ObservationJudged, OrderJudged, ReferenceJudged
from circuit_guard.core.permit import decision_of
from circuit_guard.core.types import (
    DIGITS_MAX,
    AllowedCheck,
    CheckKind,
    Decision,
    ExplainedLoss,
    Finding,
    MarketOutcome,
    Phase,
)
from circuit_guard.errors import SHOWN_CHARACTERS_MAX, WireError
from circuit_guard.server.convert import enums, records
from circuit_guard.v1 import liquidation_pb2, market_data_pb2, order_pb2, types_pb2

LOWER_BOUND = Context(prec=DIGITS_MAX, rounding=ROUND_FLOOR)
UPPER_BOUND = Context(prec=DIGITS_MAX, rounding=ROUND_CEILING)
"""Computed bounds are rounded to what the wire may carry: away from each other, never towards."""

MALFORMED_REQUEST = "MALFORMED_REQUEST"
REQUEST_ID_CONFLICT = "REQUEST_ID_CONFLICT"
ANSWER_TOO_LARGE = "ANSWER_TOO_LARGE"


class ConflictError(WireError):
    """A check came with a known request_id and another content."""


class NoRoomError(WireError):
    """The answer to a batch has no room for a check: nothing was decided about it, and it is to be asked again."""


FINDING = records.Record(Finding, types_pb2.Finding)


def finding(found: Finding) -> types_pb2.Finding:
    """Return one finding with all that explains it."""
    return FINDING.write(
        found,
        rule=reasons.rule_of(found.reason),
        sentence=reasons.sentence(found),
        lifted_by=enums.LIFTS[reasons.lift(found)],
        ask_again_after=records.duration(reasons.ask_again_ns(found)),
    )


def findings(found: Iterable[Finding]) -> list[types_pb2.Finding]:
    """Return findings in the order they were found."""
    return [finding(one) for one in found]


FINDINGS = records.Codec(findings, lambda messages: tuple(map(FINDING.read, messages)))

EXPLAINED_LOSS = records.Record(
    ExplainedLoss,
    liquidation_pb2.ExplainedLoss,
    low=records.Codec(lambda bound: str(LOWER_BOUND.plus(bound)), records.DECIMAL.read),
    high=records.Codec(lambda bound: str(UPPER_BOUND.plus(bound)), records.DECIMAL.read),
    unknown=records.TEXTS.named("unknown_markets"),
)
DECISION = records.Record(
    Decision,
    liquidation_pb2.LiquidationDecision,
    at_ns=records.TIME.named("decided_at"),
    findings=FINDINGS,
    explained=EXPLAINED_LOSS.one().named("explained_loss").or_none(),
)
JUDGEMENT = records.Record(
    OrderJudged, order_pb2.OrderJudgement, at_ns=records.TIME.named("judged_at"), findings=FINDINGS
)
OUTCOME = records.Record(MarketOutcome, types_pb2.MarketOutcome)


def decision(made: DecisionMade) -> liquidation_pb2.LiquidationDecision:
    """Return the answer to a check."""
    answer = made.decision
    denying = sentences.denying_of(answer.verdict, answer.findings)
    return DECISION.write(
        answer,
        lifted_by=_lifted_by(denying),
        ask_again_after=records.duration(sentences.longest_wait_ns(denying)),
        explanation=sentences.explain_decision(answer),
        repeated=made.repeated,
        age=records.duration(made.at_ns - answer.at_ns),
    )


_NUMBERS = liquidation_pb2.LiquidationDecision.DESCRIPTOR.fields_by_name
_DECISION_ID, _REQUEST_ID, _ACCOUNT_ID, _DECIDED_AT = (
    _NUMBERS[name].number for name in ("decision_id", "request_id", "account_id", "decided_at")
)


@lru_cache(maxsize=4096)
def _same_for_all(market: str, kind: CheckKind, phase: Phase, revision: str) -> bytes:
    """Return the part of an answer that is the same for everything that a permit of a market allows."""
    named = AllowedCheck(0, 0, "", "", market, kind, "", "", "", "", phase, revision)
    message = decision(DecisionMade(0, decision_of(named)))
    for own in ("decision_id", "decided_at"):
        message.ClearField(own)
    same: bytes = message.SerializeToString()
    return same


def allowed(check: AllowedCheck) -> bytes:
    """Return the answer to a check that a permit allowed, as the bytes of a LiquidationDecision.

    They are those of `decision`, in an eighth of the time: only ids and time differ between such answers.
    """
    at_ns, number, request_id, account_id, market, kind, *_, phase, revision = check
    stamp, decided_at = _of_time(at_ns)
    ident, request, account = b"%b%x" % (stamp, number), request_id.encode(), account_id.encode()
    same = _same_for_all(market, kind, phase, revision)
    if len(request) < _SHORT and len(account) < _SHORT:  # as nearly always
        lengths = len(ident), len(request), len(account)
        return _IN_SHORT % (lengths[0], ident, lengths[1], request, lengths[2], account, same, decided_at)
    fields = (_DECISION_ID, ident), (_REQUEST_ID, request), (_ACCOUNT_ID, account)
    return b"".join((*(delimited(number, data) for number, data in fields), same, decided_at))


_SHORT = 128
"""The length of a shorter field takes one byte."""
_IN_SHORT = b"%c%%c%%b%c%%c%%b%c%%c%%b%%b%%b" % tuple(
    number << 3 | 2 for number in (_DECISION_ID, _REQUEST_ID, _ACCOUNT_ID)
)


@lru_cache(maxsize=64)
def _of_time(at_ns: int) -> tuple[bytes, bytes]:
    """Return what decisions of one instant share: how their ids begin, and the field that says when."""
    return b"%x-" % at_ns, delimited(_DECIDED_AT, records.timestamp(at_ns).SerializeToString())


def delimited(number: int, data: bytes) -> bytes:
    """Return a field of a message as protobuf writes it: its number, the length, the data. The number is below 16."""
    length, head = len(data), number << 3 | 2
    if length < 128:
        return b"%c%c%b" % (head, length, data)
    if length < 1 << 14:
        return b"%c%c%c%b" % (head, length & 127 | 128, length >> 7, data)
    return b"%c%c%c%c%b" % (head, length & 127 | 128, length >> 7 & 127 | 128, length >> 14, data)


_RESULTS = market_data_pb2.PublishObservationsResponse.DESCRIPTOR.fields_by_name["results"].number
assert market_data_pb2.PublishReferencesResponse.DESCRIPTOR.fields_by_name["results"].number == _RESULTS  # noqa: S101  # one constant serves both


def judgement(judged: OrderJudged) -> order_pb2.OrderJudgement:
    """Return the answer for an order."""
    denying = sentences.denying_of(judged.verdict, judged.findings)
    return JUDGEMENT.write(
        judged,
        lifted_by=_lifted_by(denying),
        ask_again_after=records.duration(sentences.longest_wait_ns(denying)),
        explanation=sentences.explain_answer(judged.verdict, judged.market, judged.findings),
    )


def published(judged: ObservationJudged | ReferenceJudged) -> bytes:
    """Return the answer for a published item that was judged, as a field of the response: see `publish_result`."""
    redelivered = isinstance(judged, ObservationJudged) and judged.redelivered
    if judged.accepted and not judged.findings and not redelivered:
        return _TAKEN
    accepted = market_data_pb2.PUBLISH_STATUS_ACCEPTED
    return publish_result(
        market_data_pb2.PublishResult(
            status=accepted if judged.accepted else market_data_pb2.PUBLISH_STATUS_REJECTED,
            redelivered=redelivered,
            findings=findings(judged.findings),
        )
    )


def publish_result(result: market_data_pb2.PublishResult) -> bytes:
    """Return one result as it stands in a response; the responses to observations and to references are alike."""
    return delimited(_RESULTS, result.SerializeToString())


_TAKEN = publish_result(market_data_pb2.PublishResult(status=market_data_pb2.PUBLISH_STATUS_ACCEPTED))
"""The answer for nearly every item: it was accepted, and there is nothing more to say."""


def refused(error: WireError) -> market_data_pb2.PublishResult:
    """Return the answer for a published item that was malformed."""
    return market_data_pb2.PublishResult(status=market_data_pb2.PUBLISH_STATUS_REFUSED, error=request_error(error))


def outcome(found: MarketOutcome) -> types_pb2.MarketOutcome:
    """Return one outcome with the sentence that explains it."""
    return OUTCOME.write(found, sentence=sentences.outcome_sentence(found))


def reason_of(error: WireError) -> str:
    """Return the reason in ErrorInfo."""
    if isinstance(error, NoRoomError):
        return ANSWER_TOO_LARGE
    return REQUEST_ID_CONFLICT if isinstance(error, ConflictError) else MALFORMED_REQUEST


def request_error(error: WireError) -> types_pb2.RequestError:
    """Return why one item of a batch has no answer."""
    return types_pb2.RequestError(
        reason=reason_of(error),
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
