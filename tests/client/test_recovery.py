"""A guard that was gone is found again soon, a try that broke off is repeated, and closing ends what is being asked."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from circuit_guard.client import AsyncGuardClient, GuardClient, Outcome, Source, Verdict
from circuit_guard.client.testing import FakeGuard
from tests.client.guards import BTC, DEADLINE_S, PATIENT_S, closure

FOUND_AGAIN_S = 10.0
"""Far over the second that it takes: a busy machine must not fail a test, and gRPC's own default is two minutes."""


@pytest.fixture
def guard() -> Iterator[FakeGuard]:
    with FakeGuard() as guard:
        guard.allow()
        yield guard


def test_check_when_the_guard_is_killed_and_returns_then_it_is_denied_meanwhile_and_found_again(
    guard: FakeGuard,
) -> None:
    with GuardClient(guard.address, deadline_s=PATIENT_S) as client:
        before = client.check(closure())
        guard.kill()
        meanwhile = [client.check(closure()) for _ in range(5)]
        guard.restart()
        until = time.monotonic() + FOUND_AGAIN_S
        while not client.check(closure()).allowed:
            assert time.monotonic() < until, "the guard is back and was not found"

    assert before.allowed
    assert {(answer.verdict, answer.outcome) for answer in meanwhile} == {(Verdict.DENY, Outcome.UNAVAILABLE)}


async def test_async_check_when_the_guard_is_killed_and_returns_then_it_is_denied_meanwhile_and_found_again(
    guard: FakeGuard,
) -> None:
    async with AsyncGuardClient(guard.address, deadline_s=PATIENT_S) as client:
        before = await client.check(closure())
        await asyncio.to_thread(guard.kill)
        meanwhile = await client.check(closure())
        guard.restart()
        async with asyncio.timeout(FOUND_AGAIN_S):
            while not (await client.check(closure())).allowed:
                pass

    assert before.allowed
    assert (meanwhile.verdict, meanwhile.outcome) == (Verdict.DENY, Outcome.UNAVAILABLE)


def test_check_when_what_hung_at_the_address_is_replaced_by_a_guard_then_it_is_found() -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        client = GuardClient(address, deadline_s=DEADLINE_S)
        assert client.check(closure()).outcome is Outcome.DEADLINE
        silent, _ = listener.accept()

    with silent, FakeGuard(address) as guard, client:
        guard.allow()
        until = time.monotonic() + FOUND_AGAIN_S
        while not client.check(closure()).allowed:
            assert time.monotonic() < until, "the client still waits for what hung"


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_check_when_the_connection_is_lost_then_it_is_asked_once_more_under_the_same_id(
    guard: FakeGuard, code: grpc.StatusCode
) -> None:
    guard.fail(code)
    with GuardClient(guard.address, deadline_s=PATIENT_S) as client:
        answer = client.check(closure())

    assert answer.verdict is Verdict.DENY
    assert [asked.request_id for asked in guard.closures] == [answer.request_id] * 2


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_check_when_the_guard_fails_otherwise_then_it_is_asked_once(guard: FakeGuard, code: grpc.StatusCode) -> None:
    guard.fail(code)
    with GuardClient(guard.address, deadline_s=PATIENT_S) as client:
        assert not client.check(closure())

    assert len(guard.closures) == 1


def test_check_when_the_guard_dies_while_it_decides_then_the_denial_does_not_wait_for_the_deadline(
    guard: FakeGuard,
) -> None:
    guard.hang()
    with GuardClient(guard.address, deadline_s=30) as client, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.check, closure())
        guard.wait_until_asked()
        guard.kill()
        answer = asked.result(timeout=PATIENT_S)

    assert (answer.verdict, answer.outcome) == (Verdict.DENY, Outcome.UNAVAILABLE)


def test_check_when_the_guard_answers_then_it_is_asked_once(guard: FakeGuard) -> None:
    with GuardClient(guard.address, deadline_s=PATIENT_S) as client:
        client.check(closure(request_id="request-1"))

    assert [asked.request_id for asked in guard.closures] == ["request-1"]


def test_check_when_the_guard_listens_on_a_unix_socket_then_it_is_reached(tmp_path: Path) -> None:
    with FakeGuard(f"unix:{tmp_path}/guard.sock") as guard, GuardClient(guard.address, deadline_s=PATIENT_S) as client:
        guard.allow()
        assert client.check(closure()).allowed


def test_close_when_questions_are_being_asked_then_they_are_denied_and_so_are_later_ones(guard: FakeGuard) -> None:
    guard.hang()
    client = GuardClient(guard.address, deadline_s=PATIENT_S)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.check, closure())
        guard.wait_until_asked()
        client.close()
        running, later = asked.result(), client.check(closure())

    for answer in (running, later):
        assert (answer.verdict, answer.source, answer.outcome) == (Verdict.DENY, Source.NO_ANSWER, Outcome.ERROR)
        assert answer.explanation == f"DENY {BTC}: this client of the guard at {guard.address} has been closed."


async def test_async_close_when_questions_are_being_asked_then_they_are_denied_and_so_are_later_ones(
    guard: FakeGuard,
) -> None:
    guard.hang()
    client = AsyncGuardClient(guard.address, deadline_s=PATIENT_S)
    asked = asyncio.create_task(client.check(closure()))
    await asyncio.to_thread(guard.wait_until_asked)
    await client.close()

    for answer in (await asked, await client.check(closure())):
        assert (answer.verdict, answer.source) == (Verdict.DENY, Source.NO_ANSWER)
        assert answer.explanation == f"DENY {BTC}: this client of the guard at {guard.address} has been closed."


async def test_async_check_when_its_task_is_cancelled_then_the_question_is_too_and_nothing_is_answered(
    guard: FakeGuard,
) -> None:
    guard.hang()
    async with AsyncGuardClient(guard.address, deadline_s=PATIENT_S) as client:
        asked = asyncio.create_task(client.check(closure()))
        await asyncio.to_thread(guard.wait_until_asked)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.check(closure())
        guard.delay(0)
        assert (await client.check(closure())).allowed


def test_client_when_many_threads_share_it_then_each_gets_the_answer_to_its_own_question(guard: FakeGuard) -> None:
    guard.deny(market="ODD")
    together = threading.Barrier(8)

    def ask(thread: int) -> list[tuple[str, str, bool]]:
        together.wait()
        found = []
        for number in range(20):
            asked = f"{thread}-{number}"
            answer = client.check(closure(request_id=asked, market="ODD" if number % 2 else BTC))
            found.append((asked, answer.request_id, answer.allowed == (number % 2 == 0)))
        return found

    with GuardClient(guard.address, deadline_s=PATIENT_S) as client, ThreadPoolExecutor(8) as pool:
        answers = [answer for thread in pool.map(ask, range(8)) for answer in thread]

    assert len(answers) == 160
    assert all(asked == answered and right for asked, answered, right in answers)


async def test_async_client_when_many_tasks_share_it_then_each_gets_the_answer_to_its_own_question(
    guard: FakeGuard,
) -> None:
    async with AsyncGuardClient(guard.address, deadline_s=PATIENT_S) as client:
        answers = await asyncio.gather(*(client.check(closure(request_id=f"r-{number}")) for number in range(100)))

    assert [answer.request_id for answer in answers] == [f"r-{number}" for number in range(100)]
    assert all(answers)
