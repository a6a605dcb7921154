"""The guard, the floor and Redis under the same load, in turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from benchmarks.load.generator import DEADLINE_S, Checks, Load, Round, Streamed
from benchmarks.load.measure import latency, saturate
from benchmarks.load.plan import Plan
from benchmarks.load.process import Guarding, Process

IN_FLIGHT = {1: 32, 100: 4, 1000: 2}
"""Requests at a time, by the size of their batches."""
STREAM_IN_FLIGHT = 64
FLAG = "liquidations:allowed"


@dataclass(frozen=True)
class Pair:
    """The same load on the guard and on the floor."""

    guard: Load
    floor: Load

    def throughput(self) -> list[float]:
        """Return the share of the floor's throughput that the guard has, round by round."""
        return [one.per_s / other.per_s for one, other in self._rounds()]

    def cpu(self) -> list[float]:
        """Return the same by CPU time for a decision, the floor's over the guard's."""
        return [other.cpu_us / one.cpu_us for one, other in self._rounds()]

    def share(self) -> float:
        """Return the smaller of the two medians."""
        return min(median(self.throughput()), median(self.cpu()))

    def _rounds(self) -> list[tuple[Round, Round]]:
        return list(zip(self.guard.rounds, self.floor.rounds, strict=True))


@dataclass(frozen=True)
class Shape:
    """A way to ask."""

    name: str
    batch: int
    in_flight: int
    asks: Callable[[str, Sequence[str]], Checks | Streamed]
    """Made of an address and the markets to ask about."""


ONE, STREAM = "one check", "one check on a stream"
SHAPES = {
    ONE: Shape(ONE, 1, IN_FLIGHT[1], Checks),
    STREAM: Shape(STREAM, 1, STREAM_IN_FLIGHT, Streamed),
    **{
        f"batch of {batch:,}": Shape(f"batch of {batch:,}", batch, in_flight, partial(Checks, batch=batch))
        for batch, in_flight in IN_FLIGHT.items()
        if batch > 1
    },
}


async def beside(
    guarding: Guarding, floor: Process, redis: Process | None, plan: Plan
) -> tuple[dict[str, Pair], Load | None]:
    """Return a guard beside the floor, by the way to ask, and what Redis did; None without one."""
    asking: list[Checks | Streamed] = []

    def load(what: str, server: Process, shape: Shape) -> Load:
        asking.append(shape.asks(server.address, guarding.markets))
        return Load(f"{what}, {shape.name}", server, asking[-1], shape.batch, shape.in_flight)

    pairs = {
        name: Pair(load("guard", guarding.guard, shape), load("floor", floor, shape)) for name, shape in SHAPES.items()
    }
    loads = [one for pair in pairs.values() for one in (pair.floor, pair.guard)]
    flag, close = await _redis(redis) if redis else (None, None)
    loads += [flag] if flag else []
    for _ in range(plan.rounds):
        for one in loads:
            await saturate(one, [guarding], plan.round_s)
    for one in loads:
        await latency(one, [guarding], plan.latency_s)
    for checks in asking:
        await checks.close()
    if close is not None:
        await close()
    return pairs, flag


async def _redis(process: Process) -> tuple[Load, Callable[[], Awaitable[None]]]:
    """Return the load of asking Redis for one flag, and how to end it."""
    from redis.asyncio import BlockingConnectionPool, Redis  # not everybody who runs this has it

    host, _, port = process.address.rpartition(":")
    connections = BlockingConnectionPool(host=host, port=int(port), max_connections=IN_FLIGHT[1], timeout=DEADLINE_S)
    client = Redis.from_pool(connections)
    await client.set(FLAG, "1")

    async def ask() -> bool:
        return await client.get(FLAG) == b"1"

    return Load("Redis, GET of one flag", process, ask, 1, IN_FLIGHT[1]), client.aclose
