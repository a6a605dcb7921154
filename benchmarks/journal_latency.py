"""How long a record takes to be durable, and the event loop to come round: `python -m benchmarks.journal_latency [s]`.

Appends what 111 markets publish at 1 Hz, at the real rate and while blocks are being made, and every 20 ms a decision
that somebody waits for.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.simulated_feed import START_NS, simulate
from circuit_guard.core.inputs import Check
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.record import input_entry

MARKETS = 111
STEP_S = 0.01


def shown(name: str, seconds: Sequence[float]) -> str:
    """Return a distribution as one line."""
    ordered = sorted(seconds)
    shares = ", ".join(f"p{share} {ordered[len(ordered) * share // 100] * 1e3:.2f} ms" for share in (50, 90, 99))
    return f"{name}: {shares}, max {ordered[-1] * 1e3:.2f} ms ({len(ordered)} times)"


async def publish(journal: Journal, until: float, appends: list[float], lags: list[float]) -> None:
    """Append inputs at their rate; take how long each append took, and how late the loop came round."""
    inputs = simulate(MARKETS, 10**6)
    due = perf_counter()
    while due < until:
        due += STEP_S
        await asyncio.sleep(max(due - perf_counter(), 0))
        lags.append(perf_counter() - due)
        for input_ in islice(inputs, int(MARKETS * 4 * STEP_S)):
            started = perf_counter()
            journal.append((input_entry(input_),))
            appends.append(perf_counter() - started)


async def decide(journal: Journal, until: float, waits: list[float]) -> None:
    """Append a check and wait until it is durable, again and again."""
    count = 0
    while perf_counter() < until:
        count += 1
        started = perf_counter()
        check = Check(START_NS, f"request-{count}", "account", "BTC-USD-PERP", Decimal("-0.5"))
        await journal.durable(journal.append((input_entry(check),)).last_sequence)
        waits.append(perf_counter() - started)
        await asyncio.sleep(0.02)


async def measure(directory: Path, seconds: float) -> None:
    """Print the latencies."""
    appends: list[float] = []
    lags: list[float] = []
    waits: list[float] = []
    # Small blocks, so that making them goes on all the time; the work a record is the same.
    with Journal(directory, START_NS, JournalOptions(block_records=4096)) as journal:
        until = perf_counter() + seconds
        await asyncio.gather(publish(journal, until, appends, lags), decide(journal, until, waits))
    print(shown("append", appends))
    print(shown("append until durable", waits))
    print(shown("event loop late by", lags))


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        asyncio.run(measure(Path(name), float(sys.argv[1]) if len(sys.argv) > 1 else 30.0))
