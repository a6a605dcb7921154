"""Entries to append, in the shapes that a guard produces."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self

from circuit_guard.core import guard
from circuit_guard.core.facts import CommandRefused, DecisionMade, HaltChanged
from circuit_guard.core.inputs import Check, HaltCommand, Observation
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import SECOND_NS, BreakerState, CheckKind, Decision, Phase, Verdict
from circuit_guard.journal.anchor import ANCHOR_NAME, Anchor
from circuit_guard.journal.codec import encode
from circuit_guard.journal.errors import JournalUnusable
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader, read_bounds
from circuit_guard.journal.record import Entry, Kind, Record, Start, fact_entry, input_entry
from circuit_guard.journal.store import connect_read_only, identity
from tests.core import world

START_NS = 1_768_780_800 * SECOND_NS
MARKET = "BTC-USD-PERP"


def at(second: float) -> int:
    return START_NS + int(second * SECOND_NS)


def observation(number: int, second: float | None = None) -> Entry:
    at_ns = at(number if second is None else second)
    price = Decimal(92_600) + Decimal(number) / 10
    return input_entry(Observation(at_ns, MARKET, "exchange", 1, number, at_ns - 12_000_000, price, price))


def check(number: int, second: float) -> Entry:
    return input_entry(Check(at(second), f"request-{number}", "account", MARKET, Decimal("-0.5")))


def decision(number: int, second: float) -> Entry:
    made = Decision(
        decision_id=f"d-{number}",
        request_id=f"request-{number}",
        account_id="account",
        market=MARKET,
        kind=CheckKind.LIQUIDATION,
        at_ns=at(second),
        verdict=Verdict.DENY,
        shadow_verdict=Verdict.DENY,
        findings=(),
        phase=Phase.OPEN,
        breaker=BreakerState.OPEN,
        policy_revision="r1",
    )
    return fact_entry(DecisionMade(at(second), made))


def halt(number: int, second: float) -> list[Entry]:
    reason = f"halt {number}"
    return [
        input_entry(HaltCommand(at(second), (MARKET,), "alice", reason)),
        fact_entry(HaltChanged(at(second), MARKET, halted=True, actor="alice", reason=reason)),
    ]


def start(second: float) -> Entry:
    return Entry(Kind.START, at(second), "", Start(at(second), "0.2.0", "host-1", 4711))


def state(second: float) -> GuardState:
    return guard.new_state(world.policy(), at(second))


def mixed(count: int) -> list[Entry]:
    """Return a plausible mix: mostly observations, now and then a decision or a halt."""
    entries = [start(0)]
    for number in range(count):
        second = 1 + number / 10
        entries.append(observation(number, second))
        if number % 7 == 3:
            entries += [check(number, second), decision(number, second)]
        if number % 50 == 20:
            entries += halt(number, second)
    return entries


def recorded(sequence: int, entry: Entry) -> Record:
    """Return the record that an entry becomes."""
    return Record(sequence, entry.kind, entry.at_ns, entry.scope, encode(entry.value))


def read(directory: Path) -> list[Record]:
    with JournalReader(directory) as reader:
        return list(reader.records())


async def keep(journal: Journal, entries: Iterable[Entry]) -> int:
    """Append entries and wait until they are durable."""
    appended = journal.append(entries)
    await journal.durable(appended.last_sequence)
    return appended.last_sequence


class Held:
    """An entry that the writer cannot get past before it is released: to the queue a disk that has stopped."""

    def __init__(self) -> None:
        self._reached, self._released = threading.Event(), threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def wait(self) -> None:
        """Wait, as the writer does, for the release."""
        self._reached.set()
        self._released.wait()

    async def hold(self, journal: Journal, *after: Entry) -> None:
        """Return once the writer has taken all that was queued and is stuck; these come next in its hands."""
        entry = _HeldEntry(*fact_entry(CommandRefused(START_NS, "disk", "92600", "running")))
        entry.disk = self
        journal.append([entry, *after])
        await asyncio.to_thread(self._reached.wait)

    def release(self) -> None:
        """Let the writer go on."""
        self._released.set()


class _HeldEntry(Entry):
    disk: Held

    @property
    def value(self) -> object:
        self.disk.wait()
        return self[3]


def tamper(directory: Path, *statements: str, change: Callable[[sqlite3.Connection], None] | None = None) -> None:
    """Do to a closed journal what somebody with an SQLite shell can do."""
    with closing(sqlite3.connect(directory / JOURNAL_NAME, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
        if change is not None:
            change(connection)


def anchored(directory: Path) -> None:
    """Put the anchor beside a journal that a crash after its last whole commit leaves; none where it is broken."""
    path = directory / JOURNAL_NAME
    (directory / ANCHOR_NAME).unlink(missing_ok=True)
    with suppress(JournalUnusable, sqlite3.Error), closing(connect_read_only(path)) as connection:
        if journal := identity(connection):
            ends = {chain: bounds.last for chain, bounds in read_bounds(connection, path).items()}
            (directory / ANCHOR_NAME).write_bytes(Anchor(journal, ends).packed())
