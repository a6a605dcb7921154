"""What `status` and `watch` show, from the contract's messages alone."""

from __future__ import annotations

import io
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console, RenderableType

from circuit_guard.cli.status import live_screen, market_detail, markets_table, notes, overview
from circuit_guard.core.status import GuardStatus
from circuit_guard.server.convert import received
from circuit_guard.v1 import status_pb2, types_pb2

AT = Timestamp(seconds=10_000)
CLOSED = status_pb2.BreakerStatus(state=types_pb2.BREAKER_STATE_CLOSED)


def finding(reason: str, observed: str = "33.1 s old") -> types_pb2.Finding:
    return types_pb2.Finding(
        reason=reason, severity=types_pb2.SEVERITY_DENY, subject="mark_price", observed=observed, limit="15 s"
    )


DENIED = [finding("operator_halt")]


def market(name: str = "M", **fields: object) -> status_pb2.MarketStatus:
    phases = {"phase": types_pb2.PHASE_OPEN, "commanded_phase": types_pb2.PHASE_OPEN}
    return status_pb2.MarketStatus(**({"market": name, "breaker": CLOSED} | phases | fields))  # type: ignore[arg-type]


def latched(name: str, observed: str) -> status_pb2.MarketStatus:
    opened = status_pb2.BreakerStatus(
        state=types_pb2.BREAKER_STATE_OPEN,
        latched=True,
        since=Timestamp(seconds=9_900),
        findings=[finding("funding_jump", observed)],
    )
    return market(name, breaker=opened, denying=[finding("breaker_open")])


def message(*markets: status_pb2.MarketStatus, **fields: object) -> status_pb2.GuardStatus:
    return status_pb2.GuardStatus(at=AT, markets=markets, **({"global_breaker": CLOSED} | fields))  # type: ignore[arg-type]


def guard(*markets: status_pb2.MarketStatus, **fields: object) -> GuardStatus:
    return received.guard(message(*markets, **fields))


def rendered(part: RenderableType) -> list[str]:
    console = console_of()
    with console.capture() as captured:
        console.print(part)
    return [line.rstrip() for line in captured.get().splitlines()]


def console_of(**options: Any) -> Console:
    return Console(file=io.StringIO(), width=200, color_system=None, **options)


def test_notes_when_all_is_as_usual_then_there_are_none() -> None:
    assert notes(guard(market())) == []


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

    assert [note.plain for note in notes(guard(market(), maintenance=running))] == [
        "MAINTENANCE since 1970-01-01 02:36:40Z, for 10 min 0 s, by alice: upgrade; checkpoint maintenance-1",
        "MAINTENANCE state validated at 1970-01-01 02:45:00Z: 1 market clean, 2 not",
    ]


def test_notes_when_an_act_is_proposed_for_many_markets_then_the_line_stays_one() -> None:
    scopes = [f"M{number}" for number in range(100)]
    asked = types_pb2.Proposal(act="reset", scopes=scopes, actor="bob", reason="fixed", expires_at=AT)

    [note] = notes(guard(market(), proposals=[asked]))

    what, _, until = note.plain.partition("; ")
    assert what == "NOT IN EFFECT: reset of M0, M1, M2, M3, M4, M5 and 94 more, proposed by bob: fixed"
    assert until == "somebody else must ask for the same before 1970-01-01 02:46:40Z"


def test_table_when_markets_are_held_then_it_says_for_how_long_and_which_are_overdue() -> None:
    held = {"held_since": Timestamp(seconds=9_000), "denying": DENIED}
    status = guard(market("LATE", **held, overdue=True), market("HELD", **held), market("FREE"))

    heading, *lines = rendered(markets_table(console_of(), status, reasons_max=0))

    assert heading.split()[:5] == ["MARKET", "CLOSURES", "PHASE", "BREAKER", "HELD"]
    shown = {line.split()[0]: line for line in lines}
    assert "16 min 40 s, OVERDUE" in shown["LATE"]
    assert "16 min 40 s" in shown["HELD"]
    assert "OVERDUE" not in shown["HELD"]
    assert "min" not in shown["FREE"]


def test_table_when_nothing_is_held_then_there_is_no_column_for_it() -> None:
    heading, *_ = rendered(markets_table(console_of(), guard(market()), reasons_max=0))

    assert "HELD" not in heading


def test_table_when_a_market_has_just_re_opened_then_its_share_is_told() -> None:
    _, line, *_ = rendered(markets_table(console_of(), guard(market(ramp_share=0.28)), reasons_max=0))

    assert line.split()[:4] == ["M", "ramp,", "at", "28%"]


def test_detail_when_a_market_is_held_ramped_or_tainted_then_each_is_a_row() -> None:
    found = guard(market(held_since=Timestamp(seconds=9_940), overdue=True, ramp_share=0.1, discarded_intervals=2))

    lines = rendered(market_detail(console_of(), found, found.markets[0]))

    rows = {line[:16].strip(): line[16:].strip() for line in lines}
    assert rows["held"] == "since 1970-01-01 02:45:40Z, for 1 min 0 s, OVERDUE"
    assert rows["ramp"] == "closures go through at 10% of the full rate"
    assert rows["discarded"].endswith("2 intervals of wrong values: an account settled with one of them is denied")


def test_detail_when_nothing_of_that_holds_then_the_rows_are_left_out() -> None:
    found = guard(market())

    lines = rendered(market_detail(console_of(), found, found.markets[0]))

    assert not {"held", "ramp", "discarded"} & {line.split()[0] for line in lines if line}


def test_live_screen_when_there_are_notes_then_they_stand_above_the_markets() -> None:
    running = status_pb2.MaintenanceStatus(actor="alice", reason="upgrade", since=AT, checkpoint_name="maintenance-1")

    lines = rendered(live_screen(console_of(height=20), message(market(), maintenance=running), []))

    assert lines[1].startswith("MAINTENANCE since ")
    assert lines[2].startswith("MAINTENANCE nothing is validated yet")


def test_overview_when_markets_latch_for_the_same_then_they_are_shown_as_one() -> None:
    lines = rendered(overview(console_of(), guard(latched("AAA", "0"), latched("BBB", "0.0001"))))

    start = lines.index("AAA, BBB   breaker OPEN (denying), latched, phase OPEN")
    assert lines[start + 1] == "  since      1970-01-01 02:45:00Z, for 1 min 40 s"
    assert lines[start + 2].startswith("  why (AAA)  opened for funding_jump: ")
    command = 'circuit-guard reset AAA BBB --actor NAME --reason "WHY"'
    assert lines[start + 3] == f"  next       An operator must reset the breaker once the cause is gone: {command}"


def test_overview_when_some_need_an_operator_then_those_come_first() -> None:
    lines = rendered(overview(console_of(), guard(market("AAA", denying=[finding("data_stale")]), latched("BBB", "0"))))

    assert [line.split()[0] for line in lines[-2:]] == ["BBB", "AAA"]


def test_overview_when_more_goes_wrong_than_fits_then_the_table_has_the_reasons() -> None:
    found = guard(*(market(f"M{number}", denying=[finding(f"reason_{number}")]) for number in range(7)))

    lines = rendered(overview(console_of(), found))

    assert "and 2 more for other reasons; `circuit-guard status MARKET` explains one market" in lines
    assert [line.split()[-1] for line in lines[-7:]] == [f"reason_{number}" for number in range(7)]


def test_overview_when_nothing_denies_then_that_is_the_first_line() -> None:
    lines = rendered(overview(console_of(), guard(market("AAA"), market("BBB"))))

    assert lines[0].startswith("Closures go through in all 2 markets   1970-01-01 02:46:40Z")
    assert lines[-1].split()[:2] == ["BBB", "allowed"]


def test_overview_when_many_markets_are_not_ready_then_only_some_are_listed() -> None:
    not_ready = [f"market M{number} is required and still warming" for number in range(10)]

    lines = rendered(overview(console_of(), guard(market("AAA")), not_ready))

    assert [line for line in lines if line.startswith("not ready: ")][3:] == [
        "not ready: and 7 more reasons like these"
    ]
