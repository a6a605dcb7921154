"""`journal show` and `journal export` at the command line, over journals that a real engine wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet
import pytest

from circuit_guard.core.inputs import Observation
from circuit_guard.journal.export import json_line
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.record import Kind, input_entry
from tests.cli.running import BTC, ETH, run
from tests.driver import START_NS
from tests.journal.builders import tamper
from tests.recording.recorded_guard import forge, read


def test_show_when_asked_for_nothing_special_then_the_last_records_are_lines(directory: Path) -> None:
    lines = run("journal", "show", str(directory)).stdout.splitlines()

    last = read(directory)[-50:]
    assert [int(line.split()[0]) for line in lines] == [record.sequence for record in last]
    assert [line.split()[3] for line in lines] == [record.kind for record in last]


@pytest.fixture(scope="module")
def all_shown(directory: Path) -> str:
    """Return what is printed of every record."""
    return run("journal", "show", str(directory), "--last", "10000").stdout


@pytest.mark.parametrize(
    "line",
    [
        "1 2026-01-19 00:00:00.000Z START      circuit_guard 0.0.1 starts on host-1 as process 4711",
        "INPUT      BTC-USD-PERP: observation of exchange, epoch 1, number 1: mark 92600, index 92600, funding index 2",
        "INPUT      BTC-USD-PERP: reference of kraken: 92600",
        ": check banded: LIQUIDATION of account-1, size -0.5, computed with mark 92600, funding index 20511\n",
        "INPUT      1 order to judge, in BTC-USD-PERP",
        "INPUT      alice halts ETH-USD-PERP: thin book",
        "INPUT      alice resumes ETH-USD-PERP: deep again",
        "INPUT      alice resets the breaker of BTC-USD-PERP: the index is right again",
        "INPUT      deploy sets phase POST_ONLY in GLOBAL: release",
        "INPUT      the guard restarted with the state it had",
        "FACT       ETH-USD-PERP: closures halted by alice: thin book",
        "FACT       command refused: markets was DOGE, expected markets that the policy names",
        "FACT       BTC-USD-PERP: market is warm: its closures are judged from now on",
        "FACT       BTC-USD-PERP: breaker CLOSED: reset by alice: the index is right again",
        "2026-01-19 00:00:09.000Z FACT       BTC-USD-PERP: breaker OPEN (denying), latched for funding_jump, until an",
        "DECISION   DENY BTC-USD-PERP: the breaker is latched (",
        "2 2026-01-19 00:00:00.000Z CHECKPOINT checkpoint of the state after record 1, SHA-256 ",
        "POLICY     policy ",
        " takes effect",
    ],
)
def test_show_when_all_is_shown_then_each_kind_has_its_words(all_shown: str, line: str) -> None:
    assert line in all_shown


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

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no record matches\n")


def test_show_when_what_was_asked_for_is_far_back_then_it_is_found(tmp_path: Path) -> None:
    with Journal(tmp_path, START_NS, JournalOptions()) as journal:
        for number in range(3_000):
            at_ns = START_NS + number * 10**9
            market = ETH if number == 300 else BTC
            journal.append([input_entry(Observation(at_ns, market, "exchange", 1, number, at_ns))])

    found = run("journal", "show", str(tmp_path), "--market", ETH).stdout
    since = run("journal", "show", str(tmp_path), "--since", "2026-01-19T00:06:40Z").stdout.splitlines()

    what = f"{ETH}: observation of exchange, epoch 1, number 300: no value"
    assert found == f"     301 2026-01-19 00:05:00.000Z INPUT      {what}\n"
    assert len(since) == 2_600


def test_show_when_a_record_is_of_a_newer_version_then_the_others_are_still_shown(own: Path) -> None:
    count = len(read(own))
    forge(own, lambda records: [*records[:-1], records[-1]._replace(payload='{"Verdictum":{}}')])

    lines = run("journal", "show", str(own)).stdout.splitlines()

    assert len(lines) == count
    assert "cannot be read: a payload was of type 'Verdictum'" in lines[-1]


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
