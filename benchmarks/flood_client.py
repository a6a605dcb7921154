"""Asks a guard about closures at a fixed rate, whether it answers or not: a process of its own for `flood`.

One JSON line at the end says what became of the checks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections import Counter
from itertools import count, cycle
from time import perf_counter

from grpc import aio

from circuit_guard.v1 import liquidation_pb2

UNARY = "/circuit_guard.v1.LiquidationGuardService/CheckLiquidation"
BATCH = "/circuit_guard.v1.LiquidationGuardService/CheckLiquidations"
ID_DIGITS = 18
PLACE = "#" * ID_DIGITS
STEP_S = 0.005
DEADLINE_S = 1.0
OUTSTANDING_MAX = 5_000
"""Requests that this process keeps open; what it cannot send beyond that is counted as not sent."""
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))


class Flooder:
    """Sends requests with ids of their own, and counts what becomes of their checks."""

    def __init__(self, address: str, connections: int, batch: int, markets: list[str]) -> None:
        self.outcomes: Counter[str] = Counter()
        self.outstanding = 0
        self.batch = batch
        self._ids = count(os.getpid() * 10**9)
        self._parts = [template(batch, market).split(PLACE.encode()) for market in markets]
        self._which = cycle(range(len(markets)))
        self.channels = [aio.insecure_channel(address, OPTIONS) for _ in range(connections)]
        self._methods: cycle[aio.UnaryUnaryMultiCallable[bytes, bytes]] = cycle(
            [channel.unary_unary(UNARY if batch == 1 else BATCH) for channel in self.channels]
        )

    async def ask(self) -> None:
        """Send one request, and count what becomes of it."""
        parts = self._parts[next(self._which)]
        request = parts[0] + b"".join(b"%0*d" % (ID_DIGITS, next(self._ids)) + part for part in parts[1:])
        self.outstanding += 1
        try:
            await next(self._methods)(request, timeout=DEADLINE_S)
            outcome = "OK"
        except aio.AioRpcError as error:
            outcome = error.code().name
        self.outstanding -= 1
        self.outcomes[outcome] += self.batch


def template(batch: int, market: str) -> bytes:
    """Return a request as bytes, with places for the ids."""
    checks = [
        liquidation_pb2.LiquidationCheck(
            request_id=PLACE,
            account_id=f"account-{number}",
            market=market,
            size="-0.5",
            basis=liquidation_pb2.Basis(mark_price="92610.0", funding_index="20511.9"),
        )
        for number in range(batch)
    ]
    if batch == 1:
        return liquidation_pb2.CheckLiquidationRequest(check=checks[0]).SerializeToString()
    return liquidation_pb2.CheckLiquidationsRequest(checks=checks).SerializeToString()


async def at_rate(flooder: Flooder, per_s: float, seconds: float) -> None:
    """Send so many checks a second for so long, whatever becomes of them."""
    started = perf_counter()
    sent, asking = 0, set[asyncio.Task[None]]()
    while (now := perf_counter()) < started + seconds:
        due = int((now - started) * per_s / flooder.batch)
        for _ in range(due - sent):
            if flooder.outstanding >= OUTSTANDING_MAX:
                flooder.outcomes["NOT_SENT"] += flooder.batch
                continue
            task = asyncio.create_task(flooder.ask())
            asking.add(task)
            task.add_done_callback(asking.discard)
        sent = due
        await asyncio.sleep(STEP_S)
    await asyncio.gather(*asking)


async def closed(flooder: Flooder, callers: int, seconds: float) -> None:
    """Have so many callers ask one request after another."""
    until = perf_counter() + seconds

    async def one() -> None:
        while perf_counter() < until:
            await flooder.ask()

    await asyncio.gather(*(one() for _ in range(callers)))


async def main() -> None:
    """Flood, and print what became of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--per-s", type=float, default=0.0)
    parser.add_argument("--callers", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--markets", nargs="+")
    given = parser.parse_args()
    flooder = Flooder(given.address, given.connections, given.batch, given.markets)
    started = perf_counter()
    if given.callers:
        await closed(flooder, given.callers, given.seconds)
    else:
        await at_rate(flooder, given.per_s, given.seconds)
    seconds = perf_counter() - started
    for channel in flooder.channels:
        await channel.close()
    print(json.dumps({"seconds": round(seconds, 2), **flooder.outcomes}))


if __name__ == "__main__":
    asyncio.run(main())
