"""CheckLiquidationStream: closures asked about one by one on one stream, without waiting for answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import grpc
import pytest
from grpc import aio

from circuit_guard.config.security import LimitSettings
from circuit_guard.core.inputs import HaltCommand
from circuit_guard.v1 import liquidation_pb2, market_data_pb2, types_pb2
from tests.driver import BTC, ETH, Driver, policy_of
from tests.server.conftest import Start
from tests.server.harness import Harness, basis, check
from tests.server.test_asked import without_account

ALLOW, DENY = types_pb2.VERDICT_ALLOW, types_pb2.VERDICT_DENY


def asked(question: liquidation_pb2.LiquidationCheck) -> liquidation_pb2.CheckLiquidationStreamRequest:
    return liquidation_pb2.CheckLiquidationStreamRequest(check=question)


async def answers(
    guard: Harness, questions: Iterable[liquidation_pb2.LiquidationCheck]
) -> dict[str, liquidation_pb2.LiquidationResult]:
    """Send all questions without reading an answer, then read them all."""
    call: Any = guard.liquidations.CheckLiquidationStream()
    for question in questions:
        await call.write(asked(question))
    await call.done_writing()
    return {response.request_id: response.result async for response in call}


async def test_stream_when_many_are_asked_at_once_then_each_is_answered_by_its_request_id(guard: Harness) -> None:
    found = await answers(guard, [check(request_id=f"r{n}", account_id=f"a{n}") for n in range(50)])

    assert list(found) == [f"r{n}" for n in range(50)]
    assert {result.decision.verdict for result in found.values()} == {ALLOW}
    assert found["r7"].decision.account_id == "a7"


async def test_stream_when_a_permit_answers_then_it_is_what_the_rules_answer(guard: Harness) -> None:
    questions = [without_account(request_id=f"r{n}", account_id=f"a{n}") for n in range(20)]

    found = await answers(guard, questions)
    batch = liquidation_pb2.CheckLiquidationsRequest(checks=[*questions, without_account(request_id="new")])
    results = list((await guard.liquidations.CheckLiquidations(batch)).results)

    assert len(guard.engine.state.allowed) == 21
    assert [result.decision.decision_id for result in results[:20]] == [
        result.decision.decision_id for result in found.values()
    ]
    assert {result.decision.repeated for result in results[:20]} == {True}
    assert results[20].decision.explanation == f"ALLOW {BTC}"
    single = await guard.decide(without_account(request_id="single"))
    assert (single.verdict, single.request_id, single.decided_at) == (ALLOW, "single", guard.time())


async def test_stream_when_one_check_is_malformed_then_it_has_an_error_and_the_others_an_answer(guard: Harness) -> None:
    found = await answers(guard, [check(request_id="bad", size="half"), check(request_id="good")])

    assert found["bad"].error.field == "check.size"
    assert found["good"].decision.verdict == ALLOW


async def test_stream_when_a_value_is_corrupt_then_only_that_check_is_denied(guard: Harness) -> None:
    wrong = check(request_id="wrong", basis=basis(funding_index="0"))

    found = await answers(guard, [check(request_id="before"), wrong, check(request_id="after", market=ETH)])

    assert found["wrong"].decision.verdict == DENY
    assert found["after"].decision.market == ETH


async def test_stream_when_a_halt_comes_between_two_checks_then_the_second_is_denied(guard: Harness) -> None:
    call: Any = guard.liquidations.CheckLiquidationStream()
    await call.write(asked(check(request_id="first")))
    first = await call.read()

    guard.engine.step(HaltCommand(guard.engine.now_ns(), (BTC,), "alice", "bad mark", None))
    await call.write(asked(check(request_id="second")))
    second = await call.read()

    assert (first.result.decision.verdict, second.result.decision.verdict) == (ALLOW, DENY)
    call.cancel()


async def test_stream_when_a_request_id_is_asked_again_then_it_is_the_same_decision(guard: Harness) -> None:
    single = await guard.decide(check(request_id="same"))

    found = await answers(guard, [check(request_id="same")])

    assert found["same"].decision.decision_id == single.decision_id
    assert found["same"].decision.repeated


async def test_stream_when_there_are_too_many_then_the_next_is_refused_and_publishers_still_publish(
    start: Start,
) -> None:
    driver = Driver(policy_of(BTC))
    driver.run(40, BTC)
    guard = await start(driver, per_client=LimitSettings(check_streams_max=3))
    opened: list[Any] = []
    for number in range(3):
        opened.append(guard.liquidations.CheckLiquidationStream())
        await opened[-1].write(asked(check(request_id=f"r{number}")))
        await opened[-1].read()

    with pytest.raises(aio.AioRpcError) as raised:
        await guard.liquidations.CheckLiquidationStream().read()
    opened[0].cancel()
    [published] = await guard.observe(guard.observation())

    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(raised.value.details()).startswith("3 streams of checks are open already (limits.check_streams_max)")
    assert published.status == market_data_pb2.PUBLISH_STATUS_ACCEPTED


async def test_stream_when_a_message_is_no_check_then_the_stream_ends_and_says_so(guard: Harness) -> None:
    raw: Any = guard.channel.stream_stream("/circuit_guard.v1.LiquidationGuardService/CheckLiquidationStream")
    call = raw()
    await call.write(b"\xff\xff\xff")

    with pytest.raises(aio.AioRpcError) as raised:
        await call.read()
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_stream_when_the_server_drains_then_what_was_asked_is_answered_and_the_stream_ends(
    guard: Harness,
) -> None:
    call: Any = guard.liquidations.CheckLiquidationStream()
    await call.write(asked(check(request_id="asked")))
    answered = await call.read()

    draining = asyncio.create_task(guard.server.drain(grace_s=5))
    assert await asyncio.wait_for(call.read(), 3) is aio.EOF
    await asyncio.wait_for(draining, 3)

    assert answered.result.decision.verdict == ALLOW
    assert await call.code() is grpc.StatusCode.OK
