"""The line of a journal's record, for checks and for the acts round a restart of the exchange."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from circuit_guard.cli import record_lines
from circuit_guard.core.acts import (
    Baseline,
    BeginMaintenance,
    EndMaintenance,
    RebaselineCommand,
    StateRow,
    ValidateState,
)
from circuit_guard.core.inputs import Account, Basis, Check, HaltCommand, Input, Position
from circuit_guard.journal.codec import encode
from circuit_guard.journal.record import Kind, Record
from tests.driver import BTC, ETH, START_NS

PAXG = "PAXG-USD-PERP"
BASELINES = tuple(Baseline(market, Decimal("700.50"), START_NS) for market in (BTC, ETH))
POSITION = Position(BTC, Decimal(1), Decimal(9), Decimal(0), Decimal(0), Decimal(5))
ASKED = Check(START_NS, "r-1", "a-1", BTC, Decimal(-1), basis=Basis(Decimal(9)))
COMPUTED = f"{BTC} check: LIQUIDATION of a-1, size -1, computed with mark 9, funding index not given"
LINES: list[tuple[Input | Check, str]] = [
    (ASKED, f"{COMPUTED} [r-1]"),
    (
        replace(ASKED, account=Account(Decimal("-0.50"), (POSITION,))),
        f"{COMPUTED}, with collateral -0.50 and 1 position [r-1]",
    ),
    (replace(ASKED, account=Account(Decimal(7), ())), f"{COMPUTED}, with collateral 7 and 0 positions [r-1]"),
    (
        BeginMaintenance(START_NS, "alice", "upgrade", "maintenance-1"),
        "maintenance begins, checkpoint maintenance-1, says alice: upgrade",
    ),
    (
        ValidateState(START_NS, (StateRow(BTC, START_NS), StateRow(ETH, START_NS)), "deploy"),
        "the exchange's state of 2 markets to validate, says deploy",
    ),
    (EndMaintenance(START_NS, "alice", "done"), "maintenance ends, says alice: done"),
    (EndMaintenance(START_NS, "alice", "done", True), "maintenance ends, validated or not, says alice: done"),
    (
        RebaselineCommand(START_NS, BASELINES, "alice", "rolled back", 7, (PAXG,)),
        f"rebaseline from checkpoint 7: {BTC} to 700.50, {ETH} to 700.50, {PAXG} repaired, says alice: rolled back",
    ),
    (
        RebaselineCommand(START_NS, BASELINES * 10, "alice", "rolled back"),
        f"rebaseline: {', '.join([f'{BTC} to 700.50', f'{ETH} to 700.50'] * 3)} and 14 more, says alice: rolled back",
    ),
    (
        HaltCommand(START_NS, (BTC,), "alice", "odd", START_NS + 60 * 10**9),
        f"halt {BTC} until 2026-01-19 00:01:00.000Z, says alice: odd",
    ),
]


@pytest.mark.parametrize(("input_", "text"), LINES, ids=[type(input_).__name__ for input_, _ in LINES])
def test_line_when_somebody_asked_or_acted_then_it_says_for_what(input_: Input | Check, text: str) -> None:
    record = Record(42, Kind.INPUT, START_NS, "", encode(input_))

    assert record_lines.line(record).plain == f"      42 2026-01-19 00:00:00.000Z INPUT      {text}"
