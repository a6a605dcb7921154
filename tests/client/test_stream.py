"""A client with stream=True: its checks share one stream, and each has an answer of its own, or a denial in time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from circuit_guard.client import (
    Account,
    Answer,
    AsyncGuardClient,
    FailOpen,
    GuardClient,
    Outcome,
    Position,
    Source,
    Verdict,
)
from circuit_guard.client.metrics import ClientMetrics
from circuit_guard.client.stream import CHECK_BYTES_MAX, IN_FLIGHT_MAX, STALLED_S
from circuit_guard.client.testing import FakeGuard
from circuit_guard.v1 import liquidation_pb2
from tests.cli.running import running
from tests.client.guards import BTC, DEADLINE_S, ETH, PATIENT_S, closure, decision, streamed

FOUND_AGAIN_S = 10.0
Responses = Callable[[Iterator[liquidation_pb2.LiquidationCheck], grpc.ServicerContext], Iterator[Any]]


@pytest.fixture
def guard() -> Iterator[FakeGuard]:
    with FakeGuard() as guard:
        guard.allow()
        yield guard


@pytest.fixture
def client(guard: FakeGuard) -> Iterator[GuardClient]:
    with GuardClient(guard.address, deadline_s=PATIENT_S, stream=True) as client:
        yield client


@contextmanager
def stream_server(responses: Responses) -> Iterator[tuple[str, list[str]]]:
    """Run a server whose streams answer as the test chooses; give its address and the methods called, in order."""
    called: list[str] = []

    class Anything(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            method = handler_call_details.method
            called.append(method.rpartition("/")[2])
            if not method.endswith("Stream"):
                return grpc.unary_unary_rpc_method_handler(
                    lambda request, _: liquidation_pb2.CheckLiquidationResponse(decision=decision(request.check)),
                    liquidation_pb2.CheckLiquidationRequest.FromString,
                    liquidation_pb2.CheckLiquidationResponse.SerializeToString,
                )
            return grpc.stream_stream_rpc_method_handler(
                lambda requests, context: responses((request.check for request in requests), context),
                liquidation_pb2.CheckLiquidationStreamRequest.FromString,
                liquidation_pb2.CheckLiquidationStreamResponse.SerializeToString,
            )

    server = grpc.server(ThreadPoolExecutor(8), handlers=[Anything()], options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", called
    finally:
        server.stop(None).wait()


def allowed(check: liquidation_pb2.LiquidationCheck) -> Any:
    return streamed(check, decision=decision(check))


def outcome(answer: Answer) -> tuple[Verdict, Source, Outcome]:
    return answer.verdict, answer.source, answer.outcome


DEADLINE = (Verdict.DENY, Source.NO_ANSWER, Outcome.DEADLINE)
UNAVAILABLE = (Verdict.DENY, Source.NO_ANSWER, Outcome.UNAVAILABLE)
ERROR = (Verdict.DENY, Source.NO_ANSWER, Outcome.ERROR)


def test_stream_when_many_threads_ask_then_each_has_its_own_answer_and_there_was_one_stream() -> None:
    def in_any_order(checks: Iterator[Any], _: Any) -> Iterator[Any]:
        for first in checks:  # two at a time, the later one first
            second = next(checks)
            yield allowed(second)
            yield allowed(first)

    with (
        stream_server(in_any_order) as (address, called),
        GuardClient(address, deadline_s=PATIENT_S, stream=True) as client,
        ThreadPoolExecutor(16) as pool,
    ):
        answers = list(pool.map(client.check, [closure(request_id=f"r-{number}") for number in range(400)]))

    assert [answer.request_id for answer in answers] == [f"r-{number}" for number in range(400)]
    assert all(answers)
    assert called == ["CheckLiquidationStream"]


async def test_async_stream_when_many_tasks_ask_then_each_has_its_own_answer_and_there_was_one_stream() -> None:
    def in_order(checks: Iterator[Any], _: Any) -> Iterator[Any]:
        yield from map(allowed, checks)

    with stream_server(in_order) as (address, called):
        async with AsyncGuardClient(address, deadline_s=PATIENT_S, stream=True) as client:
            many = IN_FLIGHT_MAX * 2
            answers = await asyncio.gather(*(client.check(closure(request_id=f"r-{number}")) for number in range(many)))

    assert [answer.request_id for answer in answers] == [f"r-{number}" for number in range(many)]
    assert all(answers)
    assert called == ["CheckLiquidationStream"]


def test_stream_when_a_batch_or_orders_are_asked_then_they_go_as_ever(client: GuardClient, guard: FakeGuard) -> None:
    guard.deny(market=ETH)

    assert [answer.allowed for answer in client.check_many([closure(), closure(market=ETH)])] == [True, False]


def test_stream_when_the_guard_denies_then_its_words_are_passed_on_and_the_stream_goes_on(
    client: GuardClient, guard: FakeGuard
) -> None:
    guard.deny("funding_jump", market=ETH)

    denied, granted = client.check(closure(market=ETH)), client.check(closure())

    assert (denied.source, denied.reasons) == (Source.GUARD, ("funding_jump",))
    assert granted.allowed


def test_stream_when_one_check_has_no_answer_in_time_then_it_is_denied_and_not_answered_with_its_late_answer() -> None:
    go_on = threading.Event()

    def first_late(checks: Iterator[Any], _: Any) -> Iterator[Any]:
        late = next(checks)
        go_on.wait(PATIENT_S)
        yield allowed(late)
        yield from map(allowed, checks)

    with (
        stream_server(first_late) as (address, called),
        GuardClient(address, deadline_s=PATIENT_S, stream=True) as client,
    ):
        late = client.check(closure(request_id="same", size=Decimal(-1)), deadline_s=DEADLINE_S)
        other_content = client.check(closure(request_id="same", size=Decimal(-100)))
        go_on.set()
        later = client.check(closure())

    assert outcome(late) == DEADLINE
    assert f"the guard at {address} did not answer within 0.2 s; " in late.explanation
    assert other_content.allowed
    assert later.allowed
    assert called == ["CheckLiquidationStream", "CheckLiquidation"], "a request_id in flight is asked by itself"


def test_stream_when_the_same_request_id_is_in_flight_twice_then_both_are_answered() -> None:
    both = threading.Barrier(2)

    def waiting(checks: Iterator[Any], _: Any) -> Iterator[Any]:
        for check in checks:
            both.wait(PATIENT_S)
            yield allowed(check)

    with (
        stream_server(waiting) as (address, called),
        GuardClient(address, deadline_s=PATIENT_S, stream=True) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(client.check, closure(request_id="same"))
        while not called:
            time.sleep(0.001)
        second = client.check(closure(request_id="same"))
        both.wait(PATIENT_S)

        assert (first.result().allowed, second.allowed) == (True, True)
    assert called == ["CheckLiquidationStream", "CheckLiquidation"]


def test_stream_when_a_check_is_large_then_it_is_asked_by_itself() -> None:
    positions = tuple(
        Position(
            market=f"{BTC}-{number}",
            size=Decimal("0.123456789012345678901"),
            entry_price=Decimal("94000.123456789012345678901"),
            cached_funding_index=Decimal("20511.123456789012345678901"),
            maintenance_margin_fraction=Decimal("0.01"),
        )
        for number in range(900)
    )
    account = Account(collateral=Decimal(1), positions=positions)

    def none(checks: Iterator[Any], _: Any) -> Iterator[Any]:
        yield from ()

    with (
        stream_server(none) as (address, called),
        GuardClient(address, deadline_s=PATIENT_S, stream=True) as client,
    ):
        assert client.check(closure(account=account)).allowed

    assert called == ["CheckLiquidation"]
    assert CHECK_BYTES_MAX < 65_536, "the least that a guard can be set to take"


@pytest.mark.parametrize("times", [1, 2])
def test_stream_when_it_breaks_then_what_is_open_is_asked_once_more_on_another(times: int) -> None:
    broken: list[str] = []

    def breaking(checks: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        for check in checks:
            if len(broken) < times:
                broken.append(check.request_id)
                context.abort(grpc.StatusCode.UNAVAILABLE, "broken off")
            yield allowed(check)

    with (
        stream_server(breaking) as (address, called),
        GuardClient(address, deadline_s=PATIENT_S, stream=True) as client,
    ):
        answer = client.check(closure(request_id="asked"))

    assert broken == ["asked"] * times
    assert called == ["CheckLiquidationStream"] * 2
    assert outcome(answer) == (UNAVAILABLE if times == 2 else (Verdict.ALLOW, Source.GUARD, Outcome.ALLOW))


def test_stream_when_the_guard_ends_it_each_time_then_the_check_is_denied_and_fails_open_nowhere() -> None:
    answered: list[str] = []

    def ending(checks: Iterator[Any], _: Any) -> Iterator[Any]:
        check = next(checks)
        if not answered:
            answered.append(check.request_id)
            yield allowed(check)

    open_ = {BTC: FailOpen(30)}
    with (
        stream_server(ending) as (address, called),
        GuardClient(address, deadline_s=PATIENT_S, stream=True, fail_open=open_) as client,
    ):
        first, then = client.check(closure()), client.check(closure())

    assert first.allowed
    assert outcome(then) == UNAVAILABLE
    assert f"the guard at {address} ended the stream of checks before it had answered" in then.explanation
    assert 2 <= len(called) <= 3, "the first stream may have ended before the second check, or with it"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "refuses this client (UNAUTHENTICATED)"),
        (grpc.StatusCode.INTERNAL, "gave no answer (INTERNAL)"),
    ],
)
def test_stream_when_it_ends_with_another_error_then_everything_open_is_denied_with_it_and_asked_no_more(
    code: grpc.StatusCode, words: str
) -> None:
    def failing(checks: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        open_ = [next(checks) for _ in range(3)]
        assert len(open_) == 3
        context.abort(code, "for a test")
        yield

    with (
        stream_server(failing) as (address, called),
        GuardClient(address, deadline_s=PATIENT_S, stream=True) as client,
        ThreadPoolExecutor(3) as pool,
    ):
        answers = list(pool.map(client.check, [closure() for _ in range(3)]))

    assert [outcome(answer) for answer in answers] == [ERROR] * 3
    assert all(words in answer.explanation for answer in answers)
    assert called == ["CheckLiquidationStream"]


def test_stream_when_a_server_does_not_know_it_then_the_denial_says_so() -> None:
    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with GuardClient(f"127.0.0.1:{port}", deadline_s=PATIENT_S, stream=True) as client:
        answer = client.check(closure())
    server.stop(None)

    assert outcome(answer) == ERROR
    assert "is not a circuit_guard, or is another version of it" in answer.explanation


MALFORMED: dict[str, tuple[Callable[[liquidation_pb2.LiquidationCheck], Any], str]] = {
    "another request_id": (
        lambda check: streamed(liquidation_pb2.LiquidationCheck(request_id="x"), decision=decision(check)),
        "it answers nothing that was asked on its stream",
    ),
    "another market": (lambda check: streamed(check, decision=decision(check, market=ETH)), "its market was"),
    "no result": (lambda check: streamed(check), "its result is empty"),
    "unknown verdict": (lambda check: streamed(check, decision=decision(check, verdict=3)), "its verdict was 3"),
}


@pytest.mark.parametrize(("response", "words"), MALFORMED.values(), ids=MALFORMED.keys())
def test_stream_when_a_response_is_no_answer_then_the_check_is_denied_and_the_next_is_answered(
    response: Callable[[liquidation_pb2.LiquidationCheck], Any], words: str
) -> None:
    wrong = [response]

    def responding(checks: Iterator[Any], _: Any) -> Iterator[Any]:
        for check in checks:
            yield wrong.pop()(check) if wrong else allowed(check)

    with (
        stream_server(responding) as (address, _),
        GuardClient(address, deadline_s=PATIENT_S, stream=True) as client,
    ):
        malformed, next_one = client.check(closure()), client.check(closure())

    assert outcome(malformed) == ERROR
    assert words in malformed.explanation
    assert next_one.allowed


@pytest.mark.parametrize(
    ("reason", "expected", "words"),
    [
        ("RATE_LIMITED", ERROR, "gave no answer (RATE_LIMITED): too many"),
        ("JOURNAL_STALLED", UNAVAILABLE, "cannot decide: too many"),
        ("MALFORMED_REQUEST", ERROR, "asking again will not help: too many"),
    ],
)
def test_stream_when_the_guard_refuses_one_check_then_it_is_told_as_where_it_is_asked_by_itself(
    reason: str, expected: Any, words: str
) -> None:
    def refusing(checks: Iterator[Any], _: Any) -> Iterator[Any]:
        for check in checks:
            yield streamed(check, error={"reason": reason, "message": "too many"})

    with (
        stream_server(refusing) as (address, _),
        GuardClient(address, deadline_s=PATIENT_S, stream=True) as client,
    ):
        answer = client.check(closure())

    assert outcome(answer) == expected
    assert words in answer.explanation
    assert (answer.ask_again_after is None) == (reason == "MALFORMED_REQUEST")


def test_stream_when_the_guard_is_silent_then_a_market_fails_open_and_not_where_it_answers_others() -> None:
    def all_but_btc(checks: Iterator[Any], _: Any) -> Iterator[Any]:
        yield allowed(next(checks))
        for check in checks:
            if check.market != BTC:
                yield allowed(check)

    open_ = {BTC: FailOpen(30)}
    with (
        stream_server(all_but_btc) as (address, _),
        GuardClient(address, deadline_s=PATIENT_S, stream=True, fail_open=open_) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        client.check(closure())
        silent = client.check(closure(), deadline_s=DEADLINE_S)
        waiting = pool.submit(client.check, closure(), deadline_s=1.0)
        others = [client.check(closure(market=ETH))]
        while not waiting.done():
            others.append(client.check(closure(market=ETH)))
        overtaken = waiting.result()

    assert (silent.fail_open, silent.outcome) == (True, Outcome.DEADLINE)
    assert all(others)
    assert outcome(overtaken) == DEADLINE
    assert "did not answer within 1 s, though it answers other questions" in overtaken.explanation


def test_stream_when_the_guard_hangs_then_it_is_given_up_and_the_next_one_is_asked_anew(
    client: GuardClient, guard: FakeGuard
) -> None:
    guard.hang()
    with ThreadPoolExecutor(8) as pool:
        hung = list(pool.map(lambda _: client.check(closure(), deadline_s=STALLED_S + 0.3), range(8)))
    guard.delay(0)

    assert {outcome(answer) for answer in hung} == {DEADLINE}
    assert client.check(closure()).allowed


async def test_async_stream_when_as_many_are_in_flight_as_may_be_then_others_wait_for_room_until_their_deadline(
    guard: FakeGuard,
) -> None:
    guard.hang()
    async with AsyncGuardClient(guard.address, deadline_s=PATIENT_S, stream=True) as client:
        open_ = [asyncio.create_task(client.check(closure())) for _ in range(IN_FLIGHT_MAX)]
        await asyncio.to_thread(guard.wait_until_asked)
        no_room = await client.check(closure(request_id="no room"), deadline_s=DEADLINE_S)
        in_time = asyncio.create_task(client.check(closure()))
        guard.delay(0)
        answers = await asyncio.gather(*open_, in_time)

    assert outcome(no_room) == DEADLINE
    assert all(answers)
    assert "no room" not in {asked.request_id for asked in guard.closures}


async def test_async_stream_when_a_task_is_cancelled_then_only_its_check_is(guard: FakeGuard) -> None:
    guard.hang()
    async with AsyncGuardClient(guard.address, deadline_s=PATIENT_S, stream=True) as client:
        cancelled = asyncio.create_task(client.check(closure()))
        kept = asyncio.create_task(client.check(closure()))
        await asyncio.to_thread(guard.wait_until_asked)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        guard.delay(0)

        assert (await kept).allowed


def test_stream_when_the_client_is_closed_then_what_is_open_is_denied_and_so_is_what_comes_later(
    guard: FakeGuard,
) -> None:
    guard.hang()
    client = GuardClient(guard.address, deadline_s=PATIENT_S, stream=True)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.check, closure())
        guard.wait_until_asked()
        client.close()
        running_, later = asked.result(), client.check(closure())

    for answer in (running_, later):
        assert answer.explanation == f"DENY {BTC}: this client of the guard at {guard.address} has been closed."


async def test_async_stream_when_the_client_is_closed_then_what_is_open_is_denied_and_so_is_what_comes_later(
    guard: FakeGuard,
) -> None:
    guard.hang()
    client = AsyncGuardClient(guard.address, deadline_s=PATIENT_S, stream=True)
    asked = asyncio.create_task(client.check(closure()))
    await asyncio.to_thread(guard.wait_until_asked)
    await client.close()

    for answer in (await asked, await client.check(closure())):
        assert answer.explanation == f"DENY {BTC}: this client of the guard at {guard.address} has been closed."


def test_stream_when_the_guard_is_killed_and_returns_then_it_is_denied_meanwhile_and_found_again(
    client: GuardClient, guard: FakeGuard
) -> None:
    before = client.check(closure())
    guard.kill()
    meanwhile = client.check(closure())
    guard.restart()
    until = time.monotonic() + FOUND_AGAIN_S
    while not client.check(closure()).allowed:
        assert time.monotonic() < until, "the guard is back and was not found"

    assert before.allowed
    assert outcome(meanwhile) == UNAVAILABLE


async def test_async_stream_when_the_guard_is_killed_and_returns_then_it_is_denied_meanwhile_and_found_again(
    guard: FakeGuard,
) -> None:
    async with AsyncGuardClient(guard.address, deadline_s=PATIENT_S, stream=True) as client:
        before = await client.check(closure())
        await asyncio.to_thread(guard.kill)
        meanwhile = await client.check(closure())
        guard.restart()
        async with asyncio.timeout(FOUND_AGAIN_S):
            while not (await client.check(closure())).allowed:
                pass

    assert before.allowed
    assert outcome(meanwhile) == UNAVAILABLE


def test_stream_when_it_is_observed_then_each_check_counts_as_a_call(guard: FakeGuard) -> None:
    registry = CollectorRegistry()
    metrics = ClientMetrics(registry=registry)
    with GuardClient(guard.address, deadline_s=PATIENT_S, stream=True, observer=metrics) as client:
        client.check(closure())
        guard.deny()
        client.check(closure())
        guard.kill()
        client.check(closure())

    calls = {
        outcome.value: registry.get_sample_value("circuit_guard_client_calls_total", {"outcome": outcome.value})
        for outcome in Outcome
    }
    assert calls == {"allow": 1, "deny": 1, "unavailable": 1, "deadline": 0, "error": 0}


def test_stream_when_the_real_guard_answers_then_it_says_what_it_says_to_one_check_asked_by_itself(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as real, GuardClient(real.address, deadline_s=PATIENT_S, stream=True) as client:
        real.observe(times=3)
        known = closure(request_id="request-1")
        first, cold, repeated = client.check(known), client.check(closure(market=ETH)), client.check(known)
        conflict = client.check(closure(request_id="request-1", size=Decimal(-1)))
        real.observe(funding_index="0")
        latched = client.check(closure())

    assert (first.verdict, first.source, first.repeated) == (Verdict.ALLOW, Source.GUARD, False)
    assert (cold.verdict, cold.source) == (Verdict.DENY, Source.GUARD)
    assert (repeated.decision_id, repeated.repeated) == (first.decision_id, True)
    assert outcome(conflict) == ERROR
    assert "it differs in size" in conflict.explanation
    assert "funding_jump" in latched.reasons


def test_stream_when_the_real_guard_drains_while_checks_go_on_then_none_hangs_and_the_last_are_denied(
    tmp_path: Path,
) -> None:
    answers: list[Answer] = []
    draining = threading.Event()

    def ask_on(client: GuardClient) -> None:
        while not draining.is_set():
            answers.append(client.check(closure()))
        answers.append(client.check(closure()))

    with ThreadPoolExecutor(4) as pool:
        with running(tmp_path) as real:
            client = GuardClient(real.address, deadline_s=PATIENT_S, stream=True)
            real.observe(times=3)
            asking = [pool.submit(ask_on, client) for _ in range(4)]
            while len(answers) < 100:
                time.sleep(0.001)
        draining.set()
        for one in asking:
            one.result(PATIENT_S)
        client.close()

    assert answers[0].allowed
    assert outcome(answers[-1]) == UNAVAILABLE
    assert {answer.source for answer in answers if answer.allowed} == {Source.GUARD}


GUARD = """
import sys, time
from pathlib import Path
from tests.cli.running import running

with running(Path(sys.argv[1])) as guard:
    guard.observe(times=3)
    print(guard.address, flush=True)
    time.sleep(60)
"""


@contextmanager
def guard_process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a guard in a process of its own, to be stopped or killed by a signal."""
    command = [sys.executable, "-c", GUARD, str(folder)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def stop(process: subprocess.Popen[str]) -> None:
    """Stop a process, and wait until it has."""
    os.kill(process.pid, signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)


def ask_each(client: GuardClient, count: int, **how: Any) -> list[Answer]:
    """Ask about so many closures at once."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: client.check(closure(), **how), range(count)))


@pytest.mark.system
def test_stream_when_the_guards_process_is_stopped_then_all_are_denied_in_time_and_answered_when_it_goes_on(
    tmp_path: Path,
) -> None:
    with (
        guard_process(tmp_path) as (process, address),
        GuardClient(address, deadline_s=PATIENT_S, stream=True) as client,
    ):
        before = client.check(closure())
        stop(process)
        started = time.monotonic()
        stopped = ask_each(client, 16, deadline_s=DEADLINE_S)
        took_s = time.monotonic() - started
        os.kill(process.pid, signal.SIGCONT)
        after = client.check(closure())

    assert before.source is Source.GUARD
    assert {outcome(answer) for answer in stopped} == {DEADLINE}
    assert took_s < PATIENT_S / 2
    assert after.source is Source.GUARD


@pytest.mark.system
def test_stream_when_the_guards_process_is_killed_while_it_is_asked_then_the_denials_do_not_wait_for_the_deadline(
    tmp_path: Path,
) -> None:
    with guard_process(tmp_path) as (process, address), GuardClient(address, deadline_s=30, stream=True) as client:
        client.check(closure())
        stop(process)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask_each, client, 16)
            time.sleep(0.1)
            process.kill()
            answers = asked.result(timeout=PATIENT_S)

    assert {outcome(answer) for answer in answers} == {UNAVAILABLE}
