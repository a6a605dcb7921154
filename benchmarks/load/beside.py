"""The guard, the floor and Redis under the same load, in turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median

from benchmarks.load.generator import DEADLINE_S, Checks, Load, Round
from benchmarks.load.measure import latency, saturate
from benchmarks.load.plan import Plan
from benchmarks.load.process import Guarding, Process

IN_FLIGHT = {1: 32, 100: 4, 1000: 2}
"""Requests at a time, by the size of their batches."""
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


async def beside(
    guarding: Guarding, floor: Process, redis: Process | None, plan: Plan
) -> tuple[dict[int, Pair], Load | None]:
    """Return a guard beside the floor, by the size of batches, and what Redis did; None without one."""
    checks = {
        (server, batch): Checks(server.address, guarding.markets, batch)
        for server in (guarding.guard, floor)
        for batch in IN_FLIGHT
    }
    pairs = {
        batch: Pair(
            Load(_name("guard", batch), guarding.guard, checks[guarding.guard, batch], batch, in_flight),
            Load(_name("floor", batch), floor, checks[floor, batch], batch, in_flight),
        )
        for batch, in_flight in IN_FLIGHT.items()
    }
    loads = [load for pair in pairs.values() for load in (pair.floor, pair.guard)]
    flag, close = await _redis(redis) if redis else (None, None)
    loads += [flag] if flag else []
    for _ in range(plan.rounds):
        for load in loads:
            await saturate(load, [guarding], plan.round_s)
    for load in loads:
        await latency(load, [guarding], plan.latency_s)
    for asking in checks.values():
        await asking.close()
    if close is not None:
        await close()
    return pairs, flag


def _name(server: str, batch: int) -> str:
    return f"{server}, " + ("one check" if batch == 1 else f"batch of {batch:,}")


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
