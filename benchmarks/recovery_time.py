"""How long recovery takes: `python -m benchmarks.recovery_time [minutes after a checkpoint] [hours before]`.

Writes a journal of 111 markets at 1 Hz (one observation and three references each): older hours, which end up in
compressed blocks, a checkpoint, and what came after it until a kill. Exits 1 where recovering took over the limit.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from benchmarks.journal_budget import rows
from benchmarks.simulated_feed import START_NS, simulate
from circuit_guard.core.guard import new_state, step
from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME
from circuit_guard.journal.record import input_entry
from circuit_guard.journal.recovery import recover
from circuit_guard.policy_file import parse_policy

MARKETS = 111
PER_SECOND = MARKETS * 4
DAY_RECORDS = PER_SECOND * 86_400
LIMIT_S = 10.0

Feed = Iterator[Observation | Reference]


def in_order(feed: Feed) -> Feed:
    """Return the feed as one clock stamps it: never back."""
    now_ns = START_NS
    for input_ in feed:
        now_ns = max(now_ns, input_.at_ns)
        yield replace(input_, at_ns=now_ns)


async def write(directory: Path, feed: Feed, hours: float, minutes: float) -> None:
    """Write the older inputs, a checkpoint of the state they lead to, and the inputs after it."""
    names = dict.fromkeys(input_.market for input_ in islice(simulate(MARKETS, 1), PER_SECOND))
    tables = "\n".join(f"[markets.{name}]" for name in names)
    policy = parse_policy(f"[classes.default]\n{tables}\n", "policy.toml")
    state = new_state(policy, START_NS)
    with Journal(directory, START_NS, JournalOptions()) as journal:
        for _ in range(int(hours * 3600)):
            chunk = list(islice(feed, PER_SECOND))
            for input_ in chunk:
                step(state, input_, policy)
            await journal.room()
            journal.append(map(input_entry, chunk))
        await journal.checkpoint(state, policy)
        for _ in range(int(minutes * 60)):
            await journal.room()
            appended = journal.append(map(input_entry, islice(feed, PER_SECOND)))
        await journal.durable(appended.last_sequence)
        while rows(directory) >= 2 * JournalOptions().block_records:  # noqa: ASYNC110  # the journal tells nobody
            await asyncio.sleep(0.1)


def main(minutes: float, hours: float) -> int:
    """Measure and print; return the exit code."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        seconds = int(hours * 3600) + int(minutes * 60)
        asyncio.run(write(directory, in_order(simulate(MARKETS, seconds)), hours, minutes))
        records, size = seconds * PER_SECOND, (directory / JOURNAL_NAME).stat().st_size
        print(f"{records} inputs of {MARKETS} markets, {size / 1e6:.0f} MB: {hours:g} h, checkpoint, {minutes:g} min")
        started = monotonic()
        with Journal(directory, START_NS, JournalOptions()):
            opened_s = monotonic() - started
            started = monotonic()
            rerun = recover(directory)
            took_s = monotonic() - started
        if rerun is None or rerun.inputs != int(minutes * 60) * PER_SECOND:
            print(f"recovered {rerun and rerun.inputs} inputs, expected {int(minutes * 60) * PER_SECOND}")
            return 1
        print(f"opened, and its latest records proved, in {opened_s:.2f} s")
        print(f"recovered in {took_s:.2f} s: {rerun.inputs} inputs run again ({rerun.inputs / took_s:.0f}/s)")
        print(f"together {opened_s + took_s:.2f} s (limit {LIMIT_S:.0f} s)")
        share = 100 * records / DAY_RECORDS
        print(f"a day has {DAY_RECORDS} inputs; {share:.1f} % of that was written. The rest would be blocks before the")
        print("checkpoint, which recovering never reads: compare runs with more and fewer hours")
        return 0 if opened_s + took_s <= LIMIT_S else 1


if __name__ == "__main__":
    given = [float(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(given + [2.0, 0.1][len(given) :])))
