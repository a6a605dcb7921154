"""`/api/status`: the fields that docs/status_page.md promises."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.driver import BTC, ETH
from tests.web.harness import Web, web

DOCUMENTED = Path(__file__).parents[2] / "docs" / "status_page.md"


async def status(guard: Web) -> dict[str, Any]:
    page = await guard.get("/api/status")
    assert page.headers["Content-Type"] == "application/json; charset=utf-8"
    document: dict[str, Any] = json.loads(page.html)
    return document


async def test_api_when_a_market_latched_then_it_is_first_with_reasons_and_who_lifts_them() -> None:
    async with web() as guard:
        await guard.run(40, BTC, ETH)
        guard.driver.observe(ETH, funding_index=Decimal(0))
        await guard.tick()
        document = await status(guard)

    assert (document["ready"], document["not_ready_reasons"], document["failed"]) == (True, [], False)
    assert (document["at"], document["markets_denying"]) == ("2026-01-19T00:00:40+00:00", 1)
    first, second = document["markets"]
    assert (first["market"], first["denied"], second["market"], second["denied"]) == (ETH, True, BTC, False)
    assert (first["breaker"]["state"], first["breaker"]["latched"]) == ("OPEN", True)
    assert first["breaker"]["since"] == "2026-01-19T00:00:40+00:00"
    [finding] = first["breaker"]["findings"]
    assert (finding["reason"], finding["severity"], finding["lifted_by"]) == ("funding_jump", "LATCH", "OPERATOR")
    assert finding["observed"] == "0, a step of -20511"
    assert (second["mark_price"], second["mark_age_s"], second["funding_index"]) == ("92600", 0.0, "20511")
    assert second["mark_limits"] == {"low": "91674.000", "high": "93526.000"}
    assert second["headroom"]["staleness"] == 1.0


async def test_status_when_a_file_was_refused_then_page_and_api_say_so_at_once() -> None:
    refused = "policy.toml is refused (why). Policy p-1 stays."
    async with web() as guard:
        await guard.run(40, BTC, ETH)
        await guard.tick()
        changes = guard.board.changes
        guard.driver.engine.file_judged("policy", refused)
        await guard.tick()
        document, page = await status(guard), await guard.get("/")
        told = guard.board.changes

    assert (document["refused_files"], document["ready"]) == ([refused], True)
    assert f"NOT IN FORCE: {refused}" in page.html
    assert told == changes + 1


async def test_api_when_an_operator_halted_then_it_says_who_and_why() -> None:
    async with web() as guard:
        await guard.run(40, BTC, ETH)
        guard.halt(BTC, actor="alice", reason="looking")
        guard.halt(actor="bob", reason="everything")
        await guard.tick()
        document = await status(guard)

    halts = {market["market"]: market["halt"] for market in document["markets"]}
    since = "2026-01-19T00:00:40+00:00"
    halt = {"actor": "alice", "identity": "", "reason": "looking", "since": since, "expires_at": None}
    assert halts == {BTC: halt, ETH: None}
    assert document["global_halt"]["actor"] == "bob"
    assert document["other_global_halts"] == []


async def test_api_when_several_operators_halted_then_the_longest_is_the_halt_and_the_others_follow() -> None:
    async with web() as guard:
        await guard.run(40, BTC, ETH)
        for actor in ("alice", "bob"):
            guard.halt(BTC, actor=actor, reason="looking")
            guard.halt(actor=actor, reason="everything")
        await guard.tick()
        document = await status(guard)

    [halted] = [market for market in document["markets"] if market["market"] == BTC]
    assert (halted["halt"]["actor"], [other["actor"] for other in halted["other_halts"]]) == ("alice", ["bob"])
    [other] = document["other_global_halts"]
    assert (document["global_halt"]["actor"], other["actor"], other["reason"]) == ("alice", "bob", "everything")


async def test_api_when_the_engine_refuses_then_it_says_why_and_has_no_market() -> None:
    async with web() as guard:
        guard.driver.engine.refuse("the journal cannot be used")
        await guard.show()
        document = await status(guard)

    assert document.pop("at")
    assert document == {
        "ready": False,
        "not_ready_reasons": ["the journal cannot be used"],
        "failed": True,
        "outdated": False,
        "markets": [],
    }


async def test_api_when_documented_then_every_field_is_and_no_other() -> None:
    async with web() as guard:
        await guard.run(40, BTC, ETH)
        document = await status(guard)

    rows = re.findall(r"^\| `(\w+)`", DOCUMENTED.read_text().partition("## `/api/status`")[2], re.M)
    assert set(rows) == {*document, *document["markets"][0]}
