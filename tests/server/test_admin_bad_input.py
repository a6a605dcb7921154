"""AdminService: malformed commands are refused by name, and unknown markets change nothing."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from circuit_guard.v1 import types_pb2
from tests.driver import BTC, ETH
from tests.server.commands import call, halt, reload_policy, reset, resume, set_phase
from tests.server.harness import BATCH_MAX, Harness, refused

BOUNDED_TEXT = "1 to 128 printable characters without space around them"
BOUNDED_REASON = "1 to 512 printable characters without space around them"
EXPIRY = "more than 0 s and at most 604800 s"
PHASES = "one of 1 (OPEN), 2 (POST_ONLY), 3 (CANCEL_ONLY), 4 (MAINTENANCE)"

COMMANDS = [halt, resume, reset, set_phase, reload_policy]
SCOPED = [halt, resume, reset, set_phase]
MALFORMED = [
    *((make(actor=""), "actor", "", BOUNDED_TEXT) for make in COMMANDS),
    *((make(actor="a" * 129), "actor", "a" * 77 + "...", BOUNDED_TEXT) for make in COMMANDS),
    *((make(actor="   "), "actor", "   ", BOUNDED_TEXT) for make in COMMANDS),
    *((make(reason=""), "reason", "", BOUNDED_REASON) for make in COMMANDS),
    *((make(reason="r" * 513), "reason", "r" * 77 + "...", BOUNDED_REASON) for make in COMMANDS),
    *((make(reason="two\nlines"), "reason", "two\nlines", BOUNDED_REASON) for make in COMMANDS),
    *((make(scopes=[]), "scopes", "0 items", f"1 to {BATCH_MAX} items") for make in SCOPED),
    *((make(scopes=["M"] * (BATCH_MAX + 1)), "scopes", "101 items", f"1 to {BATCH_MAX} items") for make in SCOPED),
    *((make(scopes=[BTC, ""]), "scopes[1]", "", BOUNDED_TEXT) for make in SCOPED),
    *((make(scopes=["m" * 129]), "scopes[0]", "m" * 77 + "...", BOUNDED_TEXT) for make in SCOPED),
    *((make(scopes=[BTC, ETH, BTC]), "scopes[2]", BTC, "each one once") for make in SCOPED),
    *(
        (make(scopes=["GLOBAL", BTC]), "scopes", f"GLOBAL, {BTC}", "GLOBAL alone, or markets")
        for make in (halt, resume, set_phase)
    ),
    *(
        (halt(expires_after=Duration(seconds=seconds, nanos=nanos)), "expires_after", shown, EXPIRY)
        for seconds, nanos, shown in (
            (0, 0, "0 s + 0 ns"),
            (-60, 0, "-60 s + 0 ns"),
            (604_800, 1, "604800 s + 1 ns"),
            (2**62, 0, f"{2**62} s + 0 ns"),
            (1, -1, "1 s + -1 ns"),
            (1, 10**9, "1 s + 1000000000 ns"),
        )
    ),
    (set_phase(phase=0), "phase", "0", PHASES),
    (set_phase(phase=6), "phase", "6", PHASES),
    (set_phase(phase=-1), "phase", "-1", PHASES),
    (
        set_phase(phase=types_pb2.PHASE_RECOVERING),
        "phase",
        "5 (RECOVERING)",
        "another phase: RECOVERING is entered by the guard itself",
    ),
]


def named(rows: list[tuple[Any, str, str, str]]) -> list[str]:
    return [f"{type(request).__name__}-{field}-{value[:12]!r}" for request, field, value, _ in rows]


@pytest.mark.parametrize(("request_", "field", "value", "expected"), MALFORMED, ids=named(MALFORMED))
async def test_command_when_a_field_is_malformed_then_it_is_refused_by_name_and_nothing_changes(
    guard: Harness, request_: Any, field: str, value: str, expected: str
) -> None:
    before = guard.state()

    code, info, message = await refused(call(guard, request_))

    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")
    assert dict(info.metadata) == {"field": field, "value": value, "expected": expected}
    assert message.startswith(f"{field} was ")
    assert guard.state() == before


@pytest.mark.parametrize("make", SCOPED)
async def test_command_when_one_market_is_unknown_then_nothing_is_found_and_nothing_changes(
    guard: Harness, make: Any
) -> None:
    before = guard.state()

    code, info, message = await refused(call(guard, make(scopes=[BTC, "DOGE-USD-PERP"])))

    assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_MARKET")
    assert (info.metadata["field"], info.metadata["value"]) == ("scopes", "DOGE-USD-PERP")
    assert "nothing was changed" in message
    assert guard.state().markets == before.markets
