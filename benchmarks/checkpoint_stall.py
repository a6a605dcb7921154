"""What a checkpoint costs the event loop: `python -m benchmarks.checkpoint_stall [markets]`.

The state is that of 1,000 markets with a minute of data, and of 10,000 remembered requests. A few markets are
copied at a time; then another thread encodes and compresses the copy, and the loop shares the interpreter with it.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, thread_time

from benchmarks.journal_latency import shown
from benchmarks.recorded_day import BURST_S, RecordedGuard
from benchmarks.simulated_feed import START_NS, simulate
from circuit_guard.journal.checkpoint import Snapshot, copied
from circuit_guard.journal.journal import COPIED_AT_ONCE, Journal
from circuit_guard.journal.options import JournalOptions
from circuit_guard.runtime.app import GARBAGE_THRESHOLDS, SWITCH_S

COPIES = 20
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


async def measure(directory: Path, markets: int) -> None:
    """Print what copies take, and how late the loop comes round without and with checkpoints."""
    with Journal(directory, START_NS, JournalOptions()) as journal:
        guard = RecordedGuard(journal, markets)
        feed = simulate(markets, BURST_S + 2)
        for _ in range(BURST_S + 2):
            await guard.second(list(islice(feed, markets * 4)))
        await guard.journal.durable()
        print(f"{len(guard.state.markets)} markets, {len(guard.state.remembered)} remembered requests")
        gc.freeze()  # as the guard does
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        whole, pieces = [], []
        for _ in range(COPIES):
            started = thread_time()
            copied(guard.state)
            whole.append(thread_time() - started)
            started = thread_time()
            snapshot, more = Snapshot(guard.state), True
            while more:
                more = snapshot.copy_some(COPIED_AT_ONCE)
                pieces.append(thread_time() - started)
                started = thread_time()
            snapshot.close()
        print(shown("copy of the whole state, CPU time", whole))
        print(shown(f"copy of {COPIED_AT_ONCE} markets, CPU time", pieces))
        print(shown("event loop late by, idle", await lags_during(journal, guard, 0)))
        print(shown("event loop late by, checkpoints", await lags_during(journal, guard, CHECKPOINTS)))


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        sys.setswitchinterval(SWITCH_S)  # as the guard has it
        asyncio.run(measure(Path(name), int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
