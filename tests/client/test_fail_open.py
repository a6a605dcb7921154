"""A market that may fail open does so for a bounded time, where the guard itself last allowed it, never silently."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import grpc
import pytest
from google.rpc.status_pb2 import Status

from circuit_guard.client import Answer, AsyncGuardClient, CheckKind, FailOpen, GuardClient, Outcome, Source, Verdict
from circuit_guard.client.fail_policy import FailPolicy
from circuit_guard.client.testing import FakeGuard
from tests.client.guards import (
    BTC,
    DEADLINE_S,
    ETH,
    PATIENT_S,
    Answering,
    closure,
    order,
    raw_guard,
    verdict_of,
)

FOR_S = 30.0
OPEN = {BTC: FailOpen(FOR_S)}
SOL = "SOL-USD-PERP"


class Clock:
    """Monotonic seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard() -> Iterator[FakeGuard]:
    with FakeGuard() as guard:
        guard.allow()
        yield guard


@pytest.fixture
def client(guard: FakeGuard, clock: Clock) -> Iterator[GuardClient]:
    with GuardClient(guard.address, deadline_s=PATIENT_S, fail_open=OPEN, clock=clock) as client:
        yield client


def test_check_when_the_guard_allowed_and_then_died_then_it_fails_open_marked_and_logged(
    guard: FakeGuard, client: GuardClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    client.check(closure())
    guard.kill()
    clock.now += 5

    answer = client.check(closure(request_id="request-7"))

    assert (answer.verdict, answer.source, answer.outcome) == (Verdict.ALLOW, Source.NO_ANSWER, Outcome.UNAVAILABLE)
    assert answer.fail_open
    assert answer
    assert answer.explanation.startswith(f"FAIL-OPEN {BTC}: no guard answers at {guard.address} (")
    assert answer.explanation.endswith("and nobody has judged this closure.")
    [record] = caplog.records
    assert (record.name, record.levelno) == ("circuit_guard.client", logging.WARNING)
    assert record.getMessage().startswith(f"FAIL-OPEN {BTC}: no guard answers")
    assert "account_id=account-1 size=-0.5 kind=LIQUIDATION request_id=request-7" in record.getMessage()
    assert record.getMessage().endswith("the guard was last reached 5.0 s ago")


def test_check_when_the_time_is_over_then_it_is_closed_again_and_says_so(
    guard: FakeGuard, client: GuardClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    client.check(closure())
    guard.kill()
    clock.now += FOR_S
    at_the_end = client.check(closure())
    clock.now += 0.1
    after = client.check(closure())

    assert at_the_end.fail_open
    assert (after.verdict, after.source) == (Verdict.DENY, Source.NO_ANSWER)
    assert f"{BTC} may fail open for 30 s, but the guard was last reached 30.1 s ago" in after.explanation
    assert len(caplog.records) == 1


def test_check_when_closures_failed_open_then_that_did_not_lengthen_the_time(
    guard: FakeGuard, client: GuardClient, clock: Clock
) -> None:
    client.check(closure())
    guard.kill()
    verdicts = []
    for _ in range(4):
        clock.now += 10
        verdicts.append(client.check(closure()).verdict)

    assert verdicts == [Verdict.ALLOW, Verdict.ALLOW, Verdict.ALLOW, Verdict.DENY]


def test_check_when_the_guard_was_never_reached_then_it_is_closed(guard: FakeGuard, client: GuardClient) -> None:
    guard.kill()

    answer = client.check(closure())

    assert answer.verdict is Verdict.DENY
    assert f"{BTC} may fail open, but only after the guard was reached once" in answer.explanation


def test_check_when_the_guard_is_slow_then_it_fails_open_as_well(guard: FakeGuard, client: GuardClient) -> None:
    client.check(closure())
    guard.hang()

    answer = client.check(closure(), deadline_s=DEADLINE_S)

    assert (answer.fail_open, answer.outcome) == (True, Outcome.DEADLINE)


def test_check_when_the_guard_denies_then_it_never_fails_open(guard: FakeGuard, client: GuardClient) -> None:
    client.check(closure())
    guard.deny()

    assert client.check(closure()).source is Source.GUARD

    guard.kill()
    answer = client.check(closure())
    assert answer.verdict is Verdict.DENY
    assert f"{BTC} may fail open, but only while the guard's last word on it was ALLOW" in answer.explanation


def test_check_when_another_market_was_denied_then_this_one_still_fails_open(
    guard: FakeGuard, client: GuardClient
) -> None:
    client.check(closure())
    guard.deny("breaker_open", market=ETH)
    client.check(closure(market=ETH))
    guard.kill()

    assert client.check(closure()).fail_open


@pytest.mark.parametrize("reason", ["global_breaker_open", "operator_halt"])
def test_check_when_another_market_was_denied_for_all_markets_then_this_one_is_closed(
    guard: FakeGuard, client: GuardClient, clock: Clock, reason: str
) -> None:
    client.check(closure())
    clock.now += 1
    guard.deny(reason, market=ETH)
    client.check(closure(market=ETH))
    guard.kill()

    assert client.check(closure()).verdict is Verdict.DENY


def test_check_when_the_market_was_not_chosen_then_it_is_closed(guard: FakeGuard, client: GuardClient) -> None:
    client.check_many([closure(), closure(market=ETH)])
    guard.kill()

    btc, eth = client.check_many([closure(), closure(market=ETH)])

    assert btc.fail_open
    assert eth.verdict is Verdict.DENY
    assert f"the fail policy of {ETH} is closed" in eth.explanation


def test_check_when_the_market_was_chosen_and_never_asked_about_then_it_is_closed(
    guard: FakeGuard, clock: Clock
) -> None:
    chosen = {BTC: FailOpen(FOR_S), SOL: FailOpen(FOR_S)}
    with GuardClient(guard.address, deadline_s=PATIENT_S, fail_open=chosen, clock=clock) as client:
        client.check(closure())
        guard.kill()

        assert client.check(closure(market=SOL)).verdict is Verdict.DENY


def test_check_when_the_guard_returns_and_allows_then_it_may_fail_open_again(
    guard: FakeGuard, client: GuardClient, clock: Clock
) -> None:
    client.check(closure())
    guard.deny()
    client.check(closure())
    guard.allow()
    clock.now += 1
    client.check(closure())
    guard.kill()

    assert client.check(closure()).fail_open


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.CANCELLED,
    ],
)
def test_check_when_somebody_answers_with_an_error_then_it_is_closed_and_stays_so(
    guard: FakeGuard, client: GuardClient, clock: Clock, code: grpc.StatusCode
) -> None:
    client.check(closure())
    clock.now += 1
    guard.fail(code, "the guard has its reasons")

    failed = client.check(closure())
    guard.kill()
    later = client.check(closure())

    assert (failed.verdict, failed.outcome) == (Verdict.DENY, Outcome.ERROR)
    assert "the guard has its reasons" in failed.explanation
    assert later.verdict is Verdict.DENY


def test_check_when_the_guard_says_that_it_cannot_decide_then_it_is_closed() -> None:
    details = (("grpc-status-details-bin", Status(code=14, message="stopped").SerializeToString()),)

    def stop(context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata(details)
        context.abort(grpc.StatusCode.UNAVAILABLE, "the engine has stopped")

    answer = second_answer(lambda method, request, context: stop(context))

    assert (answer.verdict, answer.outcome) == (Verdict.DENY, Outcome.UNAVAILABLE)
    assert "cannot decide: the engine has stopped" in answer.explanation


def test_check_when_what_answers_is_no_verdict_then_it_is_closed() -> None:
    answer = second_answer(lambda method, request, context: verdict_of(method, request, 3))

    assert (answer.verdict, answer.outcome) == (Verdict.DENY, Outcome.ERROR)


def second_answer(answering: Answering) -> Answer:
    """Return what a client makes of a guard that allows once, and then answers so."""
    calls: list[str] = []

    def allow_once(method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        calls.append(method)
        return verdict_of(method, request, 1) if len(calls) == 1 else answering(method, request, context)

    with raw_guard(allow_once) as address, GuardClient(address, deadline_s=PATIENT_S, fail_open=OPEN) as client:
        assert client.check(closure()).allowed
        return client.check(closure())


def test_orders_when_the_guard_is_silent_then_none_fails_open(guard: FakeGuard, client: GuardClient) -> None:
    client.check(closure())
    client.check_orders([order()])
    guard.kill()

    (answer,) = client.check_orders([order()])

    assert (answer.verdict, answer.source, answer.fail_open) == (Verdict.DENY, Source.NO_ANSWER, False)


async def test_async_check_when_the_guard_died_then_it_fails_open_for_the_same_time(
    guard: FakeGuard, clock: Clock
) -> None:
    async with AsyncGuardClient(guard.address, deadline_s=PATIENT_S, fail_open=OPEN, clock=clock) as client:
        await client.check(closure())
        guard.kill()
        first = await client.check(closure())
        clock.now += FOR_S + 1
        second = await client.check(closure())

    assert first.fail_open
    assert second.verdict is Verdict.DENY


def test_policy_when_an_allow_arrives_after_a_later_denial_then_the_denial_stands() -> None:
    policy = FailPolicy(OPEN)

    policy.answered([_denied()], asked_at=11, now=12)
    policy.answered([_allowed()], asked_at=10, now=13)
    overtaken = policy.why_closed(BTC, now=14)
    policy.answered([_allowed()], asked_at=14, now=15)

    assert overtaken is not None
    assert policy.why_closed(BTC, now=15) is None


def test_policy_when_an_old_decision_is_repeated_then_it_opens_nothing() -> None:
    policy = FailPolicy(OPEN)

    policy.answered([replace(_allowed(), repeated=True)], asked_at=10, now=11)

    assert policy.why_closed(BTC, now=11) is not None


def _allowed() -> Answer:
    return Answer(
        market=BTC,
        verdict=Verdict.ALLOW,
        source=Source.GUARD,
        outcome=Outcome.ALLOW,
        explanation="",
        request_id="request-1",
        account_id="account-1",
        kind=CheckKind.LIQUIDATION,
    )


def _denied() -> Answer:
    return replace(_allowed(), verdict=Verdict.DENY, outcome=Outcome.DENY)
