"""The load: closed loops, which find out how much a server can do, and an open loop, which tells how long it takes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from random import Random
from statistics import median

import grpc
from grpc import aio
from hdrh.histogram import HdrHistogram

from benchmarks.load.market import ID_DIGITS, Questions
from benchmarks.load.process import Process
from circuit_guard.v1 import liquidation_pb2, types_pb2

UNARY = "/circuit_guard.v1.LiquidationGuardService/CheckLiquidation"
BATCH = "/circuit_guard.v1.LiquidationGuardService/CheckLiquidations"
STREAM = "/circuit_guard.v1.LiquidationGuardService/CheckLiquidationStream"
DEADLINE_S = 60.0
CONNECTIONS = 4
CHANNEL_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))
LOOKED_AT = 64
"""One answer in so many is parsed, to see that it allows; all of them would cost the generator its core."""
SPIN_S = 0.002
"""So much before a request is due the generator stays awake."""
SHED_S = 0.05
"""Whoever was refused for want of room asks again so much later, as the guard wishes."""
ID_PLACE = slice(2, 2 + ID_DIGITS)
"""Where an answer of a stream has its request_id, behind the number and the length of that field."""
LONGEST_US, DIGITS = 60_000_000, 3

Ask = Callable[[], Awaitable[bool]]
"""Asks once; false where the request was shed, that is refused for want of room."""


class NotAllowed(Exception):
    """A check was denied: then something else was measured than what the table says."""


@dataclass(frozen=True)
class Round:
    """What was done in one stretch of time, and what it took."""

    items: int
    seconds: float
    server_cpu_s: float
    own_cpu_s: float

    @property
    def per_s(self) -> float:
        """Return items a second."""
        return self.items / self.seconds

    @property
    def cpu_us(self) -> float:
        """Return the CPU time of the server for one item, microseconds."""
        return self.server_cpu_s / self.items * 1e6


@dataclass
class Load:
    """One thing to ask of one server."""

    name: str
    server: Process
    ask: Ask
    items: int
    """Decisions in one request."""
    in_flight: int
    """Requests at a time in a closed loop: so many that the server never waits for the next."""
    rounds: list[Round] = field(default_factory=list)
    latencies: HdrHistogram | None = None
    shed: int = 0
    """Requests that were refused for want of room."""

    def middle(self, figure: Callable[[Round], float]) -> float:
        """Return the median over the rounds."""
        return median(map(figure, self.rounds))

    async def saturate(self, seconds: float) -> Round:
        """Ask as fast as the server answers, and remember the round."""
        done = await closed_loop(self, seconds)
        self.rounds.append(done)
        return done


class Checks:
    """Asks one server about closures over a few connections."""

    def __init__(self, address: str, markets: Sequence[str], batch: int = 1) -> None:
        """Open the connections."""
        self._questions = Questions(markets, batch)
        self._single = batch == 1
        self._channels = [aio.insecure_channel(address, CHANNEL_OPTIONS) for _ in range(CONNECTIONS)]
        method = UNARY if self._single else BATCH
        self._methods: cycle[aio.UnaryUnaryMultiCallable[bytes, bytes]] = cycle(
            [channel.unary_unary(method) for channel in self._channels]
        )
        self._until_looked = 0

    async def __call__(self) -> bool:
        """Ask once. Raise NotAllowed where the answer, if looked at, denies."""
        try:
            answer = await next(self._methods)(next(self._questions), timeout=DEADLINE_S)
        except aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            await asyncio.sleep(SHED_S)
            return False
        self._until_looked -= 1
        if self._until_looked < 0:
            self._until_looked = LOOKED_AT
            self._look(answer)
        return True

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            await channel.close()

    def _look(self, answer: bytes) -> None:
        if self._single:
            allowed([liquidation_pb2.CheckLiquidationResponse.FromString(answer).decision])
        else:
            results = liquidation_pb2.CheckLiquidationsResponse.FromString(answer).results
            allowed([result.decision for result in results])


class Streamed:
    """Asks one server about closures, each by itself, over one stream on each of a few connections."""

    def __init__(self, address: str, markets: Sequence[str]) -> None:
        """Open the connections and the streams."""
        self._questions = Questions(markets, 1)
        self._lanes = [Lane(address) for _ in range(CONNECTIONS)]
        self._next = cycle(self._lanes)
        self._until_looked = 0

    async def __call__(self) -> bool:
        """Ask once. Raise NotAllowed where the answer, if looked at, denies."""
        request = next(self._questions)
        answer = await next(self._next).ask(self._questions.request_id, request)
        self._until_looked -= 1
        if self._until_looked < 0:
            self._until_looked = LOOKED_AT
            allowed([liquidation_pb2.CheckLiquidationStreamResponse.FromString(answer).result.decision])
        return True

    async def close(self) -> None:
        """Close the streams and the connections."""
        for lane in self._lanes:
            await lane.close()


class Lane:
    """One stream on a connection of its own."""

    def __init__(self, address: str) -> None:
        self._channel = aio.insecure_channel(address, CHANNEL_OPTIONS)
        method: aio.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(STREAM)
        self._call = method()
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._to_send: asyncio.Queue[bytes] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]

    def ask(self, request_id: bytes, request: bytes) -> asyncio.Future[bytes]:
        """Have a request sent, and return its answer."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        self._to_send.put_nowait(request)
        return answer

    async def close(self) -> None:
        """Close the stream and the connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.close()

    async def _write(self) -> None:
        while True:
            await self._call.write(await self._to_send.get())

    async def _read(self) -> None:
        error: Exception = RuntimeError("the stream has ended")
        try:
            while isinstance(answer := await self._call.read(), bytes):
                self._waiting.pop(answer[ID_PLACE]).set_result(answer)
        except aio.AioRpcError as broken:
            error = broken
        for waiting in self._waiting.values():
            waiting.set_exception(error)


def allowed(decisions: Iterable[liquidation_pb2.LiquidationDecision]) -> None:
    """Raise NotAllowed for the first decision that denies, or is none."""
    for decision in decisions:
        if decision.verdict != types_pb2.VERDICT_ALLOW:
            raise NotAllowed(decision.explanation or str(decision))


async def closed_loop(load: Load, seconds: float) -> Round:
    """Have so many callers ask one request after another, and return what came of it."""
    asked = 0
    server_cpu_s, generator_cpu_s, started = load.server.cpu_s(), own_cpu_s(), time.perf_counter()
    until = started + seconds

    async def one() -> None:
        nonlocal asked
        while time.perf_counter() < until:
            if await load.ask():
                asked += 1
            else:
                load.shed += 1

    async with asyncio.TaskGroup() as callers:
        for _ in range(load.in_flight):
            callers.create_task(one())
    took_s = time.perf_counter() - started
    if not asked:
        raise RuntimeError(f"{load.name}: nothing was answered in {took_s:.1f} s, {load.shed} requests were shed")
    return Round(asked * load.items, took_s, load.server.cpu_s() - server_cpu_s, own_cpu_s() - generator_cpu_s)


async def open_loop(load: Load, per_s: float, seconds: float) -> HdrHistogram:
    """Ask at a rate, at random like closures come, whether answers come or not, and return how long they took.

    In microseconds, from when a request was meant to be sent: one that had to wait for the generator, or
    for the server that an earlier one kept busy, has waited. What the guard sheds has no time; `Load.shed` counts it.
    """
    latencies = HdrHistogram(1, LONGEST_US, DIGITS)
    random = Random(1)  # noqa: S311  # arrivals, no secret

    async def one(due: float) -> None:
        if not await load.ask():
            load.shed += 1
            return
        latencies.record_value(max(int((time.perf_counter() - due) * 1e6), 1))

    started = time.perf_counter()
    due = started + random.expovariate(per_s)
    async with asyncio.TaskGroup() as asking:
        while due < started + seconds:
            await sleep_until(due)
            asking.create_task(one(due))
            due += random.expovariate(per_s)
    return latencies


async def sleep_until(due: float) -> None:
    """Return at that time: a sleep alone would end up to a millisecond late."""
    if due - time.perf_counter() > SPIN_S:
        await asyncio.sleep(due - time.perf_counter() - SPIN_S)
    while time.perf_counter() < due:  # noqa: ASYNC110  # no event tells the time
        await asyncio.sleep(0)


def own_cpu_s() -> float:
    """Return the CPU time of this process so far."""
    times = os.times()
    return times.user + times.system
