"""`checkpoint list | show | export` over a journal that a real engine wrote."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest

from circuit_guard.core.inputs import HaltCommand
from circuit_guard.core.types import SECOND_NS
from circuit_guard.journal.reader import JOURNAL_NAME
from tests.cli.running import BTC, ETH, run
from tests.journal.builders import tamper
from tests.recording.recorded_guard import FIRST, RecordedGuard

SHOW, EXPORT = ("checkpoint", "show"), ("checkpoint", "export")


async def record(directory: Path) -> int:
    """Record a guard with a halted and latched market and a cold one; return the number of its named checkpoint."""
    async with RecordedGuard(directory, FIRST) as guard:
        guard.run(40, BTC)
        guard.clock.advance(1)
        guard.observe(BTC, funding_index=Decimal(0))
        now_ns = guard.engine.now_ns()
        guard.engine.step(HaltCommand(now_ns, (BTC,), "alice", "odd", now_ns + 900 * SECOND_NS))
        guard.engine.step(HaltCommand(now_ns, (), "bob", "stop"))
        guard.engine.step(HaltCommand(now_ns, (), "carol", "stop, too"))
        checkpoint = await guard.engine.checkpoint("maintenance-1")
    assert checkpoint is not None
    return checkpoint.sequence


@pytest.fixture(name="kept", scope="module")
def _kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return a state directory and a checkpoint in it, for tests that change nothing."""
    directory = tmp_path_factory.mktemp("state")
    return str(directory), str(asyncio.run(record(directory)))


def test_list_when_there_are_checkpoints_then_each_is_a_line(kept: tuple[str, str]) -> None:
    directory, number = kept

    lines = run("checkpoint", "list", directory).stdout.splitlines()
    found = json.loads(run("checkpoint", "list", directory, "--json").stdout)

    heading, first, named = lines
    assert heading.split() == ["ID", "AT", "NAME", "AFTER", "RECORD", "SHA-256"]
    assert named.split()[:3] == [number, "2026-01-19T00:00:41Z", "maintenance-1"]
    assert found["directory"] == directory
    assert [one["name"] for one in found["checkpoints"]] == ["", "maintenance-1"]
    assert found["checkpoints"][1]["digest"] == named.split()[-1]
    assert first.split()[0] == str(found["checkpoints"][0]["id"])


def test_show_when_asked_then_every_market_is_a_line(kept: tuple[str, str]) -> None:
    directory, number = kept

    lines = run(*SHOW, directory, number).stdout.splitlines()

    assert lines[0] == f"checkpoint {number}, maintenance-1, of 2026-01-19T00:00:41Z"
    assert lines[1].endswith(f", policy {FIRST.revision}")
    assert lines[2] == "GLOBAL breaker CLOSED, halted by bob: stop (and 1 more halt by carol)"
    assert lines[3].split() == ["MARKET", "PHASE", "BREAKER", "HALT", "MARK", "INDEX", "FUNDING", "INDEX", "AS", "OF"]
    btc, eth = lines[4:]
    assert btc.split()[:4] == [BTC, "OPEN", "OPEN", "(denying),"]
    assert btc.split()[4:] == ["latched", "alice", "92600", "92600", "20511", "2026-01-19T00:00:40Z"]
    assert eth.split() == [ETH, "RECOVERING", "CLOSED", "none", "none", "none"]


def test_show_when_asked_for_json_then_everything_is_there(kept: tuple[str, str]) -> None:
    directory, number = kept

    shown = json.loads(run(*SHOW, directory, number, "--json").stdout)

    btc, eth = shown["markets"]
    assert (shown["id"], shown["name"], shown["policy_revision"]) == (int(number), "maintenance-1", FIRST.revision)
    assert shown["global"]["halt"] == {
        "actor": "bob",
        "identity": "",
        "reason": "stop",
        "since": "2026-01-19T00:00:41Z",
        "expires": None,
    }
    assert [other["actor"] for other in shown["global"]["other_halts"]] == ["carol"]
    assert (btc["market"], btc["phase"], btc["breaker"]["state"], btc["breaker"]["latched"]) == (
        BTC,
        "OPEN",
        "OPEN",
        True,
    )
    assert btc["halt"]["expires"] == "2026-01-19T00:15:41Z"
    assert (btc["funding_index"], btc["as_of"]) == ("20511", "2026-01-19T00:00:40Z")
    assert (eth["mark_price"], eth["funding_index"], eth["as_of"], eth["halt"]) == (None, None, None, None)


def test_show_when_an_index_is_zero_then_it_is_zero_and_not_none(tmp_path: Path) -> None:
    async def recorded() -> None:
        async with RecordedGuard(tmp_path, FIRST) as guard:
            guard.observe(BTC, funding_index=Decimal(0))
            await guard.engine.checkpoint("zero")

    asyncio.run(recorded())
    number = str(json.loads(run("checkpoint", "list", str(tmp_path), "--json").stdout)["checkpoints"][-1]["id"])

    assert run(*SHOW, str(tmp_path), number).stdout.splitlines()[-2].split()[-2] == "0"


@pytest.mark.parametrize("name", ["out.json", "out.csv"])
def test_export_when_written_then_it_has_what_was_trusted_and_names_what_was_not(
    kept: tuple[str, str], tmp_path: Path, name: str
) -> None:
    directory, number = kept

    result = run(*EXPORT, directory, number, "-o", str(tmp_path / name))

    text = (tmp_path / name).read_text()
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / name}: 1 market\n")
    assert result.stderr == f"left out, because none of their values is trusted yet: {ETH}\n"
    values = [BTC, "2026-01-19T00:00:40Z", "92600", "92600", "20511"]
    if name.endswith(".csv"):
        assert text == f"market,event_time,mark_price,index_price,funding_index\n{','.join(values)}\n"
    else:
        assert list(json.loads(text)["markets"][0].values()) == values


@pytest.mark.parametrize("command", [("show",), ("export", "-o", "out.json")])
@pytest.mark.parametrize("number", ["1", "999999"])
def test_checkpoint_when_there_is_none_of_the_number_then_it_says_how_to_find_one(
    kept: tuple[str, str], command: tuple[str, ...], number: str
) -> None:
    directory, _ = kept

    result = run("checkpoint", command[0], directory, number, *command[1:])

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"circuit-guard: the checkpoint was {number}, expected one of the journal: "
        f"circuit-guard checkpoint list {directory} shows them\n"
    )


@pytest.mark.parametrize("command", [("list",), ("show", "7"), ("export", "7", "-o", "out.json")])
def test_checkpoint_when_there_is_no_journal_then_that_is_said(tmp_path: Path, command: tuple[str, ...]) -> None:
    result = run("checkpoint", command[0], str(tmp_path), *command[1:])

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"circuit-guard: {tmp_path / JOURNAL_NAME}: there is no journal; name the state directory of a guard\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "DELETE FROM checkpoint",
            "checkpoint {} is not available: its state was dropped by retention; name another one",
        ),
        ("UPDATE checkpoint SET body = x'00'", "is a checkpoint, and its state was changed"),
    ],
)
def test_checkpoint_when_its_state_is_not_there_or_was_changed_then_that_is_said(
    tmp_path: Path, change: str, message: str
) -> None:
    async def recorded() -> None:
        async with RecordedGuard(tmp_path, FIRST) as guard:
            guard.run(3)

    asyncio.run(recorded())
    number = str(json.loads(run("checkpoint", "list", str(tmp_path), "--json").stdout)["checkpoints"][0]["id"])
    tamper(tmp_path, change)

    result = run(*SHOW, str(tmp_path), number)

    assert (result.exit_code, result.stdout) == (2, "")
    assert message.format(number) in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list",), "DIRECTORY"),
        (("show", "somewhere"), "ID"),
        (("show", "somewhere", "0"), "ID"),
        (("show", "somewhere", "last"), "ID"),
        (("export", "somewhere", "7"), "--output"),
        (("export", "somewhere", "7", "-o", "out.txt"), "--output was out.txt, expected a name that ends in .json or"),
    ],
)
def test_checkpoint_when_misused_then_the_message_says_what_is_missing(
    arguments: tuple[str, ...], message: str
) -> None:
    result = run("checkpoint", *arguments)

    assert result.exit_code == 2
    assert message in result.stderr
