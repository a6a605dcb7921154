"""What market data cost beside a server that does nothing: `python -m benchmarks.load.market_data [--quick]`.

Answered in one run:

- the CPU time of one observation and of one reference, journal included, beside that of an RPC that does nothing;
- how many checks a guard answers one by one with 10 and with 1,000 markets, all of them published at 1 Hz on its core;
- how long an answer takes at half of that, beside the server that does nothing, and how much memory the guard has.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.load.beside import ONE, SHAPES
from benchmarks.load.generator import Load
from benchmarks.load.growth import ingests
from benchmarks.load.measure import latency, opened, saturate
from benchmarks.load.plan import FULL, QUICK, Plan
from benchmarks.load.process import Bench, Guarding, Process
from benchmarks.load.table import percentile_ms

SHARES = {"observations": 0.25, "references": 0.06}
"""What one of them may cost, of an RPC that does nothing."""
MARKETS_SHARE = 0.85
LATENCY = {50.0: None, 99.0: 2.0, 99.9: 3.0}
"""How many times as long as the server that does nothing the guard may take, by percentile."""
SHOWN_US = 0.5


async def measure(bench: Bench, plan: Plan, *, ingest_only: bool) -> None:
    """Measure everything and print it as it is found."""
    few, some, most = plan.markets
    floor, guarding = bench.floor(), bench.guard(few)
    nothing = _asking("RPC that does nothing", floor, guarding.markets)
    await opened([guarding])
    await _ingested(bench.guard(some, fed=False), nothing, guarding, plan)
    if ingest_only:
        return
    crowded = bench.guard(most)
    await opened([guarding, crowded])
    await _grown(guarding, crowded, nothing, plan)


async def _ingested(unfed: Guarding, nothing: Load, other: Guarding, plan: Plan) -> None:
    """Print what one item costs, round by round in turn with the server that does nothing."""
    threads: dict[str, Counter[str]] = {}
    async with ingests(unfed) as loads:
        for _ in range(plan.rounds):
            await saturate(nothing, [other, unfed], plan.round_s)
            for load in loads:
                before = unfed.guard.threads_cpu_s()
                await saturate(load, [other], plan.round_s)
                threads.setdefault(load.name, Counter()).update(_spent(before, unfed.guard, load))
    print(f"{nothing.name}: {nothing.middle(lambda one: one.cpu_us):.1f} us of CPU time")
    for load in loads:
        ratios = [one.cpu_us / other.cpu_us for one, other in zip(load.rounds, nothing.rounds, strict=True)]
        name = load.name.partition(" ")[0]
        print(f"{name}: {load.middle(lambda one: one.cpu_us):.1f} us each, ", end="")
        print(f"{_range(ratios)} of that RPC (at most {SHARES[name]:g})")
        for thread, cpu_us in threads[load.name].most_common():
            if cpu_us / plan.rounds >= SHOWN_US:
                print(f"  {cpu_us / plan.rounds:6.1f}  {thread}")
    unfed.pause()


async def _grown(few: Guarding, many: Guarding, nothing: Load, plan: Plan) -> None:
    """Print how many checks both answer while all of their markets are published, and how long that takes."""
    asked = [_asking(f"{len(one.markets):,} markets", one.guard, one.markets) for one in (few, many)]
    for _ in range(plan.rounds):
        for guarding, load in zip((few, many), asked, strict=True):
            await opened([guarding])
            await saturate(load, (few, many), plan.round_s)
        await saturate(nothing, (few, many), plan.round_s)
    await latency(nothing, (few, many), plan.latency_s)
    for guarding, load in zip((few, many), asked, strict=True):
        await opened([guarding])  # while it was paused nothing was published to it
        await latency(load, (few, many), plan.latency_s)
    for guarding, load in zip((few, many), asked, strict=True):
        print(f"{load.name} at 1 Hz: {load.middle(lambda one: one.per_s):,.0f} checks a second, ", end="")
        print(f"{load.middle(lambda one: one.cpu_us):.0f} us of CPU time each, {guarding.guard.rss_mb():.0f} MB")
    each = [one.per_s / other.per_s for one, other in zip(asked[1].rounds, asked[0].rounds, strict=True)]
    print(f"{asked[1].name} answer {_range(each)} of what {asked[0].name} do (at least {MARKETS_SHARE:g})")
    for load in asked:
        for percentile, most in LATENCY.items():
            took, floor = percentile_ms(load, percentile), percentile_ms(nothing, percentile)
            if took is not None and floor is not None:
                limit = "" if most is None else f" (at most {most:g} x)"
                print(f"{load.name}: p{percentile:g} {took:.2f} ms, {took / floor:.1f} x of {floor:.2f} ms{limit}")


def _asking(name: str, server: Process, markets: Sequence[str]) -> Load:
    shape = SHAPES[ONE]
    return Load(name, server, shape.asks(server.address, markets), shape.batch, shape.in_flight)


def _spent(before: dict[str, tuple[str, float]], guard: Process, load: Load) -> Counter[str]:
    """Return what each thread has taken since, microseconds an item of the last round."""
    spent = Counter[str]()
    for thread, (name, cpu_s) in guard.threads_cpu_s().items():
        called = "event loop" if thread == str(guard.running.pid) else "journal's threads" if name == "python" else name
        cpu_us = (cpu_s - before.get(thread, (name, 0.0))[1]) / load.rounds[-1].items * 1e6
        spent[called] += cpu_us  # type: ignore[assignment]  # it counts fractions as well
    return spent


def _range(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} .. {max(values):.2f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a little of everything, to see that it works")
    parser.add_argument("--items", action="store_true", help="only what one observation and one reference cost")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # or the servers would be left behind
    with TemporaryDirectory() as folder, Bench(Path(folder)) as bench:
        asyncio.run(measure(bench, QUICK if given.quick else FULL, ingest_only=given.items))


if __name__ == "__main__":
    main()
