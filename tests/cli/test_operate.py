"""`halt`, `resume`, `reset`, `phase` and `reload`: each says what changed and what still denies."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from circuit_guard.core.formatting import lasting
from circuit_guard.core.types import SECOND_NS
from tests.cli.running import BTC, ETH, PAXG, POLICY, Guard, run, running

WHO = ("--actor", "alice", "--reason", "drill")


def test_halt_when_markets_are_named_then_they_are_halted_and_nothing_else(guard: Guard) -> None:
    guard.observe(BTC, times=3)

    result = guard.run("halt", BTC, *WHO)

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].endswith(f" {BTC}: closures halted by alice: drill")
    assert lines[2] == "Denying closures there now:"
    assert lines[3].startswith(f"{BTC}   HALTED by an operator")
    assert [m["market"] for m in json.loads(guard.run("status", "--json").stdout)["markets"] if "halt" in m] == [BTC]


def test_halt_when_others_have_halted_then_it_says_whose_is_longest_and_what_a_resume_lifts(guard: Guard) -> None:
    guard.observe(BTC, times=3)
    guard.run("halt", BTC, *WHO)

    result = guard.run("halt", BTC, "--for", "60s", "--actor", "bob", "--reason", "a look")
    again = guard.run("halt", BTC, "--for", "60s", *WHO)

    lines = result.stdout.splitlines()
    assert (result.exit_code, again.exit_code) == (0, 0)
    assert f" {BTC}: closures halted by bob until " in lines[0]
    assert lines[5].startswith("  why    alice halted it at ")
    assert lines[6].strip().startswith("and 1 more halt by bob until ")
    assert "An operator must resume it, which lifts all 2 halts: " in result.stdout
    assert (
        f" {BTC}: closures stay halted by alice: the halt that stands lasts longer (drill), and one until "
        in (again.stdout.splitlines()[0])
    )
    shown = json.loads(guard.run("status", BTC, "--json").stdout)
    assert (shown["halt"]["actor"], [other["actor"] for other in shown["other_halts"]]) == ("alice", ["bob"])


@pytest.mark.parametrize(("given", "lasts"), [("90s", "1 min 30 s"), ("15m", "15 min 0 s"), ("168h", "7 d")])
def test_halt_when_it_is_for_some_time_then_it_says_until_when(guard: Guard, given: str, lasts: str) -> None:
    result = guard.run("halt", BTC, "--for", given, *WHO)
    halt = json.loads(guard.run("status", BTC, "--json").stdout)["halt"]

    stamps = [datetime.fromisoformat(halt[name]) for name in ("since", "expires_at")]
    assert result.exit_code == 0
    assert f" {BTC}: closures halted by alice until {stamps[1]:%Y-%m-%d %H:%M:%S}Z: drill\n" in result.stdout
    assert lasting(int((stamps[1] - stamps[0]).total_seconds()) * SECOND_NS) == lasts


@pytest.mark.parametrize("given", ["", "15", "0m", "-5m", "1.5h", "15 m", "15M", "1d", "99999999s"])
def test_halt_when_the_time_cannot_be_meant_then_it_says_what_was_expected(given: str) -> None:
    result = run("halt", BTC, "--for", given, *WHO)

    assert result.exit_code == 2
    shown = f'"{given}"' if given else "empty"
    assert f"--for was {shown}, expected a whole number with s, m or h, for instance 15m, at most 168h" in result.stderr


def test_halt_when_the_time_is_too_long_then_the_guard_says_so(untouched: Guard) -> None:
    result = untouched.run("halt", BTC, "--for", "169h", *WHO)

    assert (result.exit_code, result.stdout) == (2, "")
    expected = 'expires_after was "608400 s + 0 ns", expected more than 0 s and at most 604800 s'
    assert result.stderr == f"circuit-guard: {expected}\n"


@pytest.mark.parametrize(
    ("command", "again"),
    [
        (("resume", BTC), f"resume {BTC}"),
        (("resume", "--all"), "resume --all"),
        (("reset", BTC), f"reset {BTC}"),
    ],
)
def test_commands_when_the_policy_wants_two_actors_then_the_first_only_proposes(
    tmp_path: Path, command: tuple[str, ...], again: str
) -> None:
    policy = POLICY + '[guard]\ntwo_actors = ["resume", "reset"]\n'
    with running(tmp_path, policy) as guard:
        guard.latch(BTC)
        guard.run("halt", BTC, *WHO)
        guard.run("halt", "--all", *WHO)
        first = guard.run(*command, *WHO)
        as_json = guard.run(*command, "--json", *WHO)
        status = guard.run("status").stdout
        second = guard.run(*command, "--actor", "bob", "--reason", "agreed")

    act, scope = command[0], BTC if BTC in command else "GLOBAL"
    lines = first.stdout.splitlines()
    assert (first.exit_code, as_json.exit_code, second.exit_code) == (1, 1, 0)
    assert (
        f" {act} of {scope} proposed by alice: drill; it takes effect if somebody else asks for the same before "
        in lines[0]
    )
    typed = f'circuit-guard {again} --actor NAME --reason "WHY"'
    assert lines[1].startswith(f"Not in effect yet: somebody other than alice must run {typed} before ")
    assert json.loads(as_json.stdout)["proposal"]["actor"] == "alice"
    assert f"\nNOT IN EFFECT: {act} of {scope}, proposed by alice: drill; somebody else must ask for the same" in status
    assert "by alice and bob: agreed" in second.stdout


def test_resume_when_a_market_was_halted_then_its_closures_go_through(guard: Guard) -> None:
    guard.observe(BTC, times=3)
    guard.run("halt", BTC, *WHO)

    result = guard.run("resume", BTC, *WHO)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "Nothing denies closures there now."


def test_resume_when_everything_was_halted_then_market_halts_remain(guard: Guard) -> None:
    for market in (BTC, ETH, PAXG):
        guard.observe(market, times=3)
    guard.run("halt", "--all", *WHO)
    guard.run("halt", ETH, *WHO)

    result = guard.run("resume", "--all", *WHO)

    lines = result.stdout.splitlines()
    assert lines[0].endswith(" GLOBAL: closures resumed by alice: drill")
    assert [line.split("   ")[0] for line in lines if "HALTED" in line] == [ETH]


def test_reset_when_a_market_was_latched_then_it_warms_up_again(guard: Guard) -> None:
    guard.latch(BTC)

    result = guard.run("reset", BTC, *WHO)

    assert result.exit_code == 0
    assert f"{BTC}: breaker CLOSED: reset by alice: drill\n" in result.stdout
    assert "warming: " in result.stdout
    guard.observe(BTC, times=3)
    assert guard.run("status", BTC).stdout.count("in the band") == 1


def test_phase_when_set_then_the_change_is_told_and_again_changes_nothing(guard: Guard) -> None:
    first = guard.run("phase", "POST_ONLY", BTC, *WHO)
    again = guard.run("phase", "post_only", BTC, *WHO)

    assert f" {BTC}: phase RECOVERING to POST_ONLY by alice (only resting orders are taken): drill\n" in first.stdout
    assert again.stdout.splitlines()[0] == "nothing changed: it was already so"
    assert (first.exit_code, again.exit_code) == (0, 0)


def test_phase_when_it_comes_with_a_rollback_then_the_guard_is_told(guard: Guard) -> None:
    assert guard.run("phase", "CANCEL_ONLY", "--all", "--rollback", *WHO).exit_code == 0


def test_reload_when_the_file_has_changed_then_both_revisions_are_named(guard: Guard) -> None:
    guard.policy_path.write_text(guard.policy_path.read_text() + "[markets.SOL-USD-PERP]\n")

    result = guard.run("reload", *WHO)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].count("instead of") == 1
    assert result.stdout.splitlines()[1] == "added: SOL-USD-PERP"
    assert guard.run("reload", *WHO).stdout.endswith(" is in force, as before\n")


def test_reload_when_the_file_is_not_valid_then_it_fails_and_lists_every_problem(guard: Guard) -> None:
    guard.policy_path.write_text("[classes.default]\ntypo = 1\nwarm_observations = 0\n")

    result = guard.run("reload", *WHO)

    assert result.exit_code == 1
    assert "the policy has 2 problems" in result.stderr
    assert "classes.default.typo: was 1, expected " in result.stderr


def test_commands_when_asked_for_json_then_the_events_are_one_document(guard: Guard) -> None:
    halted = json.loads(guard.run("halt", BTC, "--json", *WHO).stdout)
    reloaded = json.loads(guard.run("reload", "--json", *WHO).stdout)

    assert halted["events"][0]["halt_changed"]["actor"] == "alice"
    assert reloaded["revision"] == reloaded["previous_revision"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("resume", BTC), 1, f'scopes was "{BTC}", expected scopes that an operator has halted; nothing was changed'),
        (("resume", "--all"), 1, 'scopes was "GLOBAL", expected scopes that an operator has halted; nothing'),
        (("reset", BTC), 1, f'scopes was "{BTC}", expected scopes whose breaker is not CLOSED; nothing was changed'),
        (
            ("reset", "GLOBAL"),
            1,
            'scopes was "GLOBAL", expected scopes whose breaker is not CLOSED; nothing was changed',
        ),
        (("halt", "DOGE"), 2, 'scopes was "DOGE", expected markets that the policy names; nothing was changed'),
        (("halt", BTC, "DOGE"), 2, 'scopes was "DOGE", expected markets that the policy names; nothing was changed'),
        (("halt", BTC, BTC), 2, f'scopes[1] was "{BTC}", expected each one once'),
        (("halt", BTC, "GLOBAL"), 2, f'scopes was "{BTC}, GLOBAL", expected GLOBAL alone, or markets'),
        (("reset", "DOGE"), 2, 'scopes was "DOGE", expected markets that the policy names; nothing was changed'),
        (
            ("phase", "OPEN", "DOGE"),
            2,
            'scopes was "DOGE", expected markets that the policy names; nothing was changed',
        ),
    ],
)
def test_commands_when_they_can_change_nothing_then_they_say_what_was_expected(
    untouched: Guard, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = untouched.run(*arguments, *WHO)

    assert result.exit_code == code
    assert result.stderr.startswith(f"circuit-guard: {message}")
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("halt", *WHO), "name at least one market, or give --all for everything"),
        (("halt", BTC, "--all", *WHO), f"give markets or --all, not both: markets were {BTC}"),
        (("resume", *WHO), "name at least one market, or give --all for everything"),
        (("phase", "OPEN", *WHO), "name at least one market, or give --all for everything"),
        (("halt", BTC, "--reason", "drill"), "--actor"),
        (("halt", BTC, "--actor", "alice"), "--reason"),
        (("resume", BTC), "--actor"),
        (("reset", BTC), "--actor"),
        (("reset", *WHO), "SCOPES"),
        (("phase", "RECOVERING", "--all", *WHO), "'RECOVERING' is not one of"),
        (("phase", *WHO), "PHASE"),
        (("reload", "--actor", "alice"), "--reason"),
    ],
)
def test_commands_when_misused_then_the_message_says_what_is_missing(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(("actor", "reason"), [("", "drill"), ("alice", ""), (" alice", "drill"), ("a" * 129, "drill")])
def test_commands_when_the_audit_lacks_a_name_or_a_reason_then_they_are_refused(
    untouched: Guard, actor: str, reason: str
) -> None:
    result = untouched.run("halt", BTC, "--actor", actor, "--reason", reason)

    assert result.exit_code == 2
    assert "expected 1 to " in result.stderr


def test_commands_when_the_actor_is_in_the_environment_then_it_is_used(guard: Guard) -> None:
    result = guard.run("halt", BTC, "--reason", "drill", env={"CIRCUIT_GUARD_ACTOR": "bob"})

    assert " closures halted by bob: drill" in result.stdout


@pytest.mark.parametrize(
    "command", [("halt", BTC), ("resume", BTC), ("reset", BTC), ("phase", "OPEN", BTC), ("reload",)]
)
def test_commands_when_no_guard_answers_then_they_say_so(command: tuple[str, ...]) -> None:
    result = run(*command, *WHO, "--address", "127.0.0.1:1")

    assert result.exit_code == 3
    assert result.stderr == "circuit-guard: no guard answers at 127.0.0.1:1: is `circuit-guard serve` running?\n"
