"""The line of an event of `watch` and of a record of `journal show`. tests/core/test_sentences.py has the sentences."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from circuit_guard.cli import lines, record_lines
from circuit_guard.core.inputs import (
    Account,
    Baseline,
    Basis,
    BeginMaintenance,
    Check,
    EndMaintenance,
    HaltCommand,
    Input,
    Position,
    RebaselineCommand,
    StateRow,
    ValidateState,
)
from circuit_guard.journal.codec import encode
from circuit_guard.journal.record import Kind, Record
from circuit_guard.v1 import event_pb2, liquidation_pb2, order_pb2, types_pb2
from tests.driver import BTC, ETH, START_NS

OPEN, CLOSED, HALF_OPEN = (
    types_pb2.BREAKER_STATE_OPEN,
    types_pb2.BREAKER_STATE_CLOSED,
    types_pb2.BREAKER_STATE_HALF_OPEN,
)
NOT_CLEAN = types_pb2.MarketOutcome(market="M", outcome=types_pb2.OUTCOME_FUNDING_JUMP)
JUDGED: dict[str, Any] = {"market": "M", "source": "exchange"}
BY: dict[str, Any] = {"actor": "bob", "reason": "odd"}
DECIDED: dict[str, Any] = {
    "market": "M",
    "kind": liquidation_pb2.CHECK_KIND_LIQUIDATION,
    "shadow_verdict": types_pb2.VERDICT_DENY,
    "phase": types_pb2.PHASE_OPEN,
    "breaker": CLOSED,
}


def breaker(after: types_pb2.BreakerState, **changes: object) -> event_pb2.Event:
    changed = event_pb2.BreakerChanged(scope="M", before=CLOSED, after=after, **changes)  # type: ignore[arg-type]
    return event_pb2.Event(breaker_changed=changed)


def decision(verdict: types_pb2.Verdict, loss: str = "") -> event_pb2.Event:
    explained = liquidation_pb2.ExplainedLoss(verdict=f"EXPLANATION_{loss}") if loss else None
    made = liquidation_pb2.LiquidationDecision(verdict=verdict, explained_loss=explained, **DECIDED)
    return event_pb2.Event(decision=made)


EVENTS = [
    (breaker(OPEN, latched=True), "bold red"),
    (breaker(HALF_OPEN), "yellow"),
    (breaker(CLOSED, actor="bob", note="fixed"), "bold green"),
    (event_pb2.Event(observation_rejected=event_pb2.ItemRejected(**JUDGED)), "yellow"),
    (event_pb2.Event(reference_rejected=event_pb2.ItemRejected(**JUDGED)), "yellow"),
    (event_pb2.Event(observation_reconsidered=event_pb2.ObservationReconsidered(**JUDGED)), "green"),
    (
        event_pb2.Event(
            phase_changed=event_pb2.PhaseChanged(
                market="M", before=types_pb2.PHASE_OPEN, after=types_pb2.PHASE_RECOVERING
            )
        ),
        "cyan",
    ),
    (event_pb2.Event(halt_changed=event_pb2.HaltChanged(scope="M", halted=True, **BY)), "bold red"),
    (event_pb2.Event(halt_changed=event_pb2.HaltChanged(scope="M", **BY)), "bold green"),
    (event_pb2.Event(market_warm=event_pb2.MarketWarm(market="M")), "green"),
    (event_pb2.Event(market_reopened=event_pb2.MarketReopened(market="M")), "bold green"),
    (event_pb2.Event(maintenance_began=event_pb2.MaintenanceBegan(**BY)), "bold yellow"),
    (event_pb2.Event(state_validated=event_pb2.StateValidated(actor="bob", clean_count=3)), "bold green"),
    (event_pb2.Event(state_validated=event_pb2.StateValidated(actor="bob", not_clean=[NOT_CLEAN])), "bold red"),
    (event_pb2.Event(maintenance_ended=event_pb2.MaintenanceEnded(latched=["M"], **BY)), "bold red"),
    (event_pb2.Event(maintenance_ended=event_pb2.MaintenanceEnded(clean=["M"], **BY)), "bold green"),
    (event_pb2.Event(rebaselined=event_pb2.Rebaselined(market="M", **BY)), "bold yellow"),
    (event_pb2.Event(clock_changed=event_pb2.ClockChanged(off=Duration(seconds=-40))), "bold red"),
    (event_pb2.Event(act_proposed=types_pb2.Proposal(act="resume", scopes=["M"], **BY)), "yellow"),
    (event_pb2.Event(shadow_would=event_pb2.ShadowWould(scope="M")), "dim"),
    (event_pb2.Event(policy_changed=event_pb2.PolicyChanged(revision="abc")), "cyan"),
    (event_pb2.Event(command_refused=event_pb2.CommandRefused(subject="markets")), "yellow"),
    (event_pb2.Event(check_refused=event_pb2.CheckRefused(request_id="r-1", differing="size")), "yellow"),
    (decision(types_pb2.VERDICT_DENY), "yellow"),
    (decision(types_pb2.VERDICT_ALLOW), "not dim"),
    (decision(types_pb2.VERDICT_ALLOW, "EXPLAINED"), "not dim"),
    (decision(types_pb2.VERDICT_ALLOW, "INDETERMINATE"), "not dim"),
    (decision(types_pb2.VERDICT_ALLOW, "UNEXPLAINED"), "yellow"),
    (
        event_pb2.Event(order_denied=order_pb2.OrderJudgement(order_id="o-1", verdict=types_pb2.VERDICT_DENY)),
        "yellow",
    ),
]


@pytest.mark.parametrize(("event", "style"), EVENTS, ids=[event.WhichOneof("kind") for event, _ in EVENTS])
def test_event_when_it_is_known_then_its_colour_says_how_bad_it_is(event: event_pb2.Event, style: str) -> None:
    shown = lines.of_event(event)

    assert shown.plain.startswith("00:00:00.000 ")
    assert "cannot read" not in shown.plain
    assert shown.spans[-1].style == style


def test_events_when_the_contract_has_one_then_there_is_a_colour_for_it() -> None:
    kinds = {field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["kind"].fields}

    assert {event.WhichOneof("kind") for event, _ in EVENTS} == kinds


def test_event_when_it_is_known_then_the_market_stands_before_the_sentence() -> None:
    assert lines.of_event(EVENTS[9][0]).plain == "00:00:00.000 M: market is warm: its closures are judged from now on"


@pytest.mark.parametrize("event", [event_pb2.Event(), event_pb2.Event(breaker_changed=event_pb2.BreakerChanged())])
def test_event_when_it_is_newer_than_this_version_then_the_watch_goes_on(event: event_pb2.Event) -> None:
    expected = "00:00:00.000 the guard sent an event that this version of circuit-guard cannot read"
    assert lines.of_event(event).plain == expected


PAXG = "PAXG-USD-PERP"
BASELINES = tuple(Baseline(market, Decimal("700.50"), START_NS) for market in (BTC, ETH))
POSITION = Position(BTC, Decimal(1), Decimal(9), Decimal(0), Decimal(0), Decimal(5))
ASKED = Check(START_NS, "r-1", "a-1", BTC, Decimal(-1), basis=Basis(Decimal(9)))
COMPUTED = f"{BTC}: check r-1: LIQUIDATION of a-1, size -1, computed with mark 9, funding index not given"
RECORDS: list[tuple[Input | Check, str]] = [
    (ASKED, COMPUTED),
    (
        replace(ASKED, account=Account(Decimal("-0.50"), (POSITION,))),
        f"{COMPUTED}, with collateral -0.50 and 1 position",
    ),
    (replace(ASKED, account=Account(Decimal(7), ())), f"{COMPUTED}, with collateral 7 and 0 positions"),
    (
        BeginMaintenance(START_NS, "alice", "upgrade", "maintenance-1"),
        "alice begins a maintenance, with checkpoint maintenance-1: upgrade",
    ),
    (
        ValidateState(START_NS, (StateRow(BTC, START_NS), StateRow(ETH, START_NS)), "deploy"),
        "deploy asks to validate the exchange's state of 2 markets",
    ),
    (EndMaintenance(START_NS, "alice", "done"), "alice ends the maintenance: done"),
    (EndMaintenance(START_NS, "alice", "done", True), "alice ends the maintenance even if nothing was validated: done"),
    (
        RebaselineCommand(START_NS, BASELINES, "alice", "rolled back", 7, (PAXG,)),
        f"alice rebaselines from checkpoint 7: {BTC} to 700.50, {ETH} to 700.50, {PAXG} repaired: rolled back",
    ),
    (
        RebaselineCommand(START_NS, (), "alice", "redenominated", factor=Decimal(1000), rescaled=(BTC, ETH)),
        f"alice rebaselines: {BTC} times 1000, {ETH} times 1000: redenominated",
    ),
    (
        RebaselineCommand(START_NS, (Baseline(BTC, Decimal(1), 0, Decimal(2), None, Decimal(3)),), "alice", "new"),
        f"alice rebaselines: {BTC} to 1, mark 2, funding premium 3: new",
    ),
    (
        RebaselineCommand(START_NS, BASELINES * 10, "alice", "rolled back"),
        f"alice rebaselines: {', '.join([f'{BTC} to 700.50', f'{ETH} to 700.50'] * 3)} and 14 more: rolled back",
    ),
    (
        HaltCommand(START_NS, (BTC,), "alice", "odd", START_NS + 60 * 10**9),
        f"alice halts {BTC} until 2026-01-19 00:01:00.000Z: odd",
    ),
]


@pytest.mark.parametrize(("input_", "text"), RECORDS, ids=[type(input_).__name__ for input_, _ in RECORDS])
def test_record_when_somebody_asked_or_acted_then_it_says_for_what(input_: Input | Check, text: str) -> None:
    record = Record(42, Kind.INPUT, START_NS, "", encode(input_))

    assert record_lines.of_record(record).plain == f"      42 2026-01-19 00:00:00.000Z INPUT      {text}"
