"""The worst second of a crash: 11,279 closures arrive in it, and the guard is asked before each.

    python -m benchmarks.burst [--closures N] [--markets N]

One by one, on streams, and in batches, while every market is fed with an observation and three references a second.
docs/performance.md explains it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import cycle
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import grpc
from grpc import aio

from benchmarks.load.generator import (
    BATCH,
    CHANNEL_OPTIONS,
    CONNECTIONS,
    DEADLINE_S,
    SHED_S,
    UNARY,
    Checks,
    Lane,
    Load,
    own_cpu_s,
    sleep_until,
)
from benchmarks.load.market import Questions
from benchmarks.load.measure import opened
from benchmarks.load.process import Bench, Guarding
from circuit_guard.v1 import liquidation_pb2, types_pb2

CLOSURES, MARKETS = 11_279, 111
"""Accounts that an exchange closed in the worst second of a real crash, and its markets."""
BURST_S, ANSWERED_S = 1.0, 1.2
"""How long closures arrive, and within what all are to be answered where the floor answers `FLOOR_PER_S` one by one."""
FLOOR_PER_S = 5_000.0
BATCH_MAX, BATCHES = 1_000, 2
"""Closures in one batch at most, and batches at a time: what arrives meanwhile is for the next."""
FLOOR_S, FLOOR_IN_FLIGHT = 2.5, 32
AFTERWARDS_S = 11.0
"""Bursts are counted over 10 s: each way to ask has a burst of its own."""
BUILD_S = 0.5
"""What is asked is made before the first closure arrives."""

Decision = liquidation_pb2.LiquidationDecision


class Way(Protocol):
    """A way to ask about one closure."""

    def ask(self, request_id: bytes, request: bytes) -> Awaitable[Any]:
        """Return what holds the answer."""

    def decision(self, answer: Any) -> Decision:
        """Return the decision in it; it is read once the burst is over."""

    async def close(self) -> None:
        """Close the connections."""


class Single:
    """Each closure in a request of its own."""

    def __init__(self, address: str) -> None:
        """Open the connections."""
        self._channels = [aio.insecure_channel(address, CHANNEL_OPTIONS) for _ in range(CONNECTIONS)]
        self._methods: cycle[aio.UnaryUnaryMultiCallable[bytes, bytes]] = cycle(
            [channel.unary_unary(UNARY) for channel in self._channels]
        )

    async def ask(self, request_id: bytes, request: bytes) -> bytes:
        """Ask until there was room for it."""
        return await answered(next(self._methods), request)

    def decision(self, answer: bytes) -> Decision:
        """Read one."""
        return liquidation_pb2.CheckLiquidationResponse.FromString(answer).decision

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            await channel.close()


class Streams:
    """Closures in turn on a few streams."""

    def __init__(self, address: str) -> None:
        """Open the connections and the streams."""
        self._lanes = [Lane(address) for _ in range(CONNECTIONS)]
        self._next = cycle(self._lanes)

    async def ask(self, request_id: bytes, request: bytes) -> bytes:
        """Ask without waiting for the answers to others."""
        return await next(self._next).ask(request_id, request)

    def decision(self, answer: bytes) -> Decision:
        """Read one."""
        return liquidation_pb2.CheckLiquidationStreamResponse.FromString(answer).result.decision

    async def close(self) -> None:
        """Close the streams."""
        for lane in self._lanes:
            await lane.close()


class Batches:
    """Closures in batches: everything that has arrived while the last ones were judged."""

    def __init__(self, address: str) -> None:
        """Open the connection."""
        self._channel = aio.insecure_channel(address, CHANNEL_OPTIONS)
        self._method: aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(BATCH)
        self._arrived: asyncio.Queue[tuple[bytes, asyncio.Future[tuple[bytes, int]]]] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._send()) for _ in range(BATCHES)]
        self._read = lru_cache(liquidation_pb2.CheckLiquidationsResponse.FromString)

    def ask(self, request_id: bytes, request: bytes) -> asyncio.Future[tuple[bytes, int]]:
        """Have it asked with the next batch; return that batch's answer and the place in it."""
        answer: asyncio.Future[tuple[bytes, int]] = asyncio.get_running_loop().create_future()
        self._arrived.put_nowait((request, answer))
        return answer

    def decision(self, answer: tuple[bytes, int]) -> Decision:
        """Read one of a batch."""
        response, place = answer
        return self._read(response).results[place].decision

    async def close(self) -> None:
        """Close the connection."""
        for task in self._tasks:
            task.cancel()
        await self._channel.close()

    async def _send(self) -> None:
        while True:
            batch = [await self._arrived.get()]
            while len(batch) < BATCH_MAX and not self._arrived.empty():
                batch.append(self._arrived.get_nowait())
            response = await answered(self._method, b"".join(request for request, _ in batch))
            for place, (_, answer) in enumerate(batch):
                answer.set_result((response, place))


async def answered(method: Callable[..., Awaitable[bytes]], request: bytes) -> bytes:
    """Return the response to a request, which is sent again where it was refused for want of room."""
    while True:
        try:
            return await method(request, timeout=DEADLINE_S)
        except aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
        await asyncio.sleep(SHED_S)


WAYS: dict[str, Callable[[str], Way]] = {"one by one": Single, "on streams": Streams, "in batches": Batches}
HEAD = ("", "within 1 s", "within 1.2 s", "p50 ms", "p99 ms", "max ms", "all after s", "lag ms", "denied", "busy: both")


@dataclass(frozen=True)
class Burst:
    """What came of one burst; times in seconds."""

    way: str
    answered: list[float]
    """When each was answered, after the burst began."""
    latencies: list[float]
    """Of each: from when it arrived, in order."""
    denied: list[str]
    """What was said of each that was not allowed."""
    lag: float
    """The longest that a publisher waited for an answer meanwhile."""
    busy: tuple[float, float]
    """The share of its core that the guard had, and this process."""

    def __str__(self) -> str:
        """Return it as a line of the table."""
        within = [sum(at <= limit for at in self.answered) for limit in (BURST_S, ANSWERED_S)]
        middle, last = (self.latencies[len(self.latencies) * share // 100] for share in (50, 99))
        cells = (
            self.way,
            *(f"{count:,}" for count in within),
            *(f"{took * 1e3:.1f}" for took in (middle, last, self.latencies[-1])),
            f"{max(self.answered):.2f}",
            f"{self.lag * 1e3:.1f}",
            f"{len(self.denied):,}",
            ", ".join(f"{share:.0%}" for share in self.busy),
        )
        return f"| {' | '.join(cells)} |"


async def burst(guarding: Guarding, way: str, closures: int) -> Burst:
    """Have the closures arrive, each at its time whether others are answered or not, and return what came of them."""
    asking, questions = WAYS[way](guarding.guard.address), Questions(guarding.markets, 1)
    asked = [(next(questions), questions.request_id) for _ in range(closures)]
    random = Random(1)  # noqa: S311  # arrivals, no secret
    began = time.perf_counter() + BUILD_S
    dues = sorted(began + random.uniform(0, BURST_S) for _ in range(closures))

    answered_at = [0.0] * closures

    def take(place: int, _: object) -> None:
        answered_at[place] = time.perf_counter()

    await sleep_until(began)
    cpu_s, own_s, began_monotonic = guarding.guard.cpu_s(), own_cpu_s(), time.monotonic()
    open_ = []
    for place, (due, (request, request_id)) in enumerate(zip(dues, asked, strict=True)):
        await sleep_until(due)
        open_.append(asyncio.ensure_future(asking.ask(request_id, request)))
        open_[-1].add_done_callback(partial(take, place))
    answers = await asyncio.gather(*open_)
    took_s = time.perf_counter() - began
    busy = (guarding.guard.cpu_s() - cpu_s) / took_s, (own_cpu_s() - own_s) / took_s
    await asking.close()
    decisions = map(asking.decision, answers)
    return Burst(
        way,
        [at - began for at in answered_at],
        sorted(at - due for at, due in zip(answered_at, dues, strict=True)),
        [one.explanation or str(one) for one in decisions if one.verdict != types_pb2.VERDICT_ALLOW],
        await worst_lag(guarding, began_monotonic, began_monotonic + took_s),
        busy,
    )


async def worst_lag(guarding: Guarding, since: float, until: float) -> float:
    """Return the longest that the answer to published data took, of what was sent between two times."""
    assert guarding.feeder is not None  # noqa: S101  # it is fed
    assert guarding.feeder.out is not None  # noqa: S101  # and tells
    while True:
        whole, _, _ = guarding.feeder.out.read_text().rpartition("\n")
        sent = [tuple(map(float, line.split())) for line in whole.splitlines()]
        if sent and sent[-1][0] > until:
            return max(took for at, took in sent if since <= at <= until)
        await asyncio.sleep(0.1)


async def measure(bench: Bench, closures: int, markets: int) -> tuple[float, list[Burst]]:
    """Return what the floor answers one by one, per second, and the bursts."""
    guarding, floor = bench.guard(markets), bench.floor()
    checks = Checks(floor.address, guarding.markets)
    load = Load("floor, one check", floor, checks, 1, FLOOR_IN_FLIGHT)
    await opened([guarding])
    guarding.pause()
    per_s = (await load.saturate(FLOOR_S)).per_s
    guarding.resume()
    await checks.close()
    floor.pause()
    bursts = []
    for way in WAYS:
        await asyncio.sleep(AFTERWARDS_S)
        await opened([guarding])
        print(f"{time.strftime('%H:%M:%S')} {way}", file=sys.stderr, flush=True)
        bursts.append(await burst(guarding, way, closures))
    return per_s, bursts


def report(per_s: float, bursts: Sequence[Burst], closures: int, markets: int) -> None:
    """Print the table, and what came of each target."""
    limit_s = ANSWERED_S * max(FLOOR_PER_S / per_s, 1.0)
    print(f"{closures:,} closures arrive within {BURST_S:g} s in {markets} markets, fed at 1 Hz.")
    print(f"The floor answers {per_s:,.0f} a second one by one: all are to be answered within {limit_s:.2f} s.\n")
    print(f"| {' | '.join(HEAD)} |\n| --- |{' ---: |' * (len(HEAD) - 1)}")
    print("\n".join(map(str, bursts)), end="\n\n")
    for one in bursts[1:]:
        took_s, denied = max(one.answered), len(one.denied)
        reached = took_s <= limit_s and not denied
        found = f"{took_s:.2f} s, {denied:,} denied"
        print(f"- {'reached' if reached else 'MISSED'}: all {closures:,} answered {one.way}: {found}")
    for one in bursts:
        if one.denied:
            print(f"denied {one.way}, for instance: {one.denied[0]}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--closures", type=int, default=CLOSURES)
    parser.add_argument("--markets", type=int, default=MARKETS)
    given = parser.parse_args()
    if os.cpu_count() == 1:
        parser.error("two cores are needed: one for the guard, one for all else")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # or the servers would be left behind
    with TemporaryDirectory() as folder, Bench(Path(folder)) as bench:
        per_s, bursts = asyncio.run(measure(bench, given.closures, given.markets))
        report(per_s, bursts, given.closures, given.markets)


if __name__ == "__main__":
    main()
