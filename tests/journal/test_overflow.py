"""A disk that is slower than what comes in: whoever may wait waits, a halt does not, and `drop` drops and says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from circuit_guard.journal.errors import JournalFailed
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions, Overflow
from circuit_guard.journal.record import Entry, Start
from circuit_guard.v1 import admin_pb2, liquidation_pb2, types_pb2
from tests.driver import BTC, ETH, START_NS, Driver, policy_of
from tests.journal.builders import Held, observation
from tests.journal.conftest import Opened
from tests.server.harness import Harness, check, order, refused

QUEUE_MAX = 20

Call = Callable[[Harness], Awaitable[Any]]


class Full:
    """A warm guard behind a real server, whose journal is full and whose disk is held."""

    def __init__(self, harness: Harness, journal: Journal, disk: Held) -> None:
        self.harness = harness
        self.engine = harness.engine
        self.journal = journal
        self.disk = disk


@asynccontextmanager
async def full(
    directory: Path, overflow: Overflow = Overflow.BLOCK, after: Sequence[Entry] = ()
) -> AsyncIterator[Full]:
    """Run a guard whose journal is full until the disk is released; these entries are written then."""
    driver, disk = Driver(policy_of(BTC, ETH)), Held()
    driver.run(40, BTC, ETH)
    with Journal(directory, START_NS, JournalOptions(overflow=overflow, queue_max=QUEUE_MAX)) as journal:
        driver.engine.begin(Start(driver.engine.now_ns(), "0.0.1", "host-1", 4711), journal, None)
        with disk:
            await disk.hold(journal, *after)
            while journal.status().queued < QUEUE_MAX:
                driver.refer(ETH)
            harness = Harness(driver)
            await harness.server.start()
            try:
                yield Full(harness, journal, disk)
            finally:
                await harness.channel.close()
                await harness.server.drain(grace_s=0)


async def begun(harness: Harness, call: Awaitable[Any]) -> asyncio.Future[Any]:
    """Return a call that the guard has begun to work on: calls of one connection are begun in order."""
    waiting = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    await harness.admin.GetStatus(admin_pb2.GetStatusRequest())
    return waiting


def batch(harness: Harness) -> Awaitable[Any]:
    request = liquidation_pb2.CheckLiquidationsRequest(checks=[check()])
    return harness.liquidations.CheckLiquidations(request)  # type: ignore[no-any-return]


CALLS: dict[str, Call] = {
    "check": lambda harness: harness.decide(check()),
    "checks": batch,
    "orders": lambda harness: harness.judge(order()),
    "observations": lambda harness: harness.observe(harness.observation()),
    "references": lambda harness: harness.refer(harness.reference()),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_input_when_the_journal_is_full_then_it_waits_untaken_and_is_stamped_after_the_wait(
    tmp_path: Path, call: Call
) -> None:
    async with full(tmp_path) as guard:
        before = guard.journal.status().last_sequence
        waiting = await begun(guard.harness, call(guard.harness))
        assert not waiting.done()
        assert guard.journal.status().last_sequence == before
        guard.harness.driver.clock.advance(2)
        guard.engine.tick()

        guard.disk.release()
        await waiting
        await guard.engine.durable()
        with guard.journal.reader() as reader:
            taken = list(reader.records(before + 1))

        assert taken
        assert {record.at_ns for record in taken} == {guard.engine.now_ns()}


async def test_halt_when_the_journal_is_full_then_it_takes_effect_at_once_and_whoever_waited_is_denied(
    tmp_path: Path,
) -> None:
    async with full(tmp_path) as guard:
        waiting = await begun(guard.harness, guard.harness.decide(check()))
        request = admin_pb2.HaltRequest(scopes=[BTC], actor="alice", reason="wrong marks")
        halting = await begun(guard.harness, guard.harness.admin.Halt(request))
        assert guard.engine.state.markets[BTC].halt is not None
        assert not waiting.done()
        assert not halting.done(), "it is acknowledged once it is durable"

        guard.disk.release()
        await halting
        decision = await waiting

    assert decision.verdict == types_pb2.VERDICT_DENY
    assert "operator_halt" in [finding.reason for finding in decision.findings]


async def test_input_when_the_journal_fails_while_it_waits_then_it_is_refused_and_not_taken(tmp_path: Path) -> None:
    poison = observation(1)._replace(value=5)
    async with full(tmp_path, after=[poison]) as guard:
        waiting = [await begun(guard.harness, guard.harness.decide(check(request_id=f"{n}"))) for n in range(3)]
        guard.disk.release()
        with pytest.raises(JournalFailed):
            await guard.journal.durable(guard.journal.status().last_sequence)

        for call in waiting:
            code, info, _ = await refused(call)
            assert (code, info.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_FAILED")
        assert guard.engine.state.decisions == 0
        assert "a value was of type int" in guard.engine.ready()[0]


async def test_check_when_the_journal_is_full_and_may_drop_then_it_is_answered_at_once_and_the_loss_counted(
    tmp_path: Path,
) -> None:
    async with full(tmp_path, Overflow.DROP) as guard:
        decision = await guard.harness.decide(check())

        assert decision.verdict == types_pb2.VERDICT_ALLOW
        assert guard.journal.status().dropped == 1


async def test_room_when_many_wait_then_they_go_in_order_and_the_queue_stays_bounded(opened: Opened) -> None:
    went: list[int] = []
    with opened(queue_max=3) as journal:

        async def take(number: int) -> None:
            await journal.room()
            assert journal.status().queued < 3
            journal.append([observation(number)])
            went.append(number)

        await asyncio.gather(*(take(number) for number in range(100)))
    assert went == list(range(100))


async def test_room_when_one_who_waits_gives_up_then_the_others_have_it(opened: Opened) -> None:
    with opened(queue_max=1) as journal, Held() as disk:
        await disk.hold(journal)
        journal.append([observation(1)])
        waiting = [asyncio.ensure_future(journal.room()) for _ in range(4)]
        await asyncio.sleep(0)
        for impatient in (waiting[0], waiting[2]):
            impatient.cancel()
        await asyncio.gather(waiting[0], waiting[2], return_exceptions=True)
        assert not waiting[1].done()

        disk.release()
        await asyncio.gather(waiting[1], waiting[3])
        await journal.room()
