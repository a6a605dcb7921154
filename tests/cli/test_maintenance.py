"""`maintenance begin | validate | end` against a real guard: what a deploy script stands on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import BTC, ETH, INDEX, PAXG, PRICE, Guard, now, run, running

WHO = ("--actor", "alice", "--reason", "upgrade")
DEPLOY = ("--actor", "deploy")


@pytest.fixture
def warm(recorded: Guard) -> Guard:
    """Return a guard whose three markets are warm."""
    for market in (BTC, ETH, PAXG):
        recorded.observe(market, times=3)
    return recorded


@pytest.fixture(name="idle", scope="module")
def _idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """Return a guard with a journal, for tests that change nothing in it."""
    with running(tmp_path_factory.mktemp("idle"), recorded=True) as guard:
        yield guard


def row(market: str, **changes: Any) -> dict[str, Any]:
    fields = {"event_time": now().ToJsonString(), "mark_price": PRICE, "index_price": PRICE, "funding_index": INDEX}
    return {"market": market} | fields | changes


def dump(folder: Path, *rows: dict[str, Any]) -> str:
    """Write a dump: of the three markets as they were, unless rows are given."""
    path = folder / "dump.json"
    path.write_text(json.dumps({"markets": rows or [row(market) for market in (BTC, ETH, PAXG)]}))
    return str(path)


def test_begin_when_it_is_done_then_the_checkpoint_is_named_and_everything_denies(warm: Guard) -> None:
    result = warm.run("maintenance", "begin", *WHO)

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0] == "maintenance begun by alice: closures are denied in every market"
    found = re.fullmatch(r"checkpoint (\d+), (maintenance-[0-9TZ:-]+), SHA-256 ([0-9a-f]{64})", lines[1])
    assert found is not None
    assert lines[2] == "next: restart the exchange, then circuit-guard maintenance validate DUMP --actor NAME"
    listed = json.loads(run("checkpoint", "list", str(warm.state_directory), "--json").stdout)["checkpoints"]
    named = [one for one in listed if one["name"]]
    assert [(str(one["id"]), one["name"], one["digest"]) for one in named] == [found.groups()]


def test_maintenance_when_one_market_was_reset_then_it_is_named_latched_and_the_others_go_on(
    warm: Guard, tmp_path: Path
) -> None:
    warm.run("maintenance", "begin", *WHO)
    bad = dump(tmp_path, row(BTC, funding_index=0), row(ETH), row(PAXG))

    validated = warm.run("maintenance", "validate", bad, *DEPLOY)
    status = warm.run("status").stdout
    ended = warm.run("maintenance", "end", *WHO)

    lines = validated.stdout.splitlines()
    assert validated.exit_code == 1
    assert lines[0].startswith(f"{BTC} funding_jump: funding cannot have moved the funding index there: ")
    assert lines[1:] == ["1 market not clean (1 funding_jump): publish nothing", "2 markets clean"]
    assert ", by alice: upgrade; checkpoint maintenance-" in status
    assert "\nMAINTENANCE state validated at " in status
    assert ": 2 markets clean, 1 not\n" in status
    assert ended.exit_code == 0
    assert ended.stdout.splitlines() == [
        "maintenance ended by alice",
        f"2 markets in POST_ONLY, opening once data are good: {ETH}, {PAXG}",
        f"1 market latched: {BTC}",
        f'once the cause is gone: circuit-guard reset {BTC} --actor NAME --reason "WHY"',
    ]


@pytest.mark.parametrize(("strangers", "counted"), [(19, []), (20, ["and 1 more, none worse; --json names them all"])])
def test_validate_when_many_rows_are_wrong_then_the_worst_leads_and_the_rest_are_counted(
    warm: Guard, tmp_path: Path, strangers: int, counted: list[str]
) -> None:
    warm.run("maintenance", "begin", *WHO)
    others = [row(f"STRANGER-{number}") for number in range(strangers)]

    validated = warm.run(
        "maintenance", "validate", dump(tmp_path, *others, row(BTC), row(ETH, funding_index=0), row(PAXG)), *DEPLOY
    )

    lines = validated.stdout.splitlines()
    assert lines[0].startswith(f"{ETH} funding_jump: ")
    assert lines[20:-2] == counted
    assert lines[-2].startswith(f"{strangers + 1} markets not clean ({strangers} extra, 1 funding_jump)")


def test_validate_when_every_market_is_clean_then_it_says_so_and_exits_with_0(warm: Guard, tmp_path: Path) -> None:
    warm.run("maintenance", "begin", *WHO)

    result = warm.run("maintenance", "validate", dump(tmp_path), *DEPLOY)
    ended = warm.run("maintenance", "end", *WHO)

    assert result.exit_code == 0
    assert result.stdout == "3 markets clean: end the maintenance, then publish\n"
    assert "latched" not in ended.stdout


def test_validate_when_the_dump_is_csv_or_json_then_both_say_the_same(warm: Guard, tmp_path: Path) -> None:
    warm.run("maintenance", "begin", *WHO)
    rows = [row(BTC), row(ETH, mark_price="9")]
    lines = [",".join(rows[0]), *(",".join(one.values()) for one in rows)]
    (tmp_path / "dump.csv").write_text("\n".join(lines) + "\n")

    as_json = warm.run("maintenance", "validate", dump(tmp_path, *rows), *DEPLOY, "--json")
    as_csv = warm.run("maintenance", "validate", str(tmp_path / "dump.csv"), *DEPLOY, "--json")

    assert (as_json.exit_code, as_csv.exit_code) == (1, 1)
    assert as_json.stdout == as_csv.stdout
    answer = json.loads(as_csv.stdout)
    assert not answer["clean"]
    assert [(found["market"], found["outcome"]) for found in answer["outcomes"]] == [
        (ETH, "OUTCOME_PRICE"),
        (PAXG, "OUTCOME_MISSING"),
        (BTC, "OUTCOME_OK"),
    ]


def test_validate_when_the_dump_is_what_a_checkpoint_exported_then_it_is_clean(warm: Guard, tmp_path: Path) -> None:
    begun = json.loads(warm.run("maintenance", "begin", *WHO, "--json").stdout)
    out = str(tmp_path / "kept.csv")
    exported = run("checkpoint", "export", str(warm.state_directory), begun["checkpoint_id"], "-o", out)

    result = warm.run("maintenance", "validate", out, *DEPLOY)

    assert exported.stdout == f"{out}: 3 markets\n"
    assert (result.exit_code, result.stdout) == (0, "3 markets clean: end the maintenance, then publish\n")


def test_end_when_nothing_was_validated_then_only_unvalidated_ends_it_and_latches_all(warm: Guard) -> None:
    warm.run("maintenance", "begin", *WHO)

    refused = warm.run("maintenance", "end", *WHO)
    forced = json.loads(warm.run("maintenance", "end", "--unvalidated", "--json", *WHO).stdout)

    assert refused.exit_code == 1
    assert refused.stderr.startswith('circuit-guard: validated was "nothing", expected a validated dump')
    assert (forced["clean"], forced["latched"]) == ([], [BTC, ETH, PAXG])


def test_status_when_a_maintenance_has_begun_then_it_says_what_comes_next(warm: Guard) -> None:
    warm.run("maintenance", "begin", *WHO)

    lines = warm.run("status").stdout.splitlines()

    assert lines[1].startswith("MAINTENANCE since ")
    assert lines[2] == "MAINTENANCE nothing is validated yet: circuit-guard maintenance validate DUMP --actor NAME"


def test_begin_when_there_is_no_journal_then_it_says_which_setting_is_missing(untouched: Guard) -> None:
    result = untouched.run("maintenance", "begin", *WHO)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("circuit-guard: journal.directory was not given, expected a state directory")


def test_begin_when_one_runs_already_then_it_says_whose(recorded: Guard) -> None:
    recorded.run("maintenance", "begin", *WHO)

    result = recorded.run("maintenance", "begin", "--actor", "bob", "--reason", "me too")

    assert result.exit_code == 1
    assert result.stderr.startswith('circuit-guard: maintenance was "begun by alice already: upgrade", expected none')


@pytest.mark.parametrize("command", ["validate", "end"])
def test_maintenance_when_none_has_begun_then_it_says_so(idle: Guard, tmp_path: Path, command: str) -> None:
    arguments = (dump(tmp_path), *DEPLOY) if command == "validate" else WHO

    result = idle.run("maintenance", command, *arguments)

    assert (result.exit_code, result.stdout) == (1, "")
    expected = 'maintenance was "none", expected a maintenance that has begun; nothing was changed'
    assert result.stderr == f"circuit-guard: {expected}\n"


def test_validate_when_the_dump_cannot_be_used_then_the_guard_is_not_asked(tmp_path: Path) -> None:
    path = dump(tmp_path, row(BTC, mark_price="x"))

    result = run("maintenance", "validate", path, *DEPLOY, "--address", "127.0.0.1:1")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f'circuit-guard: {path}: markets[0].mark_price was "x", expected a decimal')


@pytest.mark.parametrize("actor", ["", " deploy", "a" * 129])
def test_validate_when_the_actor_cannot_be_used_then_it_is_refused(idle: Guard, tmp_path: Path, actor: str) -> None:
    result = idle.run("maintenance", "validate", dump(tmp_path), "--actor", actor)

    assert result.exit_code == 2
    assert result.stderr.startswith("circuit-guard: actor was ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("begin", "--actor", "alice"), "--reason"),
        (("begin", "--reason", "upgrade"), "--actor"),
        (("validate", *DEPLOY), "DUMP"),
        (("validate", "dump.json"), "--actor"),
        (("end", "--actor", "alice"), "--reason"),
        (("end", "--reason", "upgrade"), "--actor"),
        (("restart",), "No such command 'restart'"),
    ],
)
def test_maintenance_when_misused_then_the_message_says_what_is_missing(
    arguments: tuple[str, ...], message: str
) -> None:
    result = run("maintenance", *arguments)

    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("command", ["begin", "validate", "end"])
def test_maintenance_when_no_guard_answers_then_it_exits_with_3(tmp_path: Path, command: str) -> None:
    arguments = (dump(tmp_path), *DEPLOY) if command == "validate" else WHO

    result = run("maintenance", command, *arguments, "--address", "127.0.0.1:1")

    assert result.exit_code == 3
    assert result.stderr == "circuit-guard: no guard answers at 127.0.0.1:1: is `circuit-guard serve` running?\n"
