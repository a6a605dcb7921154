"""Measures everything and prints it: `python -m benchmarks.load [--quick] [--decisions N]`."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.load import core
from benchmarks.load.beside import beside
from benchmarks.load.growth import halts, ingest, with_history, with_markets
from benchmarks.load.measure import opened
from benchmarks.load.plan import FULL, QUICK, Plan
from benchmarks.load.process import GENERATOR_CORE, SERVER_CORE, Bench
from benchmarks.load.table import Measured, table
from benchmarks.load.targets import targets


async def measure(bench: Bench, plan: Plan) -> Measured:
    """Return what was found, section by section."""
    few, some, most = plan.markets
    tell(f"the core alone, {few} and {most:,} markets")
    costs = core.measure(few, most, plan.core_checks)
    small, floor, redis = bench.guard(few), bench.floor(), bench.redis()
    if redis is None:
        tell("Redis is left out: redis-server or its Python client is not installed")
    tell("half a minute of market data, until every market is OPEN")
    await opened([small])
    tell("the guard beside the floor and Redis")
    pairs, flag = await beside(small, floor, redis, plan)
    tell("market data as fast as it is taken")
    unfed = bench.guard(some, fed=False)
    ingested = await ingest(unfed, [small], plan)
    unfed.pause()
    grown = []
    for markets in (some, most):
        tell(f"{markets:,} markets")
        large = bench.guard(markets)
        await opened([small, large])
        grown.append(await with_markets(small, large, plan))
        if markets == some:
            tell("corrupt observations")
            await opened([large])
            halted = await halts(large, grown[-1].many.fed)
        (small if markets == most else large).pause()
    tell(f"{plan.decisions:,} decisions at {most:,} markets")
    await opened([large])
    aged = await with_history(bench, large, plan)
    return Measured(costs, pairs, flag, grown, ingested, aged, halted)


def tell(what: str) -> None:
    """Say on standard error what is being measured."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a little of everything, to see that it works")
    parser.add_argument("--decisions", type=int, help="how many, before memory is looked at again")
    given = parser.parse_args()
    plan = QUICK if given.quick else FULL
    if given.decisions:
        plan = replace(plan, decisions=given.decisions)
    if os.cpu_count() == 1:
        parser.error("two cores are needed: one for the server that is measured, one for all else")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # or the servers would be left behind
    with TemporaryDirectory() as folder, Bench(Path(folder)) as bench:
        report(asyncio.run(measure(bench, plan)))


def report(measured: Measured) -> None:
    """Print the table, and what came of each target."""
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores: ", end="")
    print(f"servers on core {SERVER_CORE}, generator and feeders on core {GENERATOR_CORE}.\n")
    print(table(measured), end="\n\n")
    print("\n".join(map(str, targets(measured))), flush=True)


if __name__ == "__main__":
    main()
