"""Where the guard's CPU time goes: `python -m benchmarks.load.profiling [--batch N] [--seconds S]`.

Prints the share of each part of the event loop's thread. The profiler makes small
functions look dearer than they are: the shares tell where to look, `python -m benchmarks.load` tells what it costs.
"""

from __future__ import annotations

import argparse
import asyncio
import pstats
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.load.beside import IN_FLIGHT
from benchmarks.load.generator import Checks, Load, Round
from benchmarks.load.measure import opened
from benchmarks.load.process import LOOK_EVERY_S, STARTED_WITHIN_S, Bench

PARTS = {
    "circuit_guard/core": "core: rules, gates, decision",
    "circuit_guard/server/convert": "messages to inputs, decisions to messages",
    "circuit_guard/server": "server: door, interceptor, services, turns",
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


async def load_it(batch: int, seconds: float, out: Path) -> Round:
    """Ask a guard, half of the time unprofiled and half of it profiled; return what the first half took."""
    with TemporaryDirectory() as folder, Bench(Path(folder)) as bench:
        guarding = bench.guard(MARKETS, program=("-m", "benchmarks.load.profiled", str(out)))
        await opened([guarding])
        checks = Checks(guarding.guard.address, guarding.markets, batch)
        load = Load("", guarding.guard, checks, batch, IN_FLIGHT[batch])
        plain = await load.saturate(seconds / 2)
        guarding.guard.running.send_signal(signal.SIGUSR1)
        await load.saturate(seconds / 2)
        guarding.guard.running.send_signal(signal.SIGUSR2)
        _await_file(out)
        await checks.close()
        return plain


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
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        out = Path(folder) / "profile"
        plain = asyncio.run(load_it(given.batch, given.seconds, out))
        parts, functions = shares(pstats.Stats(str(out)))
    main_s = sum(parts.values())
    sys.stdout.write(f"{plain.cpu_us:.1f} us of CPU time a decision, all threads; of the event loop's, profiled:\n\n")
    for part, spent_s in parts.most_common():
        sys.stdout.write(f"{spent_s / main_s:6.1%}  {part}\n")
    sys.stdout.write("\n")
    for function, spent_s in functions.most_common(FUNCTIONS):
        sys.stdout.write(f"{spent_s / main_s:6.1%}  {function}\n")


if __name__ == "__main__":
    main()
