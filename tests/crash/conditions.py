"""A guard inside the test's process under a clock that is moved by hand, and what holds of one that refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from circuit_guard.config.settings import load_settings
from circuit_guard.core.inputs import Basis, Check, HaltCommand, Observation, Reference
from circuit_guard.core.types import SECOND_NS, Verdict
from circuit_guard.engine.engine import Engine
from circuit_guard.runtime.app import App, build
from tests.cli.running import run
from tests.crash.client import Client, observation
from tests.crash.guard_process import MARKETS, write_settings
from tests.driver import ManualClock

BTC, ETH, SOL = MARKETS
PRICE, INDEX = Decimal(92_600), Decimal(20_511)
HALT = "drill-7"
"""Why BTC is halted in the folder that a guard has left behind."""
RESTORE = "keep the file for the inquiry, then start with a backup of it or with an empty state directory"
NOTHING_KNOWN = ". Nothing of before is known, so nothing is answered: treat this as a deny"
REQUESTS = count()


class Guard:
    """A guard inside this process, and short ways to feed it."""

    def __init__(self, app: App, clock: ManualClock) -> None:
        self.engine: Engine = app.engine
        self.address = app.grpc_address
        self.clock = clock

    def publish(self, market: str = BTC, index: Decimal = INDEX, seconds: int = 1) -> None:
        """Let a second's data arrive, for so many seconds."""
        for _ in range(seconds):
            self.clock.advance(1)
            now_ns = self.engine.now_ns()
            for venue in ("binance", "bybit", "okx"):
                self.engine.step(Reference(now_ns, market, venue, now_ns, PRICE))
            values = {"mark_price": PRICE, "index_price": PRICE, "funding_index": index}
            self.engine.step(Observation(now_ns, market, "exchange", 1, now_ns // SECOND_NS, now_ns, **values))

    def asked(self, market: str = BTC) -> tuple[Verdict, set[str]]:
        """Return the verdict on a closure computed with the honest values, and the reasons."""
        now_ns = self.engine.now_ns()
        check = Check(now_ns, f"request-{next(REQUESTS)}", "account", market, Decimal(-1), basis=Basis(PRICE, INDEX))
        decision = self.engine.decide(check)[-1].decision  # type: ignore[union-attr]
        return decision.verdict, {finding.reason for finding in decision.findings}

    def denies_everything(self) -> bool:
        """Return whether closures are denied in every market."""
        return all(self.asked(market)[0] is Verdict.DENY for market in MARKETS)

    async def halt(self, reason: str, market: str = BTC) -> None:
        """Halt a market, and return once that is durable."""
        await self.engine.settled(self.engine.step(HaltCommand(self.engine.now_ns(), (market,), "alice", reason)))

    def halted(self, market: str = BTC) -> str:
        """Return why a market is halted."""
        halt = self.engine.state.markets[market].halt
        return "" if halt is None else halt.reason


@asynccontextmanager
async def running(folder: Path, clock: ManualClock) -> AsyncIterator[Guard]:
    """Run a guard on the folder's state directory."""
    settings = load_settings(write_settings(folder), {})
    async with build(settings, clock).running() as app:
        yield Guard(app, clock)


async def assert_refusing(address: str, reason: str) -> None:
    """Hold that a guard is up, knows nothing, answers nothing, and says why, to people and to machines."""
    told = await asyncio.to_thread(run, "status", "--address", address)
    assert (told.exit_code, told.stdout) == (3, "")
    assert f"{reason}{NOTHING_KNOWN}\n" in told.stderr
    async with aio.insecure_channel(address) as channel:
        client = Client(channel)
        await assert_denying(client, f"{reason}{NOTHING_KNOWN}")
        with pytest.raises(aio.AioRpcError) as refused:
            await client.status()
        assert refused.value.details() == f"{reason}{NOTHING_KNOWN}"


async def assert_denying(client: Client, message: str) -> None:
    """Hold that nothing is answered, and that whoever balances the load is told."""
    calls = [
        client.check(BTC, "request-1"),
        client.halt(BTC, "why not"),
        client.observe(observation(BTC, 1)),
        client.refer(MARKETS),
    ]
    for call in calls:
        with pytest.raises(aio.AioRpcError) as refused:
            await call
        assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.UNAVAILABLE, message)
        assert info_of(refused.value).reason == "ENGINE_FAILED"
    healths = health_pb2_grpc.HealthStub(client.channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
    while (await healths.read()).status != health_pb2.HealthCheckResponse.NOT_SERVING:
        continue
    healths.cancel()


def info_of(error: aio.AioRpcError) -> ErrorInfo:
    """Return the ErrorInfo of an error."""
    status, info = Status(), ErrorInfo()
    status.ParseFromString(dict(error.trailing_metadata() or ())["grpc-status-details-bin"])
    status.details[0].Unpack(info)
    return info


async def refused_start(folder: Path, clock: ManualClock, reason: str) -> None:
    """Hold that a guard on this folder comes up, and refuses for this reason, again and again."""
    for _ in range(2):
        async with running(folder, clock) as guard:
            await assert_refusing(guard.address, reason)
