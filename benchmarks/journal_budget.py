"""How much disk a day of inputs takes: `python -m benchmarks.journal_budget [minutes]`.

Writes some simulated minutes of 111 markets at 1 Hz (one observation and three references each) through a real
journal, proves it, and prints what a day comes to. Exits 1 where that is over the budget.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import islice
from pathlib import Path
from sqlite3 import connect
from tempfile import TemporaryDirectory
from time import monotonic

from benchmarks.simulated_feed import START_NS, simulate
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import DAY_NS, JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME
from circuit_guard.journal.record import input_entry

MARKETS = 111
PER_SECOND = MARKETS * 4
BUDGET_MB = 500
PLAIN = (
    "SELECT count(*), sum(length(payload) + length(scope) + 60) FROM record"
    " WHERE sequence > (SELECT coalesce(max(last_sequence), 0) FROM block)"
)
"""There are only inputs, so that whatever is beyond the last block stands for itself."""


async def write(directory: Path, minutes: int) -> None:
    """Write the inputs of so many minutes as fast as the journal takes them, and wait until they are compact."""
    options = JournalOptions()
    inputs = simulate(MARKETS, minutes * 60)
    with Journal(directory, START_NS, options) as journal:
        while chunk := list(islice(inputs, PER_SECOND)):
            await journal.room()
            appended = journal.append(map(input_entry, chunk))
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


def main(minutes: int) -> int:
    """Measure and print; return the exit code."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        started = monotonic()
        asyncio.run(write(directory, minutes))
        took_s = monotonic() - started
        [(records, compressed)] = query(directory, "SELECT sum(records), sum(length(body)) FROM block")
        [(plain, plain_bytes)] = query(directory, PLAIN)
        total = records + plain
        print(f"{total} inputs of {minutes} minutes written and compressed in {took_s:.1f} s ({total / took_s:.0f}/s)")
        print(
            f"plain rows: {plain}, {plain_bytes / plain:.0f} bytes each, {plain_bytes / 1e6:.1f} MB, not yet in a block"
        )
        a_day = PER_SECOND * DAY_NS // 10**9
        mb_a_day = compressed / records * a_day / 1e6
        print(f"blocks: {compressed / records:.2f} bytes a record, {mb_a_day:.0f} MB a day (budget {BUDGET_MB})")
        with Journal(directory, START_NS, JournalOptions()) as journal, journal.reader() as reader:
            started = monotonic()
            report = reader.verify()
        took_s = monotonic() - started
        print(f"verified {report.records} records in {took_s:.1f} s ({report.records / took_s:.0f}/s): ok {report.ok}")
        return 0 if report.ok and mb_a_day <= BUDGET_MB else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
