"""`journal` and `replay --journal` at the command line, over journals that a real engine wrote."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pyarrow.parquet
import pytest

from circuit_guard.core.inputs import Observation
from circuit_guard.journal.export import json_line
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader
from circuit_guard.journal.record import Kind, input_entry
from tests.cli.running import BTC, ETH, run
from tests.driver import START_NS
from tests.journal.builders import tamper
from tests.journal.test_journal import settled
from tests.replay.recorded_guard import FIRST, RecordedGuard, forge, read, record_story


@pytest.fixture(name="directory", scope="module")
def _directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the journal of a bad day with a restart, for tests that change nothing in it."""
    directory = tmp_path_factory.mktemp("state")
    asyncio.run(record_story(directory))
    return directory


@pytest.fixture(name="own")
async def _own(tmp_path: Path) -> Path:
    """Return a small journal of the test's own."""
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(5)
        guard.decide(BTC)
    return tmp_path


def test_verify_when_nothing_was_touched_then_the_heads_are_there_to_note(directory: Path) -> None:
    shown = run("journal", "verify", str(directory))
    report = json.loads(run("journal", "verify", str(directory), "--json").stdout)

    count = len(read(directory))
    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"{directory}: as it was written\n{count} records from 1 to {count}, 3 of them")
    assert (report["ok"], report["records"], report["bad_sequence"], report["problem"]) == (True, count, None, "")
    for chain in ("recorder", "audit"):
        assert f"{chain:<8}  {report['heads'][chain]}\n" in shown.stdout


def test_verify_when_a_record_was_edited_then_it_is_named(own: Path) -> None:
    tamper(own, "UPDATE record SET payload = replace(payload, '92600', '92700') WHERE sequence = 9")

    shown, report = run("journal", "verify", str(own)), run("journal", "verify", str(own), "--json")

    assert (shown.exit_code, report.exit_code) == (1, 1)
    assert f"{JOURNAL_NAME}: record 9 does not continue the recorder chain; keep the file" in shown.stderr
    assert shown.stdout == report.stderr == ""
    assert (json.loads(report.stdout)["ok"], json.loads(report.stdout)["bad_sequence"]) == (False, 9)


@pytest.mark.parametrize(
    "arguments",
    [
        ("journal", "verify"),
        ("journal", "show"),
        ("journal", "prune", "--yes"),
        ("journal", "export", "-o", "out.jsonl"),
        ("replay", "--json", "--journal"),
    ],
)
def test_journal_when_there_is_none_then_that_is_said_and_none_is_made(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    result = run(*arguments, str(tmp_path))

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"circuit-guard: {tmp_path / JOURNAL_NAME}: there is no journal; name the state directory of a guard\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_journal_when_it_is_another_file_then_that_is_said(tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).write_text("not a database, and long enough to be seen as none" * 20)

    result = run("journal", "verify", str(tmp_path))

    assert result.exit_code == 2
    assert "it is damaged or no journal" in result.stderr


def test_show_when_asked_for_nothing_special_then_the_last_records_are_lines(directory: Path) -> None:
    lines = run("journal", "show", str(directory)).stdout.splitlines()

    last = read(directory)[-50:]
    assert [int(line.split()[0]) for line in lines] == [record.sequence for record in last]
    assert [line.split()[3] for line in lines] == [record.kind for record in last]


@pytest.mark.parametrize(
    "line",
    [
        "1 2026-01-19 00:00:00.000Z START      circuit_guard 0.0.1 starts to write, on host-1 as process 4711",
        "INPUT      BTC-USD-PERP observation of exchange, epoch 1, number 1: mark 92600, index 92600, funding index 2",
        "INPUT      BTC-USD-PERP reference of kraken: 92600",
        "INPUT      BTC-USD-PERP check: LIQUIDATION of account-1, size -0.5, computed with mark 92600, funding index 2",
        "funding index 20511 [banded]",
        "INPUT      1 orders to judge, in BTC-USD-PERP",
        "INPUT      halt ETH-USD-PERP, says alice: thin book",
        "INPUT      resume ETH-USD-PERP, says alice: deep again",
        "INPUT      reset BTC-USD-PERP, says alice: the index is right again",
        "INPUT      GLOBAL enters phase POST_ONLY, says deploy: release",
        "INPUT      the guard has restarted with the state it had",
        "FACT       ETH-USD-PERP halted by alice: thin book",
        "FACT       command refused: markets was DOGE, expected markets that the policy names",
        "FACT       BTC-USD-PERP is warm: its closures are judged from now on",
        "FACT       BTC-USD-PERP breaker CLOSED: reset by alice: the index is right again",
        "2026-01-19 00:00:09.000Z FACT       BTC-USD-PERP breaker OPEN (denying), latched: the funding index moved",
        "DECISION   DENY BTC-USD-PERP: the market's breaker is OPEN (denying): BTC-USD-PERP was OPEN (denying) for",
        "2 2026-01-19 00:00:00.000Z CHECKPOINT checkpoint of the state after record 1, SHA-256 ",
        "POLICY     policy ",
        " is to take effect",
    ],
)
def test_show_when_all_is_shown_then_each_kind_has_its_words(directory: Path, line: str) -> None:
    assert line in run("journal", "show", str(directory), "--last", "10000").stdout


def test_show_when_narrowed_then_only_what_was_asked_for_is_shown(directory: Path) -> None:
    def shown(*arguments: str) -> list[str]:
        return run("journal", "show", str(directory), "--json", *arguments).stdout.splitlines()

    records = read(directory)
    halts = [record for record in records if record.scope == ETH and record.kind in (Kind.FACT, Kind.DECISION)]
    late = [record for record in records if record.at_ns >= START_NS + 110 * 10**9]
    assert shown("--market", ETH, "--kind", "fact", "--kind", "DECISION", "--last", "1000") == [*map(json_line, halts)]
    assert shown("--market", ETH, "--kind", "fact", "--kind", "DECISION", "--last", "3") == [
        *map(json_line, halts[-3:])
    ]
    assert shown("--since", "2026-01-19T00:01:50Z") == [*map(json_line, late)]
    assert shown("--since", "2026-01-19T00:01:50Z", "--last", "2") == [*map(json_line, late[-2:])]
    assert len(shown("--since", "1990-01-01T00:00:00Z")) == len(records)
    assert len(shown("--last", "10000")) == len(records)


def test_show_when_no_record_matches_then_that_is_said(directory: Path) -> None:
    result = run("journal", "show", str(directory), "--market", "DOGE")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no record is like that\n")


def test_show_when_what_was_asked_for_is_far_back_then_it_is_found(tmp_path: Path) -> None:
    with Journal(tmp_path, START_NS, JournalOptions()) as journal:
        for number in range(10_000):
            at_ns = START_NS + number * 10**9
            market = ETH if number == 300 else BTC
            journal.append([input_entry(Observation(at_ns, market, "exchange", 1, number, at_ns))])

    found = run("journal", "show", str(tmp_path), "--market", ETH).stdout
    since = run("journal", "show", str(tmp_path), "--since", "2026-01-19T00:06:40Z").stdout.splitlines()

    what = f"{ETH} observation of exchange, epoch 1, number 300: no value"
    assert found == f"     301 2026-01-19 00:05:00.000Z INPUT      {what}\n"
    assert len(since) == 9_600


def test_show_when_a_record_is_of_a_newer_version_then_the_others_are_still_shown(own: Path) -> None:
    count = len(read(own))
    forge(own, lambda records: [*records[:-1], records[-1]._replace(payload='{"Verdictum":{}}')])

    lines = run("journal", "show", str(own)).stdout.splitlines()

    assert len(lines) == count
    assert "cannot be read: a payload was of type 'Verdictum'" in lines[-1]


async def test_journal_when_a_guard_runs_then_it_is_read_but_not_pruned(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(3)
        await guard.engine.checkpoint()

        assert run("journal", "verify", str(tmp_path)).exit_code == 0
        assert run("journal", "show", str(tmp_path)).exit_code == 0
        assert run("replay", "--journal", str(tmp_path)).exit_code == 0
        refused = run("journal", "prune", str(tmp_path), "--yes")

    assert refused.exit_code == 1
    assert f'another guard uses this state directory: {{"pid": {os.getpid()}, "host": ' in refused.stderr


def test_export_when_to_json_lines_then_it_is_every_record(directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"

    result = run("journal", "export", str(directory), "-o", str(path))

    records = read(directory)
    assert (result.exit_code, result.stdout) == (0, f"{path}: {len(records)} records\n")
    assert [json.loads(line)["sequence"] for line in path.read_text().splitlines()] == list(range(1, len(records) + 1))


def test_export_when_to_parquet_of_one_kind_then_it_is_those_records(directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"

    assert run("journal", "export", str(directory), "-o", str(path), "--kind", "decision").exit_code == 0

    kinds = pyarrow.parquet.read_table(path).column("kind").to_pylist()
    assert kinds == ["DECISION"] * sum(record.kind is Kind.DECISION for record in read(directory))


def test_export_when_a_record_was_edited_then_there_is_no_file(own: Path) -> None:
    tamper(own, "UPDATE record SET payload = replace(payload, '92600', '92700') WHERE sequence = 9")

    result = run("journal", "export", str(own), "-o", str(own / "out.jsonl"))

    assert result.exit_code == 2
    assert "record 9 does not continue" in result.stderr
    assert not list(own.glob("out*"))


async def test_prune_when_confirmed_then_what_need_not_be_kept_is_gone(tmp_path: Path) -> None:
    with Journal(tmp_path, START_NS, JournalOptions(block_records=50)) as journal:
        for day in (0, 100):
            at_ns = START_NS + day * 86_400 * 10**9
            journal.append(input_entry(Observation(at_ns, BTC, "exchange", 1, n, at_ns)) for n in range(100))
        await settled(journal, tmp_path, blocks=4)
        driver = RecordedGuard(tmp_path / "other", FIRST).driver
        await journal.checkpoint(driver.engine._state, FIRST)

    aborted = run("journal", "prune", str(tmp_path), "--bytes-max", "0")
    kept = run("journal", "prune", str(tmp_path), "--yes")
    done = run("journal", "prune", str(tmp_path), "--bytes-max", "0", "--yes")

    assert aborted.exit_code == 1
    assert "inputs of more than 24 h while it is larger than 0 MB, all else after 90 days" in aborted.stderr
    assert ": 0 blocks of records dropped" in kept.stdout
    assert ": 2 blocks of records dropped" in done.stdout
    with JournalReader(tmp_path) as reader:
        assert reader.verify().ok
        assert next(reader.records()).sequence == 101


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("journal", "show", ".", "--since", "yesterday"), "--since was yesterday, expected a time in UTC as RFC 3339"),
        (("journal", "show", ".", "--last", "0"), "--last"),
        (("journal", "show", ".", "--kind", "tick"), "--kind"),
        (("journal", "export", ".", "-o", "out.csv"), "--output was out.csv, expected a name that ends in .jsonl or"),
        (("replay", "--journal", ".", "a.jsonl"), "--journal stands alone"),
        (("replay", "--journal", ".", "--policy", "policy.toml"), "--journal stands alone"),
        (("replay", "--journal", ".", "--retry-for", "3"), "--journal stands alone"),
        (("replay",), "give FILES, recordings to replay, or --journal"),
        (("replay", "a.jsonl"), "recordings need --policy FILE"),
    ],
)
def test_commands_when_misused_then_the_message_says_what_was_expected(
    arguments: tuple[str, ...], message: str
) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_replay_when_every_decision_comes_out_again_then_it_says_identical(directory: Path) -> None:
    shown, result = run("replay", "--journal", str(directory)), run("replay", "--journal", str(directory), "--json")

    found = json.loads(result.stdout)
    assert (shown.exit_code, result.exit_code, result.stderr) == (0, 0, "")
    assert (found["identical"], found["different"], found["first_difference"]) == (True, 0, None)
    assert shown.stdout.startswith(f"{directory}: identical\nrecords 2 to {len(read(directory))}: ")
    assert f"{found['decisions']} decisions compared, 0 different, 0 missing\n" in shown.stdout
    assert f"digest of the decisions {found['digest']}\n" in shown.stdout
    assert "Written by circuit_guard 0.0.1, run by " in shown.stdout


def test_replay_when_a_decision_was_forged_then_record_field_and_both_values_are_shown(own: Path) -> None:
    sequence = len(read(own))
    forge(own, lambda all_: [*all_[:-1], all_[-1]._replace(payload=all_[-1].payload.replace("ALLOW", "DENY", 1))])

    shown, result = run("replay", "--journal", str(own)), run("replay", "--journal", str(own), "--json")

    assert run("journal", "verify", str(own)).exit_code == 0
    assert (shown.exit_code, result.exit_code) == (1, 1)
    assert f'first difference: record {sequence}, decision.verdict\n  recorded  "DENY"\n  replayed  "ALLOW"\n' in (
        shown.stdout
    )
    assert json.loads(result.stdout)["first_difference"]["sequence"] == sequence


async def test_replay_when_decisions_are_missing_then_it_says_what_that_can_mean(own: Path) -> None:
    async with RecordedGuard(own, FIRST, after_s=60) as guard:
        guard.run(1)
    decided = next(record.sequence for record in read(own) if record.kind is Kind.DECISION)
    forge(own, lambda records: [r._replace(kind=Kind.FACT) if r.sequence == decided else r for r in records])
    cut = run("replay", "--journal", str(own))
    async with RecordedGuard(own, FIRST, after_s=120) as guard:
        guard.decide(BTC)
        guard.run(1)
    last = max(record.sequence for record in read(own) if record.kind is Kind.DECISION)
    forge(own, lambda records: [r._replace(kind=Kind.FACT) if r.sequence == last else r for r in records])
    missing = run("replay", "--journal", str(own))

    assert cut.exit_code == 0
    assert "1 inputs are the last before an end, and their decisions were not recorded\n" in cut.stdout
    assert missing.exit_code == 1
    assert "0 decisions compared, 0 different, 1 missing\n" in missing.stdout
    assert 'dropped under overflow = "drop": the journal cannot tell.' in missing.stdout
