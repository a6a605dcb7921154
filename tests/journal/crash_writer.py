"""A process that writes to a journal until it is killed, and prints each sequence that it was told is durable."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from circuit_guard.journal.checkpoint import Checkpoint
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from tests.core import world
from tests.journal.builders import START_NS, decision, halt, observation, state


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def write(directory: Path) -> None:
    with Journal(directory, START_NS, JournalOptions(block_records=100)) as journal:
        number = journal.status().last_sequence
        making: set[asyncio.Task[Checkpoint]] = set()
        tell("ready")
        while True:
            number += 1
            second = number / 10
            entries = [observation(number, second), *halt(number, second), decision(number, second)]
            appended = journal.append(entries)
            await journal.durable(appended.last_sequence)
            tell(f"durable {appended.last_sequence} halt {number}")
            if number % 40 == 0:
                making.add(asyncio.create_task(journal.checkpoint(state(second), world.policy())))


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1])))
