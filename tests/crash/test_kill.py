"""kill -9 at any instant under load: what was acknowledged is still so, and nothing comes back open.

6 kills here; `make crash` does 200 more.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from random import Random

import grpc
import pytest
from grpc import aio

from circuit_guard.v1 import types_pb2
from tests.crash.client import STARTING, Client, shown
from tests.crash.guard_process import MARKETS, GuardProcess
from tests.crash.load import Load, Model

pytestmark = pytest.mark.system

SEEDS_AND_KILLS = [(0, 6), *(pytest.param(seed, 20, marks=pytest.mark.slow) for seed in range(1, 11))]
ANSWERS_MAX = 400
"""A guard under load is killed after so many answers at most."""
LOOKS_MAX = 5000
"""A starting guard is killed after so many looks at its state directory at most, from when it has the lock on."""
STARTS_KILLED_SHARE = 0.2


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("seed", "kills"), SEEDS_AND_KILLS)
async def test_guard_when_killed_again_and_again_then_what_was_acknowledged_stays_and_nothing_comes_back_open(
    tmp_path: Path, seed: int, kills: int
) -> None:
    random, model = Random(seed), Model()  # noqa: S311  # any instant will do
    sequences = dict.fromkeys(MARKETS, 0)
    for kill in range(kills):
        process = GuardProcess(tmp_path)
        try:
            if random.random() < STARTS_KILLED_SHARE:
                await asyncio.to_thread(process.starting, random.randint(1, LOOKS_MAX))
            else:
                async with aio.insecure_channel(process.address, STARTING) as channel:
                    client = Client(channel)
                    await hold_against(client, model, kill)
                    load = Load(client, model, tmp_path, random, sequences)
                    await under(load, random.randint(1, ANSWERS_MAX), f"{seed}-{kill}", process)
        finally:
            told = process.remains()
        assert not told, told
        assert_proved(process)
    async with aio.insecure_channel((last := GuardProcess(tmp_path)).address, STARTING) as channel:
        await hold_against(Client(channel), model, kills)
    last.remains()
    assert model.durable > kills
    assert model.verdicts["VERDICT_ALLOW"] > kills, "a guard that denies everything proves nothing"


async def hold_against(client: Client, model: Model, kill: int) -> None:
    """Hold a guard that has just started against what was acknowledged before."""
    status = await client.status()
    assert status.not_ready_reasons == []
    model.adopt(shown(status))
    for market in MARKETS:
        decision = await client.check(market, f"after-{kill}-{market}-{time.time_ns()}")
        assert decision.verdict == types_pb2.VERDICT_DENY, decision
        assert "warming" in [finding.reason for finding in decision.findings]
    durable = model.answered[: model.durable]
    denied = next((one for one in reversed(durable) if one.verdict == types_pb2.VERDICT_DENY), None)
    if denied is not None:
        again = await client.check(denied.market, denied.request_id)
        assert again.repeated, f"the decision {denied.decision_id} was recorded and is forgotten"
        assert again.decision_id == denied.decision_id
    allowed = next((one for one in reversed(durable) if one.verdict == types_pb2.VERDICT_ALLOW), None)
    if allowed is not None:  # an ALLOW is no permission after a restart: what it rested on is not known
        again = await client.check(allowed.market, allowed.request_id)
        assert again.verdict == types_pb2.VERDICT_DENY, again


async def under(load: Load, answers: int, name: str, process: GuardProcess) -> None:
    """Have the guard under load for so many answers, then kill it, and raise what went wrong before."""
    running = (load.publish(), load.operate(), load.ask(f"{name}-a"), load.ask(f"{name}-b"))
    tasks = [asyncio.create_task(task) for task in running]
    enough = asyncio.create_task(load.answered(answers))
    ended, _ = await asyncio.wait([enough, *tasks], return_when=asyncio.FIRST_COMPLETED)
    process.kill()
    enough.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(outcome, aio.AioRpcError) or outcome.code() is not grpc.StatusCode.UNAVAILABLE:
            raise outcome or AssertionError("a task of the load ended")
        assert "the engine has stopped" not in (outcome.details() or "")
    assert ended == {enough}, "a task of the load ended before the kill"


def assert_proved(process: GuardProcess) -> None:
    """Prove the journal, where the guard came far enough to make one."""
    if process.has_journal():
        report = process.verify()
        assert report.ok, report.problem
