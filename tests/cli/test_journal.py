"""`journal verify` and `journal prune` at the command line, over journals that a real engine wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from circuit_guard.core.inputs import Observation
from circuit_guard.journal.journal import Journal, prune
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader
from circuit_guard.journal.record import Chain, input_entry
from tests.cli.running import BTC, run
from tests.driver import START_NS
from tests.journal.builders import tamper
from tests.journal.test_journal import settled
from tests.recording.recorded_guard import FIRST, RecordedGuard, forge, read


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
        (("replay", "--journal", ".", "a.jsonl"), "give --journal alone"),
        (("replay", "--journal", ".", "--policy", "policy.toml"), "give --journal alone"),
        (("replay", "--journal", ".", "--retry-for", "3"), "give --journal alone"),
        (("replay", "--journal", ".", "--journal-out", "there"), "give --journal alone"),
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


# Heads that were noted


def heads(directory: Path) -> dict[str, str]:
    with JournalReader(directory) as reader:
        return reader.verify().heads


def options(noted: Mapping[Chain, str] | Mapping[str, str]) -> list[str]:
    return [word for chain, head in noted.items() for word in ("--head", f"{chain}={head}")]


async def test_verify_when_the_noted_heads_are_still_there_then_it_says_of_which_records(own: Path) -> None:
    noted, count = heads(own), len(read(own))
    async with RecordedGuard(own, FIRST, after_s=60) as guard:
        guard.run(2)

    shown = run("journal", "verify", str(own), *options(noted))
    report = json.loads(run("journal", "verify", str(own), *options(noted), "--json").stdout)

    assert shown.exit_code == 0
    assert f"The head you noted for audit is that of record {count}\n" in shown.stdout
    assert report["ok"]
    assert report["noted"] == {"recorder": count - 1, "audit": count}


def test_verify_when_the_noted_head_is_of_the_last_record_or_of_none_then_it_is_there(own: Path) -> None:
    assert run("journal", "verify", str(own), *options({Chain.AUDIT: heads(own)["audit"].upper()})).exit_code == 0
    assert run("journal", "verify", str(own), *options({Chain.RECORDER: "0" * 64})).exit_code == 0, "before the first"


async def test_verify_when_the_end_was_cut_off_with_care_then_only_the_noted_heads_tell(own: Path) -> None:
    noted = heads(own)
    forge(own, lambda records: records[:-4])

    shown = run("journal", "verify", str(own), *options(noted))
    report = run("journal", "verify", str(own), *options(noted), "--json")

    assert run("journal", "verify", str(own)).exit_code == 0
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr.endswith(
        f"{JOURNAL_NAME}: no record has the noted head of recorder and audit: "
        "the end was cut off, or all was written anew\n"
    )
    assert report.exit_code == 1
    assert json.loads(report.stdout)["noted"] == {"recorder": None, "audit": None}


async def test_verify_when_a_record_was_forged_with_care_then_only_the_noted_heads_tell(own: Path) -> None:
    noted = heads(own)
    forge(own, lambda all_: [*all_[:-1], all_[-1]._replace(payload=all_[-1].payload.replace("ALLOW", "DENY", 1))])

    shown = run("journal", "verify", str(own), *options(noted))

    assert run("journal", "verify", str(own)).exit_code == 0
    assert shown.exit_code == 1
    assert "no record has the noted head of audit: " in shown.stderr


async def test_verify_when_the_noted_head_is_pruned_then_that_is_said_to_be_possible(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(1)
    noted = heads(tmp_path)
    recorded = RecordedGuard(tmp_path, FIRST, after_s=60, block_records=20)
    async with recorded as guard:
        guard.run(20)
        await settled(recorded.journal, tmp_path, blocks=2)
        await guard.engine.checkpoint()
    last = {Chain.RECORDER: heads(tmp_path)["recorder"]}
    newest_ns = read(tmp_path)[-1].at_ns
    assert prune(tmp_path, START_NS, newest_ns, JournalOptions(inputs_kept_ns=0, bytes_max=0)) > 0
    with JournalReader(tmp_path) as reader:
        pruned = reader.bounds()[Chain.RECORDER].pruned.sequence

    shown = run("journal", "verify", str(tmp_path), *options({Chain.RECORDER: noted["recorder"]}))

    assert shown.exit_code == 1
    assert f", or it is one of those up to {pruned}, which are pruned\n" in shown.stderr
    assert run("journal", "verify", str(tmp_path), *options(last)).exit_code == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["audit"], '--head was "audit", expected recorder=HASH or audit=HASH, a hash of 64 hexadecimal digits as'),
        (["audit="], '--head was "audit=", expected'),
        (["inputs=" + "0" * 64], '--head was "inputs=000'),
        (["audit=" + "0" * 63], "expected recorder=HASH or audit=HASH"),
        (["audit=" + "g" * 64], "expected recorder=HASH or audit=HASH"),
        (["audit=" + "0" * 64] * 2, "--head audit was given twice, expected one head per chain"),
    ],
)
def test_verify_when_a_head_is_malformed_then_the_message_says_what_was_expected(
    directory: Path, given: list[str], message: str
) -> None:
    result = run("journal", "verify", str(directory), *(word for head in given for word in ("--head", head)))

    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.replace("│", " ").split())
