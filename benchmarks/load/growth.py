"""What grows with markets and with history, how much market data a guard takes, and how soon a corrupt one denies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from grpc import aio

from benchmarks.load import market
from benchmarks.load.beside import IN_FLIGHT
from benchmarks.load.feeder import OBSERVE, REFER
from benchmarks.load.generator import CHANNEL_OPTIONS, DEADLINE_S, Checks, Load, NotAllowed, Round, open_loop
from benchmarks.load.halting import Halted, halt
from benchmarks.load.measure import HALF, opened, saturate
from benchmarks.load.plan import Plan
from benchmarks.load.process import Bench, Guarding
from circuit_guard.v1 import market_data_pb2

STEPS = 4
BATCH = 1000
INGESTED = 100
"""Markets in one request."""
CORRUPT_SHARE = 10
"""One market in so many is corrupted: with more of them everything would latch."""
FED_SELDOM_S = 4.0
"""While a lot is decided, each market is published so often: nothing goes stale, and there is time left to decide."""
HALT_S = 0.2
"""Checks go on for so long for each of them."""


@dataclass(frozen=True)
class Sized:
    """A guard with so many markets, asked one check at a time."""

    markets: int
    fed: Load
    alone: Load
    """The same while nothing is published: what is left is what checks cost."""
    rss_mb: float


@dataclass(frozen=True)
class Grown:
    """A guard with many markets, and in turn with it the one with few."""

    few: Sized
    many: Sized


@dataclass(frozen=True)
class Aged:
    """What became of a guard that has decided a lot."""

    decided: Round
    rss_mb: dict[int, float]
    """By decisions."""
    after: Load


async def with_markets(few: Guarding, many: Guarding, plan: Plan) -> Grown:
    """Return what both do, measured in turn. The one with many has to be on its core as long as it can, to be fed."""
    guards = (few, many)
    asking = [Checks(guarding.guard.address, guarding.markets) for guarding in guards]
    loads = [
        {fed: Load(_name(guarding, fed=fed), guarding.guard, ask, 1, IN_FLIGHT[1]) for fed in (True, False)}
        for guarding, ask in zip(guards, asking, strict=True)
    ]
    for _ in range(plan.rounds):
        for guarding, load in zip(guards, loads, strict=True):
            for fed in (True, False):
                await opened([guarding])
                await saturate(load[fed], guards, plan.round_s, fed=fed)
    for ask in asking:
        await ask.close()
    return Grown(
        *(
            Sized(len(guarding.markets), load[True], load[False], guarding.guard.rss_mb())
            for guarding, load in zip(guards, loads, strict=True)
        )
    )


def _name(guarding: Guarding, *, fed: bool) -> str:
    return f"guard, one check, {len(guarding.markets):,} markets {'at 1 Hz' if fed else 'paused'}"


async def with_history(bench: Bench, guarding: Guarding, plan: Plan) -> Aged:
    """Have a guard decide a lot, in batches; return its memory on the way, and what one check costs afterwards."""
    asking = Checks(guarding.guard.address, guarding.markets, BATCH)
    load = Load("a lot of batches", guarding.guard, asking, BATCH, IN_FLIGHT[BATCH])
    rss_mb, parts = {0: guarding.guard.rss_mb()}, []
    guarding.feed(on=False)
    seldom = bench.feeder(guarding.guard, len(guarding.markets), FED_SELDOM_S)
    for step in range(1, STEPS + 1):
        parts.append(await _decide(load, guarding, plan.decisions // STEPS))
        rss_mb[plan.decisions * step // STEPS] = guarding.guard.rss_mb()
    seldom.pause()
    guarding.feed(on=True)
    await asking.close()
    single = Checks(guarding.guard.address, guarding.markets)
    after = Load(f"guard, one check, after {plan.decisions:,} decisions", guarding.guard, single, 1, IN_FLIGHT[1])
    for _ in range(plan.rounds):
        await opened([guarding])
        await saturate(after, [guarding], plan.round_s, fed=False)
    await single.close()
    return Aged(_together(parts), rss_mb, after)


async def ingest(guarding: Guarding, others: Sequence[Guarding], plan: Plan) -> tuple[Load, Load]:
    """Return how many references and observations a guard takes, published as fast as it answers."""
    async with ingests(guarding) as loads:
        for _ in range(plan.rounds):
            for load in loads:
                await saturate(load, others, plan.round_s)
    return loads


@asynccontextmanager
async def ingests(guarding: Guarding) -> AsyncIterator[tuple[Load, Load]]:
    """Return what publishes references, and what publishes observations, as fast as a guard answers."""
    names, guard = guarding.markets[:INGESTED], guarding.guard
    async with aio.insecure_channel(guard.address, CHANNEL_OPTIONS) as channel:
        refer: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(REFER)
        observe: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(OBSERVE)

        def calm(published: Callable[..., bytes]) -> bytes:
            return published(names, time.time_ns(), swing=market.CALM)

        async def references() -> bool:
            return _all_accepted(await refer(calm(market.references), timeout=DEADLINE_S))

        async def observations() -> bool:
            return _all_accepted(await observe(calm(market.observations), timeout=DEADLINE_S))

        # One request at a time: the order of what one feed publishes means something.
        yield (
            Load("references taken", guard, references, len(names) * len(market.VENUES), 1),
            Load("observations taken", guard, observations, len(names), 1),
        )


async def halts(guarding: Guarding, single: Load) -> list[Halted]:
    """Corrupt some markets, while checks of the others go on at half of what is possible."""
    corrupt = guarding.markets[::CORRUPT_SHARE][1:]
    others = [name for name in guarding.markets if name not in corrupt]
    asking = Checks(guarding.guard.address, others)
    per_s = single.middle(lambda one: one.per_s) * HALF
    load = Load("checks of the other markets", guarding.guard, asking, 1, IN_FLIGHT[1])
    background = asyncio.create_task(open_loop(load, per_s, HALT_S * len(corrupt)))
    halted = await halt(guarding.guard.address, corrupt)
    await background
    await asking.close()
    return halted


async def _decide(load: Load, guarding: Guarding, decisions: int) -> Round:
    """Have so many decided; where market data came too late for one, wait until all are allowed again."""
    left = decisions

    async def one() -> None:
        nonlocal left
        while left > 0:
            try:
                answered = await load.ask()
            except NotAllowed:
                await opened([guarding])
            else:
                left -= load.items if answered else 0

    started, cpu_s = time.perf_counter(), load.server.cpu_s()
    await asyncio.gather(*(one() for _ in range(load.in_flight)))
    return Round(decisions, time.perf_counter() - started, load.server.cpu_s() - cpu_s, 0.0)


def _together(rounds: Sequence[Round]) -> Round:
    return Round(
        sum(one.items for one in rounds),
        sum(one.seconds for one in rounds),
        sum(one.server_cpu_s for one in rounds),
        sum(one.own_cpu_s for one in rounds),
    )


def _all_accepted(answer: bytes) -> bool:
    """Return true. Raise RuntimeError where something was not accepted: then something else was measured."""
    for result in market_data_pb2.PublishObservationsResponse.FromString(answer).results:
        if result.status != market_data_pb2.PUBLISH_STATUS_ACCEPTED:
            raise RuntimeError(f"honest market data was not accepted: {result}")
    return True
