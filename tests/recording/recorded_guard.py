"""Journals as a real engine leaves them, and somebody who knows their format and rewrites them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

from circuit_guard.core.inputs import (
    HaltCommand,
    Order,
    OrderAction,
    OrdersCheck,
    PhaseCommand,
    ResetCommand,
    ResumeCommand,
    Side,
)
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import Phase
from circuit_guard.journal.codec import decode_as
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader
from circuit_guard.journal.record import CheckpointNote, PackedCheckpoint, Record, Start
from circuit_guard.journal.recovery import recover
from circuit_guard.journal.store import Store, connect
from tests.driver import BTC, ETH, PRICE, START_NS, Driver, policy_of
from tests.journal.builders import anchored

SOL = "SOL-USD-PERP"
FIRST, SECOND, THIRD = policy_of(BTC, ETH), policy_of(BTC, SOL), policy_of(BTC, ETH, SOL)


class RecordedGuard:
    """A guard that records into a directory, for as long as the context lasts."""

    def __init__(self, directory: Path, policy: Policy, after_s: float = 0, **options: Any) -> None:
        self.driver = _started(policy, after_s)
        self._directory = directory
        self.journal = Journal(directory, START_NS, JournalOptions(**options))

    async def __aenter__(self) -> Driver:
        engine = self.driver.engine
        recovered = recover(self._directory)
        engine.begin(Start(engine.now_ns(), "0.0.1", "host-1", 4711), self.journal, recovered)
        await engine.checkpoint()
        return self.driver

    def fill(self, queue_max: int) -> None:
        """Fill the queue of a journal whose writer is held."""
        while self.journal.status().queued < queue_max:
            self.driver.refer(BTC)

    async def __aexit__(self, *_: object) -> None:
        self.journal.close()


def _started(policy: Policy, after_s: float) -> Driver:
    driver = Driver(policy)
    driver.clock.advance(after_s)
    driver.engine = type(driver.engine)(policy, driver.clock)
    return driver


async def record_story(directory: Path, **options: Any) -> None:
    """Record a bad day: latches, halts, phases, another policy, a restart, and checks all along."""
    async with RecordedGuard(directory, FIRST, **options) as guard:
        _trade(guard, BTC, ETH)
        _operate(guard)
        guard.engine.reload(SECOND)
        _trade(guard, BTC, SOL)
        await guard.engine.checkpoint()
        _trade(guard, BTC, SOL)
    async with RecordedGuard(directory, THIRD, after_s=100, **options) as guard:
        guard.sequences = {BTC: 1000, ETH: 1000, SOL: 1000}
        for market in (BTC, ETH, SOL):
            guard.decide(market, f"first-{market}")
        _trade(guard, BTC, ETH, SOL)
        guard.engine.step(ResetCommand(guard.engine.now_ns(), (BTC,), "alice", "the index is right again"))
        _trade(guard, BTC, ETH, SOL)


def _trade(guard: Driver, *markets: str) -> None:
    for number in range(8):
        guard.run(1, *markets)
        if number % 3 == 0:
            guard.engine.tick()
        for market in markets:
            check = guard.check(market, f"{market}-{guard.engine.now_ns()}")
            guard.engine.decide(check)
            guard.engine.decide(check)
        guard.engine.decide(guard.check(markets[0], f"{markets[0]}-{guard.engine.now_ns()}", size=Decimal(-9)))


def _operate(guard: Driver) -> None:
    now_ns = guard.engine.now_ns()
    guard.engine.step(HaltCommand(now_ns, (ETH,), "alice", "thin book"))
    guard.decide(ETH)
    guard.engine.step(ResumeCommand(now_ns, (ETH,), "alice", "deep again"))
    guard.engine.step(HaltCommand(now_ns, ("DOGE",), "alice", "a typo"))
    guard.engine.step(PhaseCommand(now_ns, Phase.POST_ONLY, (), "deploy", "release"))
    order = Order("o-1", BTC, Side.BUY, OrderAction.NEW, PRICE * 2)
    guard.engine.decide_orders(OrdersCheck(now_ns, (order,)))
    guard.decide(BTC, "banded", execution_price=PRICE * 2)
    guard.engine.step(PhaseCommand(now_ns, Phase.OPEN, (), "deploy", "released"))
    guard.clock.advance(1)
    guard.observe(BTC, funding_index=Decimal(0))
    guard.decide(BTC, basis=guard.check().basis)


def read(directory: Path) -> list[Record]:
    with JournalReader(directory) as reader:
        return list(reader.records())


def forge(directory: Path, change: Callable[[list[Record]], list[Record]]) -> None:
    """Write a journal anew with other records and everything computed from them, as its own code would."""
    records = change(read(directory))
    path = directory / JOURNAL_NAME
    with closing(sqlite3.connect(path)) as connection:
        bodies = dict(connection.execute("SELECT payload, body FROM checkpoint JOIN record USING (sequence)"))
    path.unlink()
    store = Store(connect(path))
    store.insert((record, _packed(record, bodies.get(record.payload))) for record in records)
    store.become("forged")
    store.close()
    anchored(directory)


def _packed(record: Record, body: bytes | None) -> PackedCheckpoint | None:
    return None if body is None else PackedCheckpoint(decode_as(CheckpointNote, record.payload), body)
