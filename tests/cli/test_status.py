"""`status` against a real guard: what is halted, why, since when, who lifts it and what to type."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import BTC, ETH, INDEX, PAXG, POLICY, PRICE, Guard, run, running

AUDIT = '--actor NAME --reason "WHY"'


def test_status_when_a_market_is_latched_then_one_screen_explains_it(guard: Guard) -> None:
    for market in (ETH, PAXG):
        guard.observe(market, times=3)
    guard.latch(BTC)

    result = guard.run("status")

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].startswith("1 of 3 markets denies closures   ")
    assert lines[2] == f"{BTC}   breaker OPEN (denying), latched, phase RECOVERING"
    assert lines[3].startswith("  since  ")
    assert lines[4].startswith("  why    opened for funding_jump: the funding index moved further than funding can")
    assert "funding_index was 0, " in lines[4]
    assert (
        lines[5]
        == f"  next   An operator must reset the breaker once the cause is gone: circuit-guard reset {BTC} {AUDIT}"
    )
    assert [line.split()[0] for line in lines[8:]] == [BTC, ETH, PAXG], "the denying market comes first"


def test_status_when_an_operator_has_halted_then_it_says_who_why_and_how_to_resume(guard: Guard) -> None:
    guard.observe(BTC, times=3)
    guard.run("halt", BTC, "--actor", "alice", "--reason", "odd prints")

    lines = guard.run("status", BTC).stdout.splitlines()

    start = lines.index(f"{BTC}   HALTED by an operator, breaker CLOSED, phase RECOVERING")
    assert lines[start + 2].startswith("  why    alice halted it at ")
    assert lines[start + 2].endswith("Z: odd prints")
    assert lines[start + 3] == f"  next   An operator must resume it: circuit-guard resume {BTC} {AUDIT}"


def test_status_when_several_operators_have_halted_then_a_market_in_detail_says_why_each_did(guard: Guard) -> None:
    guard.observe(BTC, times=3)
    guard.run("halt", BTC, "--for", "10m", "--actor", "bob", "--reason", "a look")
    guard.run("halt", BTC, "--actor", "alice", "--reason", "odd prints")

    lines = guard.run("status", BTC).stdout.splitlines()
    overview = guard.run("status").stdout.splitlines()

    start = lines.index(f"{BTC}   HALTED by an operator, breaker CLOSED, phase RECOVERING")
    assert lines[start + 2].endswith("Z: odd prints")
    assert lines[start + 3].strip().startswith("bob halted it at ")
    assert lines[start + 3].endswith("Z: a look")
    assert any(line.strip().startswith("and 1 more halt by bob until ") for line in overview)
    assert not any("a look" in line for line in overview[:6])


def test_status_when_everything_is_halted_then_global_is_explained_once_and_first(guard: Guard) -> None:
    for market in (BTC, ETH, PAXG):
        guard.observe(market, times=3)
    guard.run("halt", "--all", "--actor", "alice", "--reason", "stop")

    lines = guard.run("status").stdout.splitlines()

    assert lines[0].startswith("3 of 3 markets deny closures")
    assert lines[2] == "GLOBAL   HALTED by an operator, breaker CLOSED"
    assert lines[5] == f"  next   An operator must resume it: circuit-guard resume --all {AUDIT}"
    assert not any(line.startswith(f"{BTC}   ") and "HALTED" in line for line in lines)


def test_status_when_every_market_is_in_maintenance_then_they_are_explained_together(guard: Guard) -> None:
    for market in (BTC, ETH, PAXG):
        guard.observe(market, times=3)
    guard.run("phase", "maintenance", "--all", "--actor", "deploy", "--reason", "upgrade")

    output = guard.run("status").stdout

    assert f"\n{BTC}, {ETH}, {PAXG}   breaker CLOSED, phase MAINTENANCE\n" in output
    assert f"circuit-guard phase POST_ONLY {BTC} {ETH} {PAXG} {AUDIT}" in output
    assert output.count("phase_denies") == 1


def test_status_when_one_market_is_named_then_its_values_are_shown(guard: Guard) -> None:
    guard.observe(BTC, times=3)

    output = guard.run("status", BTC).stdout

    rows = {line[:17].strip(): line[17:] for line in output.partition("VALUE")[2].splitlines()[1:]}
    assert f"{BTC}   closures: in the band\n" in output
    assert rows["mark price"].startswith(f"{PRICE}, ")
    assert rows["funding index"].startswith(f"{INDEX}, ")
    assert rows["reference price"] == f"{PRICE} from 3 fresh references"
    assert rows["phase"].startswith("RECOVERING on the way to OPEN, for ")


def test_status_when_asked_for_json_then_it_is_the_contract_in_protojson(guard: Guard) -> None:
    guard.latch(BTC)

    everything = json.loads(guard.run("status", "--json").stdout)
    one = json.loads(guard.run("status", BTC, "--json").stdout)

    assert [market["market"] for market in everything["markets"]] == [BTC, ETH, PAXG]
    assert (one["breaker"]["state"], one["breaker"]["latched"]) == ("BREAKER_STATE_OPEN", True)
    assert one["breaker"]["findings"][0]["reason"] == "funding_jump"


def test_status_when_the_guard_is_in_shadow_then_that_is_said(tmp_path: Path) -> None:
    with running(tmp_path, POLICY + "[guard]\nshadow = true\n") as guard:
        guard.latch(BTC)

        assert "SHADOW: the denials below are not enforced, except operators' halts\n" in guard.run("status").stdout
        honest = ("check", "--market", BTC, "--size", "-1", "--mark", PRICE, "--funding-index", INDEX)
        result = guard.run(*honest)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].endswith("(with every rule enforced: DENY)")
    assert "Not enforced: the whole guard is in shadow." in result.stdout


def test_status_when_markets_are_cold_then_it_says_what_readiness_waits_for(untouched: Guard) -> None:
    output = untouched.run("status").stdout

    assert output.count("not ready: ") == 3
    assert f"not ready: market {BTC} is required and still warming\n" in output
    assert "basis_missing" not in output, "nobody has asked: no caller is to blame"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ("status", "DOGE-USD-PERP"),
            2,
            f"market was DOGE-USD-PERP, expected one that the policy names: {BTC}, {ETH}, {PAXG}",
        ),
        (("status", "btc-usd-perp"), 2, "market was btc-usd-perp, expected one that the policy names: "),
    ],
)
def test_status_when_the_market_is_unknown_then_the_known_ones_are_named(
    untouched: Guard, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = untouched.run(*arguments)

    assert result.exit_code == code
    assert result.stderr.startswith(f"circuit-guard: {message}")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "unix:/nowhere/guard.sock", "nowhere"])
def test_status_when_no_guard_answers_then_it_asks_whether_one_runs(address: str) -> None:
    result = run("status", "--address", address)

    assert result.exit_code == 3
    assert result.stderr == f"circuit-guard: no guard answers at {address}: is `circuit-guard serve` running?\n"


def test_status_when_the_address_comes_from_the_environment_then_it_is_used(untouched: Guard) -> None:
    assert run("status", env={"CIRCUIT_GUARD_ADDRESS": untouched.address}).exit_code == 0
