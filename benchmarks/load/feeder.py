"""Publishes markets every so many seconds until it is stopped, a few at a time, evenly: a process of its own.

python -m benchmarks.load.feeder ADDRESS MARKETS SECONDS

Prints of each request when it was sent, seconds of the monotonic clock, and how long its answer took.
"""

from __future__ import annotations

import asyncio
import sys
import time

from grpc import aio

from benchmarks.load import market

AT_A_TIME = 25
SECONDS_MAX = 7_200
"""It ends by itself, whatever becomes of whoever started it."""

OBSERVE = "/circuit_guard.v1.MarketDataService/PublishObservations"
REFER = "/circuit_guard.v1.MarketDataService/PublishReferences"


async def feed(address: str, markets: int, every_s: float) -> None:
    """Publish; where the guard is slower than the rate, or this process was paused, go on from now."""
    names = market.names(markets)
    groups = [names[start : start + AT_A_TIME] for start in range(0, markets, AT_A_TIME)]
    async with aio.insecure_channel(address) as channel:
        observe: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(OBSERVE)
        refer: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(REFER)

        async def publish(method: aio.UnaryUnaryMultiCallable[bytes, bytes], request: bytes) -> None:
            sent = time.monotonic()
            await method(request)
            print(f"{sent:.6f} {time.monotonic() - sent:.6f}", flush=True)

        due = time.monotonic()
        end = due + SECONDS_MAX
        while due < end:
            for group in groups:
                await publish(refer, market.references(group, time.time_ns()))
                await publish(observe, market.observations(group, time.time_ns()))
                due = max(due + every_s / len(groups), time.monotonic())
                await asyncio.sleep(due - time.monotonic())


if __name__ == "__main__":
    asyncio.run(feed(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
