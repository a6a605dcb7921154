"""`check`: the verdict, every reason, and the exit code that a script stands on."""

from __future__ import annotations

import json

import pytest

from tests.cli.running import BTC, INDEX, PRICE, Guard, run

HONEST = ("check", "--market", BTC, "--size", "-0.5", "--mark", PRICE, "--funding-index", INDEX)


def test_check_when_the_market_is_sound_then_it_is_allowed_with_exit_code_0(guard: Guard) -> None:
    guard.observe(times=3)

    result = guard.run(*HONEST, "--account", "account-7", "--request-id", "request-7")

    assert result.exit_code == 0
    assert result.stdout.startswith(f"ALLOW   LIQUIDATION of account-7 in {BTC}\n")
    assert "must" not in result.stdout


def test_check_when_the_caller_computed_with_a_corrupt_index_then_the_deny_explains_itself(guard: Guard) -> None:
    guard.observe(times=3)

    result = guard.run("check", "--market", BTC, "--size", "-0.5", "--mark", PRICE, "--funding-index", "0")

    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith("DENY   LIQUIDATION of circuit-guard-check in")
    assert lines[1].startswith("  basis_funding  The caller computed with a funding index that cannot be true: ")
    assert "basis.funding_index was 0, expected 205" in lines[1]
    assert lines[1].endswith(". The caller must ask with other values; retrying will not help.")
    assert [line.split()[0] for line in lines[2:]] == ["state", "decision", "policy"]


def test_check_when_the_market_is_latched_then_every_reason_is_named(guard: Guard) -> None:
    guard.latch()

    result = guard.run(*HONEST)

    named = [line.split()[0] for line in result.stdout.splitlines() if line.startswith("  ") and line[2] != " "]
    assert result.exit_code == 1
    assert named[:2] == ["breaker_open", "funding_jump"]
    assert result.stdout.count("An operator must reset the breaker; retrying will not help.") == 1, (
        "said once, at the first"
    )


def test_check_when_asked_for_json_then_the_decision_is_one_document(guard: Guard) -> None:
    guard.latch()

    result = guard.run(*HONEST, "--json", "--kind", "trigger")

    decision = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (decision["verdict"], decision["kind"]) == ("VERDICT_DENY", "CHECK_KIND_TRIGGER")
    assert decision["findings"][1]["reason"] == "funding_jump"
    assert decision["lifted_by"] == "LIFTED_BY_OPERATOR"


def test_check_when_the_request_id_is_known_then_the_answer_is_the_one_it_got_then(guard: Guard) -> None:
    guard.observe(times=3)
    first = guard.run(*HONEST, "--request-id", "same", "--json")
    again = guard.run(*HONEST, "--request-id", "same", "--json")

    decisions = [json.loads(result.stdout) for result in (first, again)]
    assert [decision["repeated"] for decision in decisions] == [False, True]
    assert decisions[0]["decision_id"] == decisions[1]["decision_id"]
    assert ", as first answered: this request_id was asked before" in guard.run(*HONEST, "--request-id", "same").stdout


def test_check_when_the_request_id_is_known_with_another_size_then_it_is_bad_input(guard: Guard) -> None:
    guard.run(*HONEST, "--request-id", "same")

    result = guard.run("check", "--market", BTC, "--size", "-9", "--request-id", "same")

    assert result.exit_code == 2
    assert result.stderr.startswith('circuit-guard: check.request_id was "same", expected a new request_id')


def test_check_when_no_guard_answers_then_it_could_not_be_decided() -> None:
    result = run(*HONEST, "--address", "127.0.0.1:1")

    assert result.exit_code == 3
    assert result.stderr == "circuit-guard: no guard answers at 127.0.0.1:1: is `circuit-guard serve` running?\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--market", BTC, "--size", "0"),
            'check.size was "0", expected a size other than zero, in base units',
        ),
        (("--market", BTC, "--size", "much"), 'check.size was "much", expected a '),
        (("--market", BTC, "--size", "NaN"), 'check.size was "NaN", expected a '),
        (("--market", BTC, "--size", "1e999999"), 'check.size was "1e999999", expected a '),
        (("--market", "", "--size", "-1"), "check.market was empty, expected 1 to 128 printable characters"),
        (("--market", BTC, "--size", "-1", "--mark", "Infinity"), 'check.basis.mark_price was "Infinity", expected a '),
        (("--market", BTC, "--size", "-1", "--account", "a" * 129), 'check.account_id was "aaa'),
        (
            ("--market", BTC, "--size", "-1", "--funding-index", "0x10"),
            'check.basis.funding_index was "0x10", expected',
        ),
        (("--market", BTC, "--size", "-1", "--execution-price", "-"), 'check.execution_price was "-", expected a '),
    ],
)
def test_check_when_a_value_cannot_be_used_then_the_message_names_it(
    untouched: Guard, options: tuple[str, ...], message: str
) -> None:
    result = untouched.run("check", *options)

    assert result.exit_code == 2
    assert result.stderr.startswith(f"circuit-guard: {message}")
    assert result.stdout == ""


def test_check_when_the_market_is_unknown_then_it_is_denied_and_says_so(untouched: Guard) -> None:
    result = untouched.run("check", "--market", "DOGE-USD-PERP", "--size", "-1")

    assert result.exit_code == 1
    assert "unknown_market" in result.stdout


@pytest.mark.parametrize(
    "options", [("--market", BTC), ("--size", "-1"), ("--market", BTC, "--size", "-1", "--kind", "x")]
)
def test_check_when_an_option_is_missing_or_unknown_then_it_is_bad_usage(options: tuple[str, ...]) -> None:
    assert run("check", *options).exit_code == 2
