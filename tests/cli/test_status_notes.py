"""What `status` and `watch` say of holds, ramps, maintenances and proposals, from the contract's messages alone."""

from __future__ import annotations

import io

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console, RenderableType

from circuit_guard.cli import status_notes, status_view
from circuit_guard.cli.watch import live_screen
from circuit_guard.v1 import status_pb2, types_pb2

AT = Timestamp(seconds=10_000)
CLOSED = status_pb2.BreakerStatus(state=types_pb2.BREAKER_STATE_CLOSED)
DENIED = [types_pb2.Finding(reason="operator_halt", lifted_by=types_pb2.LIFTED_BY_OPERATOR)]
OPEN = types_pb2.PHASE_OPEN


def market(name: str = "M", **fields: object) -> status_pb2.MarketStatus:
    usual = {"market": name, "phase": OPEN, "commanded_phase": OPEN, "breaker": CLOSED}
    return status_pb2.MarketStatus(**(usual | fields))  # type: ignore[arg-type]


def guard(*markets: status_pb2.MarketStatus, **fields: object) -> status_pb2.GuardStatus:
    return status_pb2.GuardStatus(at=AT, markets=markets, **fields)  # type: ignore[arg-type]


def rendered(part: RenderableType) -> list[str]:
    console = console_of()
    with console.capture() as captured:
        console.print(part)
    return [line.rstrip() for line in captured.get().splitlines()]


def console_of(**options: int) -> Console:
    return Console(file=io.StringIO(), width=200, color_system=None, **options)  # type: ignore[arg-type]


def test_notes_when_all_is_as_usual_then_there_are_none() -> None:
    assert status_notes.notes(guard(market())) == []


def test_notes_when_a_maintenance_was_validated_then_its_counts_are_told() -> None:
    running = status_pb2.MaintenanceStatus(
        actor="alice",
        reason="upgrade",
        since=Timestamp(seconds=9_400),
        checkpoint_name="maintenance-1",
        validated_at=Timestamp(seconds=9_900),
        clean_count=1,
        not_clean_count=2,
    )

    assert [note.plain for note in status_notes.notes(guard(market(), maintenance=running))] == [
        "MAINTENANCE since 1970-01-01 02:36:40Z, for 10 min 0 s, by alice: upgrade; checkpoint maintenance-1",
        "MAINTENANCE state validated at 1970-01-01 02:45:00Z: 1 market clean, 2 not",
    ]


def test_notes_when_an_act_is_proposed_for_many_markets_then_the_line_stays_one() -> None:
    scopes = [f"M{number}" for number in range(100)]
    asked = types_pb2.Proposal(act="reset", scopes=scopes, actor="bob", reason="fixed", expires_at=AT)

    [note] = status_notes.notes(guard(market(), proposals=[asked]))

    what, _, until = note.plain.partition("; ")
    assert what == "NOT IN EFFECT: reset of M0, M1, M2, M3, M4, M5 and 94 more, proposed by bob: fixed"
    assert until == "somebody else has to ask for the same before 1970-01-01 02:46:40Z"


def test_table_when_markets_are_held_then_it_says_for_how_long_and_which_are_overdue() -> None:
    held = {"held_since": Timestamp(seconds=9_000), "denying": DENIED}
    status = guard(market("LATE", **held, overdue=True), market("HELD", **held), market("FREE"))

    heading, *lines = rendered(status_view.markets_table(console_of(), status, reasons_max=0))

    assert heading.split()[:5] == ["MARKET", "CLOSURES", "PHASE", "BREAKER", "HELD"]
    shown = {line.split()[0]: line for line in lines}
    assert "16 min 40 s, OVERDUE" in shown["LATE"]
    assert "16 min 40 s" in shown["HELD"]
    assert "OVERDUE" not in shown["HELD"]
    assert "min" not in shown["FREE"]


def test_table_when_nothing_is_held_then_there_is_no_column_for_it() -> None:
    heading, *_ = rendered(status_view.markets_table(console_of(), guard(market()), reasons_max=0))

    assert "HELD" not in heading


def test_table_when_a_market_has_just_re_opened_then_its_share_is_told() -> None:
    _, line, *_ = rendered(status_view.markets_table(console_of(), guard(market(ramp_share=0.28)), reasons_max=0))

    assert line.split()[:4] == ["M", "ramp,", "at", "28%"]


def test_detail_when_a_market_is_held_ramped_or_tainted_then_each_is_a_row() -> None:
    known = market(held_since=Timestamp(seconds=9_940), overdue=True, ramp_share=0.1, discarded_intervals=2)

    lines = rendered(status_view.market_detail(console_of(), guard(known), known))

    rows = {line[:16].strip(): line[16:].strip() for line in lines}
    assert rows["held"] == "since 1970-01-01 02:45:40Z, for 1 min 0 s, OVERDUE"
    assert rows["ramp"] == "closures go through at 10% of the full rate"
    assert rows["discarded"].endswith("2 intervals of wrong values: an account that was settled with one is denied")


def test_detail_when_nothing_of_that_holds_then_the_rows_are_left_out() -> None:
    lines = rendered(status_view.market_detail(console_of(), guard(market()), market()))

    assert not {"held", "ramp", "discarded"} & {line.split()[0] for line in lines if line}


def test_live_screen_when_there_are_notes_then_they_stand_above_the_markets() -> None:
    running = status_pb2.MaintenanceStatus(actor="alice", reason="upgrade", since=AT, checkpoint_name="maintenance-1")

    lines = rendered(live_screen(console_of(height=20), guard(market(), maintenance=running), []))

    assert lines[1].startswith("MAINTENANCE since ")
    assert lines[2].startswith("MAINTENANCE nothing is validated yet")
