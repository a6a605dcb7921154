"""What is in an answer, and what is none."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from circuit_guard.client import (
    Answer,
    BreakerState,
    ExplainedLoss,
    Explanation,
    GuardClient,
    LiftedBy,
    Outcome,
    Phase,
    Severity,
    Source,
    Verdict,
)
from circuit_guard.v1 import liquidation_pb2, order_pb2, types_pb2
from tests.client.guards import BTC, ETH, PATIENT_S, closure, decision, order, raw_guard

UNKNOWN: Any = 99
DECIDED_AT = datetime(2026, 1, 19, 12, 30, tzinfo=UTC)


def finding(**changes: Any) -> types_pb2.Finding:
    fields: dict[str, Any] = {
        "reason": "funding_jump",
        "rule": "funding_continuity",
        "severity": types_pb2.SEVERITY_LATCH,
        "subject": "funding_index",
        "observed": "0",
        "limit": "20511 +/- 0.2",
        "sentence": "the funding index moved further than funding can move it",
        "lifted_by": types_pb2.LIFTED_BY_OPERATOR,
        "ask_again_after": timedelta(seconds=1.5),
    }
    return types_pb2.Finding(**(fields | changes))


def answered(**changes: Any) -> Answer:
    """Return what a client makes of a decision that is as sound as it gets, changed."""

    def answering(method: str, request: bytes, context: object) -> bytes:
        check = liquidation_pb2.CheckLiquidationRequest.FromString(request).check
        return liquidation_pb2.CheckLiquidationResponse(decision=decision(check, **changes)).SerializeToString()

    with raw_guard(answering) as address, GuardClient(address, deadline_s=PATIENT_S) as client:
        return client.check(closure(request_id="request-1"))


def batched(answering: Callable[[liquidation_pb2.LiquidationCheck, int], Any]) -> tuple[Answer, ...]:
    """Return what a client makes of a batch of two of which each is answered by what `answering` returns, or not."""

    def respond(method: str, request: bytes, context: object) -> bytes:
        checks = liquidation_pb2.CheckLiquidationsRequest.FromString(request).checks
        results = [answering(check, number) for number, check in enumerate(checks)]
        found = [result for result in results if result is not None]
        return liquidation_pb2.CheckLiquidationsResponse(results=found).SerializeToString()

    with raw_guard(respond) as address, GuardClient(address, deadline_s=PATIENT_S) as client:
        return client.check_many([closure(), closure(market=ETH)])


def allowing(check: liquidation_pb2.LiquidationCheck) -> liquidation_pb2.LiquidationResult:
    return liquidation_pb2.LiquidationResult(decision=decision(check))


def test_answer_when_the_guard_denies_then_all_that_it_said_is_in_it() -> None:
    answer = answered(
        decision_id="d-1",
        verdict=types_pb2.VERDICT_DENY,
        shadow_verdict=types_pb2.VERDICT_DENY,
        findings=[finding(), finding(), finding(reason="basis_mark", shadow=True)],
        lifted_by=types_pb2.LIFTED_BY_OPERATOR,
        ask_again_after=timedelta(seconds=2),
        explanation="DENY: the whole of it",
        phase=types_pb2.PHASE_POST_ONLY,
        breaker=types_pb2.BREAKER_STATE_OPEN,
        policy_revision="p-1",
        decided_at=DECIDED_AT,
        repeated=True,
        explained_loss=liquidation_pb2.ExplainedLoss(
            verdict=liquidation_pb2.EXPLANATION_UNEXPLAINED, low="0.10", high="168.5"
        ),
    )

    assert not answer
    assert (answer.verdict, answer.source, answer.outcome) == (Verdict.DENY, Source.GUARD, Outcome.DENY)
    assert answer.reasons == ("funding_jump",)
    assert (answer.decision_id, answer.request_id, answer.account_id, answer.market) == (
        "d-1",
        "request-1",
        "account-1",
        BTC,
    )
    assert answer.explanation == "DENY: the whole of it"
    assert (answer.lifted_by, answer.ask_again_after) == (LiftedBy.OPERATOR, timedelta(seconds=2))
    assert (answer.phase, answer.breaker, answer.policy_revision) == (Phase.POST_ONLY, BreakerState.OPEN, "p-1")
    assert (answer.decided_at, answer.repeated, answer.shadow_verdict) == (DECIDED_AT, True, Verdict.DENY)
    assert answer.explained_loss == ExplainedLoss(
        verdict=Explanation.UNEXPLAINED, low=Decimal("0.10"), high=Decimal("168.5"), unknown_markets=()
    )
    first = answer.findings[0]
    assert (first.severity, first.lifted_by, first.ask_again_after) == (
        Severity.LATCH,
        LiftedBy.OPERATOR,
        timedelta(seconds=1.5),
    )
    assert (first.subject, first.observed, first.limit) == ("funding_index", "0", "20511 +/- 0.2")


def test_answer_when_the_guard_allows_then_it_is_true_and_what_it_found_are_no_reasons() -> None:
    answer = answered(findings=[finding()], shadow_verdict=types_pb2.VERDICT_DENY)

    assert answer
    assert answer.allowed
    assert not answer.fail_open
    assert (answer.source, answer.shadow_verdict) == (Source.GUARD, Verdict.DENY)
    assert answer.reasons == ()
    assert (answer.lifted_by, answer.ask_again_after, answer.explained_loss, answer.decided_at) == (None,) * 4


def test_answer_when_the_guard_is_newer_then_only_an_unknown_verdict_makes_it_none() -> None:
    answer = answered(
        verdict=types_pb2.VERDICT_DENY,
        findings=[finding(severity=UNKNOWN, lifted_by=UNKNOWN)],
        phase=UNKNOWN,
        breaker=UNKNOWN,
        lifted_by=UNKNOWN,
        explained_loss=liquidation_pb2.ExplainedLoss(verdict=UNKNOWN),
    )

    assert (answer.source, answer.phase, answer.breaker, answer.lifted_by) == (Source.GUARD, None, None, None)
    assert (answer.findings[0].severity, answer.findings[0].lifted_by) == (None, None)
    assert answer.reasons == ("funding_jump",)
    assert answer.explained_loss is not None
    assert answer.explained_loss.verdict is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"verdict": types_pb2.VERDICT_UNSPECIFIED}, "its verdict was 0, expected 1 (ALLOW) or 2 (DENY)"),
        (
            {"request_id": "request-2"},
            "its request_id was 'request-2', expected 'request-1': it answers another question",
        ),
        ({"market": ETH}, f"its market was '{ETH}', expected '{BTC}': it answers another question"),
        ({"account_id": "account-2"}, "its account_id was 'account-2', expected 'account-1': it answers another"),
        (
            {"explained_loss": liquidation_pb2.ExplainedLoss(low="1,5")},
            "its explained_loss.low was '1,5', expected a decimal",
        ),
        ({"ask_again_after": {"seconds": 2**62}}, f"its ask_again_after was {2**62} s, expected a duration"),
        ({"decided_at": {"seconds": 2**62}}, f"its time was {2**62} s, expected one of the years 1 to 9999"),
    ],
)
def test_answer_when_what_allows_is_not_sound_then_it_is_a_denial_that_says_what_is_wrong(
    changes: dict[str, Any], problem: str
) -> None:
    answer = answered(**changes)

    assert (answer.verdict, answer.source, answer.outcome) == (Verdict.DENY, Source.NO_ANSWER, Outcome.ERROR)
    assert problem in answer.explanation
    assert answer.ask_again_after is None


def test_batch_when_one_item_is_refused_then_it_alone_is_denied_and_says_why_and_so_does_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = types_pb2.RequestError(reason="MALFORMED_REQUEST", message="checks[1].size was 0, expected more")

    first, second = batched(
        lambda check, number: liquidation_pb2.LiquidationResult(error=refused) if number else allowing(check)
    )

    assert first.allowed
    assert (second.verdict, second.source, second.outcome) == (Verdict.DENY, Source.NO_ANSWER, Outcome.ERROR)
    assert "checks[1].size was 0, expected more" in second.explanation
    [record] = caplog.records
    assert (record.name, record.levelname) == ("circuit_guard.client", "WARNING")
    assert record.getMessage() == f"1 of 2 questions have no answer: {second.explanation}"


@pytest.mark.parametrize(
    ("answering", "problem"),
    [
        (lambda check, number: None if number else allowing(check), "it has 1 results, expected 2"),
        (lambda check, number: liquidation_pb2.LiquidationResult(), "one of its results is empty"),
        (
            lambda check, number: liquidation_pb2.LiquidationResult(
                decision=decision(check, market=BTC if number else ETH)
            ),
            "it answers another question",
        ),
    ],
    ids=["too few", "empty", "swapped"],
)
def test_batch_when_it_does_not_answer_what_was_asked_then_all_of_it_is_denied(answering: Any, problem: str) -> None:
    answers = batched(answering)

    assert [answer.verdict for answer in answers] == [Verdict.DENY, Verdict.DENY]
    assert all(problem in answer.explanation for answer in answers)


def test_orders_when_one_is_refused_and_one_judged_then_each_has_its_own_answer() -> None:
    def answering(method: str, request: bytes, context: object) -> bytes:
        first = order_pb2.CheckOrdersRequest.FromString(request).orders[0]
        judgement = order_pb2.OrderJudgement(
            order_id=first.order_id, market=first.market, verdict=types_pb2.VERDICT_ALLOW, judged_at=DECIDED_AT
        )
        error = types_pb2.RequestError(message="orders[1].side was 0, expected one of 1, 2")
        results = [order_pb2.OrderResult(judgement=judgement), order_pb2.OrderResult(error=error)]
        return order_pb2.CheckOrdersResponse(results=results).SerializeToString()

    with raw_guard(answering) as address, GuardClient(address, deadline_s=PATIENT_S) as client:
        first, second = client.check_orders([order(), order(order_id="order-2", created_at=DECIDED_AT)])

    assert (first.order_id, first.allowed, first.judged_at) == ("order-1", True, DECIDED_AT)
    assert (second.order_id, second.verdict, second.source) == ("order-2", Verdict.DENY, Source.NO_ANSWER)
    assert "orders[1].side was 0" in second.explanation


def test_answer_when_it_is_pickled_then_it_comes_back_whole() -> None:
    answer = answered(findings=[finding()])

    assert pickle.loads(pickle.dumps(answer)) == answer  # noqa: S301 - our own bytes
