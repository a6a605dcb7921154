"""`rebaseline` against a real guard: values, checkpoints, repaired accounts, and what is still latched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import BTC, ETH, INDEX, POLICY, Guard, run, running

WHO = ("--actor", "alice", "--reason", "rolled back")


def test_rebaseline_when_a_value_is_given_then_both_values_are_told(guard: Guard) -> None:
    guard.observe(BTC, times=3)

    result = guard.run("rebaseline", f"{BTC}=0", *WHO)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].endswith(
        f" {BTC}: funding index rebaselined from {INDEX} to 0 by alice: rolled back"
    )
    assert "still latched" not in result.stdout
    assert json.loads(guard.run("status", BTC, "--json").stdout)["funding_index"] == "0"


def test_rebaseline_when_the_breaker_is_latched_then_it_says_that_a_reset_is_needed(guard: Guard) -> None:
    guard.latch(BTC)

    result = guard.run("rebaseline", f"{BTC}=0", *WHO)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == (
        f'1 market still latched; an operator must reset: circuit-guard reset {BTC} --actor NAME --reason "WHY"'
    )


def test_rebaseline_when_a_checkpoint_is_named_then_its_values_are_the_truth(recorded: Guard) -> None:
    for market in (BTC, ETH):
        recorded.observe(market, times=3)
    begun = json.loads(recorded.run("maintenance", "begin", *WHO, "--json").stdout)
    recorded.observe(BTC, funding_index=str(float(INDEX) + 0.001))
    number = begun["checkpoint_id"]

    one = recorded.run("rebaseline", "--checkpoint", number, BTC, *WHO)
    every = recorded.run("rebaseline", "--checkpoint", number, "--all", *WHO)
    status = recorded.run("status", BTC).stdout
    repaired = recorded.run("rebaseline", "--repaired", BTC, *WHO)
    healed = json.loads(recorded.run("status", BTC, "--json").stdout)

    assert one.exit_code == 0
    assert f" to {INDEX} (checkpoint {number}) by alice: rolled back\n" in one.stdout
    assert (every.exit_code, every.stderr[:28]) == (1, 'circuit-guard: scopes was "P')
    assert "1 interval of wrong values: an account settled with one of them is denied" in status
    assert f" {BTC}: accounts repaired by alice: rolled back; no account is tainted here any more\n" in repaired.stdout
    assert healed["discarded_intervals"] == 0


def test_rebaseline_when_a_factor_is_given_then_price_and_index_move_together(guard: Guard) -> None:
    guard.observe(BTC, times=3)
    before = json.loads(guard.run("status", BTC, "--json").stdout)

    result = guard.run("rebaseline", BTC, "--factor", "0.001", *WHO)
    after = json.loads(guard.run("status", BTC, "--json").stdout)

    assert result.exit_code == 0
    assert f" {BTC}: rescaled by 0.001, mark price from " in result.stdout
    assert float(after["funding_index"]) == pytest.approx(float(before["funding_index"]) / 1000)
    assert float(after["mark_price"]) == pytest.approx(float(before["mark_price"]) / 1000)


def test_rebaseline_when_every_value_is_given_then_all_are_told(guard: Guard) -> None:
    guard.observe(BTC, times=3)
    prices = ("--mark-price", f"{BTC}=9.26", "--index-price", f"{BTC}=9.25", "--premium", f"{BTC}=0.0009")

    result = guard.run("rebaseline", f"{BTC}=2.05", *prices, *WHO)

    assert result.exit_code == 0
    assert f"funding index rebaselined from {INDEX} to 2.05, mark price from " in result.stdout
    assert " to 9.26 by alice: rolled back" in result.stdout
    assert json.loads(guard.run("status", BTC, "--json").stdout)["mark_price"] == "9.26"


def test_rebaseline_when_asked_for_json_then_the_answer_is_one_document(guard: Guard) -> None:
    guard.observe(BTC, times=3)

    answer = json.loads(guard.run("rebaseline", f"{BTC}=20500.5", "--json", *WHO).stdout)

    assert answer["events"][0]["rebaselined"]["funding_index_after"] == "20500.5"
    assert "proposal" not in answer


def test_rebaseline_when_the_policy_wants_two_actors_then_the_first_only_proposes(tmp_path: Path) -> None:
    policy = POLICY + '[guard]\ntwo_actors = ["rebaseline"]\n'
    with running(tmp_path, policy) as guard:
        guard.observe(BTC, times=3)
        first = guard.run("rebaseline", f"{BTC}=20500", *WHO)
        as_json = guard.run("rebaseline", f"{BTC}=20500", "--json", *WHO)
        second = guard.run("rebaseline", f"{BTC}=20500", "--actor", "bob", "--reason", "yes")

    lines = first.stdout.splitlines()
    assert (first.exit_code, as_json.exit_code, second.exit_code) == (1, 1, 0)
    assert (
        f" rebaseline of {BTC} proposed by alice: rolled back; it takes effect if somebody else asks for the same "
        in lines[0]
    )
    assert lines[1].startswith(
        "Not in effect yet: somebody other than alice must run circuit-guard rebaseline with the same values "
        '--actor NAME --reason "WHY" before '
    )
    assert json.loads(as_json.stdout)["proposal"]["act"] == "rebaseline"
    assert " by alice and bob: yes" in second.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("DOGE=1",), 2, 'markets was "DOGE", expected markets that the policy names; nothing was changed'),
        ((f"{BTC}=",), 2, "baselines[0].funding_index was empty, expected a finite decimal"),
        ((f"{BTC}=NaN",), 2, 'baselines[0].funding_index was "NaN", expected a finite decimal'),
        ((f"{BTC}=1,5",), 2, 'baselines[0].funding_index was "1,5", expected a decimal'),
        (("=1",), 2, "baselines[0].market was empty, expected 1 to 128 printable characters"),
        ((f"{BTC}=1", f"{BTC}=2"), 2, f'baselines[1].market was "{BTC}", expected each one once'),
        (("--repaired", "DOGE"), 2, 'markets was "DOGE", expected markets that the policy names'),
        ((f"{BTC}=1",), 1, f'markets was "{BTC}", expected markets with a mark price that was trusted once'),
        (("--factor", "0", BTC), 2, 'factor was "0", expected a finite number above 0 and other than 1'),
        (("--factor=-1000", BTC), 2, 'factor was "-1000", expected a finite number above 0 and other than 1'),
        (("--factor", "NaN", BTC), 2, 'factor was "NaN", expected a finite decimal'),
        (("--factor", "1,000", BTC), 2, 'factor was "1,000", expected a decimal'),
        (("--factor", "1000", "DOGE"), 2, 'markets was "DOGE", expected markets that the policy names'),
        (("--factor", "1000", f"{BTC}=1"), 2, f'markets was "{BTC}=1", expected markets that the policy names'),
        (
            ("--factor", "1000", BTC),
            1,
            f'markets was "{BTC}", expected markets with a mark price that was trusted once',
        ),
        (
            (f"{BTC}=1", "--index-price", f"{BTC}=2"),
            2,
            'baselines[0].index_price was "2", expected none without a mark_price',
        ),
        ((f"{BTC}=1", "--mark-price", f"{BTC}=-2"), 1, f'mark_price was "-2 for {BTC}", expected a price'),
        (
            ("--checkpoint", "7", BTC),
            1,
            "checkpoint 7 is not available: the guard keeps no journal; set journal.directory",
        ),
    ],
)
def test_rebaseline_when_it_cannot_be_done_then_it_says_what_was_expected(
    untouched: Guard, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = untouched.run("rebaseline", *arguments, *WHO)

    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(f"circuit-guard: {message}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*WHO,), "name at least one MARKET=INDEX, or give --checkpoint, --factor or --repaired"),
        ((BTC, *WHO), f"the value was {BTC}, expected MARKET=INDEX, for instance BTC-USD-PERP=20511.93"),
        (("--all", *WHO), "--all was given without --checkpoint, expected MARKET=INDEX for each market"),
        (("--checkpoint", "7", *WHO), "name at least one market, or give --all for everything"),
        (("--checkpoint", "7", BTC, "--all", *WHO), f"give markets or --all, not both: markets were {BTC}"),
        (("--checkpoint", "0", BTC, *WHO), "--checkpoint"),
        (("--checkpoint", "last", BTC, *WHO), "--checkpoint"),
        (("--factor", "1000", *WHO), '--factor was "1000", expected a number above 0, and at least one market'),
        (("--factor", "", BTC, *WHO), "expected a number above 0, and at least one market"),
        (("--factor", "1000", "--all", *WHO), '--factor was "1000" beside --all, expected the markets by name'),
        (
            ("--factor", "1000", "--checkpoint", "7", BTC, *WHO),
            '--factor was "1000" beside --checkpoint 7, expected one of them',
        ),
        (
            ("--factor", "1000", BTC, "--mark-price", f"{BTC}=1", *WHO),
            f'--mark-price was "{BTC}=1", expected none beside --factor',
        ),
        ((f"{BTC}=1", "--mark-price", "1", *WHO), '--mark-price was "1", expected MARKET=VALUE'),
        (
            (f"{BTC}=1", "--premium", f"{ETH}=1", *WHO),
            f'--premium was "{ETH}=1", expected a market that MARKET=INDEX names',
        ),
        ((f"{BTC}=1", "--actor", "alice"), "--reason"),
        ((f"{BTC}=1", "--reason", "why"), "--actor"),
    ],
)
def test_rebaseline_when_misused_then_the_message_says_what_is_missing(
    arguments: tuple[str, ...], message: str
) -> None:
    result = run("rebaseline", *arguments)

    assert result.exit_code == 2
    assert message in result.stderr


def test_rebaseline_when_the_checkpoint_is_unknown_then_it_says_how_to_find_one(recorded: Guard) -> None:
    result = recorded.run("rebaseline", "--checkpoint", "999999", BTC, *WHO)

    assert (result.exit_code, result.stdout) == (2, "")
    expected = "a checkpoint of the journal: `circuit-guard checkpoint list` shows them; nothing was changed"
    assert result.stderr == f"circuit-guard: checkpoint_id was 999999, expected {expected}\n"


def test_rebaseline_when_no_guard_answers_then_it_exits_with_3() -> None:
    assert run("rebaseline", f"{BTC}=1", *WHO, "--address", "127.0.0.1:1").exit_code == 3
