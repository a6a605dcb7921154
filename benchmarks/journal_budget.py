"""How much disk a day of inputs takes: `python -m benchmarks.journal_budget [minutes] [--together]`.

Writes some simulated minutes of 111 markets at 1 Hz (one observation and three references each) through a real
journal, proves it, and prints what a day comes to. Exits 1 where that is over the budget. `--together`: as if a feeder
sent 25 markets in a request; then it takes 15 minutes of data until there is a block.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from sqlite3 import connect
from tempfile import TemporaryDirectory
from time import monotonic

from benchmarks.simulated_feed import START_NS, simulate
from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import DAY_NS, JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME
from circuit_guard.journal.record import Entry, input_entry, taken_entries

MARKETS = 111
PER_SECOND = MARKETS * 4
TOGETHER = 25
BUDGET_MB = 500
PLAIN = (
    "SELECT count(*), sum(length(payload) + length(scope) + 60) FROM record"
    " WHERE sequence > (SELECT coalesce(max(last_sequence), 0) FROM block)"
)
"""There are only inputs, so that whatever is beyond the last block stands for itself."""


def entries(inputs: list[Observation | Reference], *, together: bool) -> Iterator[Entry]:
    """Return what is recorded of the inputs of one second."""
    if not together:
        yield from map(input_entry, inputs)
        return
    at_ns = inputs[-1].at_ns
    ordered = sorted(inputs, key=lambda one: (one.market, one.source))
    references = [replace(one, at_ns=at_ns) for one in ordered if isinstance(one, Reference)]
    observations = [replace(one, at_ns=at_ns) for one in ordered if isinstance(one, Observation)]
    for start in range(0, MARKETS, TOGETHER):
        yield from taken_entries(references[start * 3 : (start + TOGETHER) * 3])
        yield from taken_entries(observations[start : start + TOGETHER])


async def write(directory: Path, minutes: int, *, together: bool) -> None:
    """Write the inputs of so many minutes as fast as the journal takes them, and wait until they are compact."""
    options = JournalOptions()
    inputs = simulate(MARKETS, minutes * 60)
    with Journal(directory, START_NS, options) as journal:
        while chunk := list(islice(inputs, PER_SECOND)):
            await journal.room()
            appended = journal.append(entries(chunk, together=together))
        await journal.durable(appended.last_sequence)
        while rows(directory) >= options.block_records:  # noqa: ASYNC110  # the journal tells nobody
            await asyncio.sleep(0.1)


def rows(directory: Path) -> int:
    """Return how many plain rows there are."""
    [(count, _)] = query(directory, PLAIN)
    return int(count)


def query(directory: Path, statement: str) -> list[tuple[int, ...]]:
    """Return the rows of a statement."""
    connection = connect(f"file:{directory / JOURNAL_NAME}?mode=ro", uri=True)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def main(minutes: int, *, together: bool) -> int:
    """Measure and print; return the exit code."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        started = monotonic()
        asyncio.run(write(directory, minutes, together=together))
        took_s = monotonic() - started
        [(records, compressed)] = query(directory, "SELECT sum(records), sum(length(body)) FROM block")
        [(plain, plain_bytes)] = query(directory, PLAIN)
        total = PER_SECOND * 60 * minutes
        in_blocks = total * records / (records + plain)
        print(f"{total} inputs of {minutes} minutes written and compressed in {took_s:.1f} s ({total / took_s:.0f}/s)")
        print(
            f"plain rows: {plain}, {plain_bytes / plain:.0f} bytes each, {plain_bytes / 1e6:.1f} MB, not yet in a block"
        )
        a_day = PER_SECOND * DAY_NS // 10**9
        mb_a_day = compressed / in_blocks * a_day / 1e6
        print(f"blocks: {compressed / in_blocks:.2f} bytes an input, {mb_a_day:.0f} MB a day (budget {BUDGET_MB})")
        with Journal(directory, START_NS, JournalOptions()) as journal, journal.reader() as reader:
            started = monotonic()
            report = reader.verify()
        took_s = monotonic() - started
        print(f"verified {report.records} records in {took_s:.1f} s ({report.records / took_s:.0f}/s): ok {report.ok}")
        return 0 if report.ok and mb_a_day <= BUDGET_MB else 1


if __name__ == "__main__":
    given = [one for one in sys.argv[1:] if one != "--together"]
    sys.exit(main(int(given[0]) if given else 5, together="--together" in sys.argv))
