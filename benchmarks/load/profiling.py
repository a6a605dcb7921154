"""Where the guard's CPU time goes: `python -m benchmarks.load.profiling [--batch N] [--stream] [--seconds S]`.

Prints what each thread takes, and the share of each part of the event loop's. The profiler makes small
functions look dearer than they are: the shares tell where to look, `python -m benchmarks.load` tells what it costs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pstats
import signal
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.load.beside import IN_FLIGHT, SHAPES, STREAM, Shape
from benchmarks.load.generator import Load, Round
from benchmarks.load.measure import opened
from benchmarks.load.process import LOOK_EVERY_S, STARTED_WITHIN_S, Bench

PARTS = {
    "circuit_guard/core": "core: rules, gates, decision",
    "circuit_guard/server/convert": "messages to inputs, decisions to messages",
    "circuit_guard/server": "server: admission, services, batch queue",
    "circuit_guard/journal": "journal: what is queued for the disk",
    "circuit_guard/telemetry/fact_log": "log: one line a decision",
    "circuit_guard/telemetry": "metrics",
    "circuit_guard/web": "status page: its history",
    "circuit_guard": "engine, and all else of the guard",
    "structlog": "log: one line a decision",
    "logging": "log: one line a decision",
    "prometheus_client": "metrics",
    "grpc": "gRPC, in Python",
    "asyncio": "event loop",
    "selectors": "event loop",
}
BUILTIN = "~"
RUN = "_contextvars.Context"
"""What the event loop calls. The profiler does not see into gRPC's C, so its time is that of this call itself."""
MARKETS = 10
FUNCTIONS = 12
SHOWN_US = 1.0

Function = tuple[str, int, str]


def part_of(function: Function) -> str:
    """Return the part of the guard that a function belongs to."""
    path = function[0]
    for known, part in PARTS.items():
        if f"/{known}/" in path or f"/{known}." in path:
            return part
    return "other libraries"


def shares(profile: pstats.Stats) -> tuple[Counter[str], Counter[str]]:
    """Return the CPU seconds of each part, and of each function; what is built in counts for whoever called it."""
    parts, functions = Counter[str](), Counter[str]()
    for function, (_, _, own_s, _, callers) in profile.stats.items():  # type: ignore[attr-defined]
        name = f"{Path(function[0]).name}:{function[1]} {function[2]}" if function[1] else function[2]
        functions[name] += own_s
        if function[0] != BUILTIN:
            parts[part_of(function)] += own_s
        elif RUN in function[2]:
            parts["gRPC, in C"] += own_s
        else:
            for caller, (_, _, share_s, _) in callers.items():
                parts[part_of(caller)] += share_s
    return parts, functions


async def load_it(shape: Shape, seconds: float, out: Path) -> tuple[Round, Counter[str]]:
    """Ask a guard, half of the time unprofiled and half of it profiled; return the first half, and its threads.

    Of each thread: the CPU time for a decision, microseconds.
    """
    with TemporaryDirectory() as folder, Bench(Path(folder)) as bench:
        guarding = bench.guard(MARKETS, program=("-m", "benchmarks.load.profiled", str(out)))
        await opened([guarding])
        guard = guarding.guard
        checks = shape.asks(guard.address, guarding.markets)
        load = Load("guard", guard, checks, shape.batch, shape.in_flight)
        before = guard.threads_cpu_s()
        plain = await load.saturate(seconds / 2)
        after = guard.threads_cpu_s()
        guard.running.send_signal(signal.SIGUSR1)
        await load.saturate(seconds / 2)
        guard.running.send_signal(signal.SIGUSR2)
        _await_file(out)
        await checks.close()
    names = json.loads(out.with_suffix(".threads").read_text())
    threads = Counter[str]()
    for thread, (name, cpu_s) in after.items():
        cpu_us = (cpu_s - before.get(thread, (name, 0.0))[1]) / plain.items * 1e6
        threads[names.get(thread, name)] += cpu_us  # type: ignore[assignment]  # it counts fractions as well
    return plain, threads


def _await_file(out: Path) -> None:
    until = time.monotonic() + STARTED_WITHIN_S
    while not out.exists():
        if time.monotonic() > until:
            raise RuntimeError(f"the guard has not written its profile within {STARTED_WITHIN_S:g} s")
        time.sleep(LOOK_EVERY_S)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, choices=IN_FLIGHT, default=1)
    parser.add_argument("--stream", action="store_true", help="one check at a time, on a stream")
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    shape = SHAPES[STREAM] if given.stream else next(one for one in SHAPES.values() if one.batch == given.batch)
    with TemporaryDirectory() as folder:
        out = Path(folder) / "profile"
        plain, threads = asyncio.run(load_it(shape, given.seconds, out))
        parts, functions = shares(pstats.Stats(str(out)))
    print(f"{plain.cpu_us:.0f} us of CPU time a decision, by thread:\n")
    for thread, cpu_us in threads.most_common():
        if cpu_us >= SHOWN_US:
            print(f"{cpu_us:6.1f}  {thread}")
    main_s = sum(parts.values())
    print("\nof MainThread, profiled:\n")
    for name, spent_s in (*parts.most_common(), *functions.most_common(FUNCTIONS)):
        print(f"{spent_s / main_s:6.1%}  {name}")


if __name__ == "__main__":
    main()
