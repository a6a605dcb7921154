"""What a checkpoint costs the event loop: `python -m benchmarks.checkpoint_stall`.

The state is that of 111 markets with a minute of data, and of 10,000 remembered requests. Copying it holds up the loop;
then another thread encodes and compresses the copy, and the loop shares the interpreter with it.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.journal_latency import shown
from benchmarks.recorded_day import BURST_S, MARKETS, PER_SECOND, RecordedGuard
from benchmarks.simulated_feed import START_NS, simulate
from circuit_guard.journal.checkpoint import copied
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions

COPIES = 100
CHECKPOINTS = 10
STEP_S = 0.001


async def come_round(lags: list[float]) -> None:
    """Take how late the loop comes round, until cancelled."""
    while True:
        due = perf_counter() + STEP_S
        await asyncio.sleep(STEP_S)
        lags.append(max(perf_counter() - due, 0))


async def lags_during(journal: Journal, guard: RecordedGuard, checkpoints: int) -> list[float]:
    """Return how late the loop came round during so many checkpoints, or with none for as many quarters of a second."""
    lags: list[float] = []
    watching = asyncio.create_task(come_round(lags))
    for _ in range(checkpoints):
        await journal.checkpoint(guard.state, guard.policy)
    if not checkpoints:
        await asyncio.sleep(CHECKPOINTS / 4)
    watching.cancel()
    return lags


async def measure(directory: Path) -> None:
    """Print what a copy takes, and how late the loop comes round without and with checkpoints."""
    with Journal(directory, START_NS, JournalOptions()) as journal:
        guard = RecordedGuard(journal)
        feed = simulate(MARKETS, BURST_S + 2)
        for _ in range(BURST_S + 2):
            await guard.second(list(islice(feed, PER_SECOND)))
        await guard.journal.durable()
        print(f"{len(guard.state.markets)} markets, {len(guard.state.remembered)} remembered requests")
        copies = []
        for _ in range(COPIES):
            started = perf_counter()
            copied(guard.state)
            copies.append(perf_counter() - started)
        print(shown("copy of the state", copies))
        print(shown("event loop late by, idle", await lags_during(journal, guard, 0)))
        print(shown("event loop late by, checkpoints", await lags_during(journal, guard, CHECKPOINTS)))


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        asyncio.run(measure(Path(name)))
