"""Who waits for whom when there are too many checks, and what is not decided any more."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc import aio

from circuit_guard.config.security import LimitSettings
from circuit_guard.server.batch_queue import BatchQueue, Pace
from circuit_guard.server.errors import RefusalError
from circuit_guard.v1 import liquidation_pb2, types_pb2
from tests.driver import BTC, Driver, policy_of
from tests.security.identities import Start, refusals
from tests.security.test_rates import Seconds
from tests.server import commands
from tests.server.harness import check, refused


class Passing(Seconds):
    """Seconds of which a few microseconds pass between two looks, as they do."""

    def __call__(self) -> float:
        self.now_s += 5e-6
        return self.now_s


async def decided(batches: BatchQueue, checks: int, clock: Seconds, cost_s: float) -> None:
    """Decide a batch whose checks take so long each."""
    async with batches.turn(checks, None):
        clock.now_s += checks * cost_s


async def known(cost_s: float) -> tuple[BatchQueue, Seconds]:
    """Return batches that know what a check costs."""
    clock = Seconds()
    batches = BatchQueue(clock)
    for _ in range(50):
        await decided(batches, 10, clock, cost_s)
    return batches, clock


async def test_batches_when_several_come_then_they_are_decided_one_after_another_as_they_came() -> None:
    batches, order = BatchQueue(), []

    async def batch(name: str) -> None:
        async with batches.turn(2, None):
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    await asyncio.gather(batch("first"), batch("second"), batch("third"))

    assert order == [f"{name} {what}" for name in ("first", "second", "third") for what in ("begins", "ends")]


async def test_batch_when_it_would_be_decided_after_its_deadline_then_it_is_refused_at_once() -> None:
    batches, _ = await known(cost_s=0.001)

    async with batches.turn(100, None):
        with pytest.raises(RefusalError) as caught:
            async with batches.turn(50, 0.12):
                pytest.fail("150 checks of 1 ms each do not fit into 120 ms")
        waiting = asyncio.create_task(decided(batches, 50, Seconds(), 0.0))
        await asyncio.sleep(0)

        assert not waiting.done(), "without a deadline it waits"
    await waiting
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert caught.value.message.startswith("100 checks are ahead, about 0.10 s, and 0.12 s are left")
    assert caught.value.retry_after_s == pytest.approx(0.1, rel=0.01)


async def test_batch_when_nobody_is_ahead_then_it_is_tried_whatever_it_costs() -> None:
    clock = Passing()
    batches = BatchQueue(clock)
    for _ in range(50):
        await decided(batches, 10, clock, cost_s=10.0)

    async with batches.turn(100, 0.001):
        clock.now_s += 0.1


async def test_batch_when_its_turn_comes_too_late_then_it_is_not_begun() -> None:
    batches, clock = await known(cost_s=0.001)

    async def late() -> None:
        async with batches.turn(100, 0.25):
            pytest.fail("100 checks of 1 ms each do not fit into what is left of 250 ms after 200 ms")

    async with batches.turn(100, None):
        waiting = asyncio.create_task(late())
        await asyncio.sleep(0)
        clock.now_s += 0.2
    [outcome] = await asyncio.gather(waiting, return_exceptions=True)

    assert isinstance(outcome, RefusalError)
    assert outcome.reason == "OVERLOADED"
    assert outcome.message.startswith("its turn has come, but it needs about 0.12 s, and 0.05 s are left: nothing")


async def test_batch_when_it_would_wait_too_long_then_it_is_refused_though_it_has_no_deadline() -> None:
    batches, _ = await known(cost_s=0.01)

    async with batches.turn(99, None):
        with pytest.raises(RefusalError):
            async with batches.turn(2, None):
                pytest.fail("1.01 s")


async def test_batch_when_it_is_given_up_then_its_place_is_free_and_its_cost_is_known() -> None:
    clock = Seconds()
    batches = BatchQueue(clock)

    async def given_up() -> None:
        async with batches.turn(10, 1.0):
            clock.now_s += 6.0
            await asyncio.Event().wait()

    running, waiting = asyncio.create_task(given_up()), asyncio.create_task(given_up())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    async with batches.turn(1, None):
        with pytest.raises(RefusalError, match=r"1 checks are ahead, about 0\.60 s"):
            async with batches.turn(1, None):
                pytest.fail("two of 0.6 s each, and 1 s allowed")


async def test_pace_when_a_stint_is_over_then_others_get_several_rounds() -> None:
    pace, rounds = Pace(), 0

    async def other() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    while not pace.due():
        pass
    await pace.let_others_in()
    task.cancel()

    assert rounds >= 3
    assert not pace.due()


async def test_checks_when_more_wait_than_there_is_room_for_then_the_next_is_refused_and_a_halt_is_not(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(policy_of(BTC))
    driver.run(40, BTC)
    guard = await start(driver, per_client=LimitSettings(checks_waiting_max=2))
    free = asyncio.Event()
    monkeypatch.setattr(driver.engine, "room", free.wait)  # a disk that is full holds up whatever is recorded
    waiting = [asyncio.ensure_future(guard.decide(check(request_id=f"request-{number}"))) for number in range(2)]
    async with asyncio.timeout(10):
        while guard.registry.get_sample_value("circuit_guard_checks_waiting") != 2:  # noqa: ASYNC110  # of the server
            await asyncio.sleep(0.005)

    code, info, message = await refused(guard.decide(check(request_id="request-3")))
    await guard.admin.Halt(commands.halt())
    free.set()

    assert (code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert message.startswith("2 requests are waiting already (limits.checks_waiting_max): nothing was decided")
    assert refusals(guard, "overloaded") == 1
    assert [decision.verdict for decision in await asyncio.gather(*waiting)] == [types_pb2.VERDICT_DENY] * 2


async def test_check_when_its_deadline_has_passed_then_it_is_not_decided_and_counted(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(policy_of(BTC))
    driver.run(40, BTC)
    guard = await start(driver)
    never: Any = asyncio.Event()
    monkeypatch.setattr(driver.engine, "room", never.wait)
    before = guard.state()

    request = liquidation_pb2.CheckLiquidationRequest(check=check())
    with pytest.raises(aio.AioRpcError) as caught:
        await guard.liquidations.CheckLiquidation(request, timeout=1)
    async with asyncio.timeout(10):
        while not refusals(guard, "expired"):  # noqa: ASYNC110  # the server notices by itself
            await asyncio.sleep(0.005)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert guard.state() == before
    assert guard.registry.get_sample_value("circuit_guard_checks_waiting") == 0
