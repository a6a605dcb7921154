"""One server measured at a time, while the others are paused: they share its core."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from grpc import aio

from benchmarks.load.generator import CHANNEL_OPTIONS, Load, open_loop
from benchmarks.load.process import Guarding, Process
from circuit_guard.v1 import admin_pb2, admin_pb2_grpc, status_pb2, types_pb2

SETTLE_S = 1.2
"""After a pause everything is published anew within so long."""
HALF = 0.5
OPEN_WITHIN_S = 120.0


async def opened(guards: Sequence[Guarding]) -> None:
    """Return once every market of every guard is OPEN and closures in it are allowed. Raise RuntimeError if never."""
    until = time.monotonic() + OPEN_WITHIN_S
    for guarding in guards:
        async with aio.insecure_channel(guarding.guard.address, CHANNEL_OPTIONS) as channel:
            admin = admin_pb2_grpc.AdminServiceStub(channel)
            while held := _held((await admin.GetStatus(admin_pb2.GetStatusRequest())).status):
                if time.monotonic() > until:
                    raise RuntimeError(f"{len(held)} markets are not OPEN after {OPEN_WITHIN_S:g} s: {held[0]}")
                await asyncio.sleep(SETTLE_S)


def _held(status: status_pb2.GuardStatus) -> list[status_pb2.MarketStatus]:
    return [market for market in status.markets if market.denying or market.phase != types_pb2.PHASE_OPEN]


async def saturate(load: Load, guards: Sequence[Guarding], seconds: float, *, fed: bool = True) -> None:
    """Measure one round; `fed` false: while nothing is published, so soon after that nothing is stale."""
    await asyncio.sleep(SETTLE_S)
    with _alone(load.server, guards, fed=fed):
        await load.saturate(seconds)


async def latency(load: Load, guards: Sequence[Guarding], seconds: float) -> None:
    """Measure how long answers take at half of what the rounds have shown to be possible."""
    await asyncio.sleep(SETTLE_S)
    per_s = load.middle(lambda one: one.per_s) / load.items * HALF
    with _alone(load.server, guards, fed=True):
        load.latencies = await open_loop(load, per_s, seconds)


@contextmanager
def _alone(measured: Process, guards: Sequence[Guarding], *, fed: bool) -> Iterator[None]:
    """Have the guards that are not measured off the servers' core."""
    for guarding in guards:
        if guarding.guard is not measured:
            guarding.pause()
        elif not fed:
            guarding.feed(on=False)
    try:
        yield
    finally:
        for guarding in guards:
            guarding.resume()
