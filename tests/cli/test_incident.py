"""`incident report` as somebody on call types it, and the journal that `replay --journal-out` leaves for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from circuit_guard.cli.incident import _time_ns
from circuit_guard.core.types import SECOND_NS
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from tests.cli.running import Guard, run
from tests.driver import START_NS
from tests.journal.builders import tamper
from tests.report.recorded import BUNDLED, ROOT

FROM, TO = "2026-01-19T04:27:00Z", "2026-01-19T05:42:00+01:00"
NAME = "incident-20260119T042700Z-20260119T044200Z"


@pytest.fixture(name="policy", scope="module")
def _policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundled policy, in shadow."""
    path = tmp_path_factory.mktemp("policy") / "policy.toml"
    path.write_text((ROOT / "config" / "policy.toml").read_text().replace("shadow = false", "shadow = true", 1))
    return path


@pytest.fixture(name="state", scope="module")
def _state(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the journal that a replay of the bundled incident leaves."""
    directory = tmp_path_factory.mktemp("journal") / "state"
    done = run("replay", str(BUNDLED), "--policy", str(policy), "--journal-out", str(directory), "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["labelled"]["wrongful"] == {"allow": 54, "allow_on_retry": 0, "deny": 0}
    return directory


def report(state: Path, out: Path, *arguments: str, window: Sequence[str] = (FROM, TO)) -> tuple[int, str]:
    """Return the exit code, and what was printed."""
    begins, ends = window
    done = run(
        "incident", "report", "--from", begins, "--to", ends, "--journal", str(state), "--out", str(out), *arguments
    )
    return done.exit_code, done.output


def test_report_when_asked_for_then_three_files_are_there_and_the_answer_says_what_happened(
    state: Path, tmp_path: Path
) -> None:
    code, printed = report(state, tmp_path)

    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{NAME}{suffix}" for suffix in (".csv", ".html", ".md")
    ]
    lines = printed.splitlines()
    assert lines[0].startswith(
        "On 19 January 2026, from 04:33:00 to 04:35:00 (UTC), the exchange published values that"
    )
    assert "wrongful and allowed: 54 closures of 54 accounts, 385,329.76 lost" in lines
    assert "wrongful and denied: 0 closures of 0 accounts, 0.00 spared" in lines
    assert str(tmp_path / f"{NAME}.md") in lines
    assert "| wrongful, allowed | 54 | 54 | 385,329.76 lost |" in (tmp_path / f"{NAME}.md").read_text()
    assert (tmp_path / f"{NAME}.html").read_text().startswith("<!doctype html>")
    assert len((tmp_path / f"{NAME}.csv").read_text().splitlines()) == 55


def test_report_when_json_then_is_one_document_with_the_files(state: Path, tmp_path: Path) -> None:
    code, printed = report(state, tmp_path, "--json")

    found = json.loads(printed)
    assert code == 0
    assert found["closures"]["wrongful"]["allowed"]["loss"] == "385329.76"
    assert found["files"]["ledger"] == str(tmp_path / f"{NAME}.csv")
    assert set(found["journal"]["heads"]) == {"recorder", "audit"}


def test_report_when_a_file_is_there_then_it_is_kept_unless_forced(state: Path, tmp_path: Path) -> None:
    there = tmp_path / f"{NAME}.csv"
    there.write_text("mine")

    code, printed = report(state, tmp_path)

    assert (code, there.read_text(), len(list(tmp_path.iterdir()))) == (1, "mine", 1)
    assert f"{tmp_path} has {NAME}.csv already; --force replaces them" in printed
    assert report(state, tmp_path, "--force")[0] == 0
    assert there.read_text().startswith("account_id,")


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (("2026-01-19", TO), '--from was "2026-01-19", which names no zone; expected a time with its zone as ISO 8601'),
        (("2026-01-19T04:27:00", TO), "which names no zone"),
        (("half past four", TO), '--from was "half past four", expected a time with its zone as ISO 8601'),
        ((FROM, "2026-13-19T04:27:00Z"), '--to was "2026-13-19T04:27:00Z", expected a time'),
        ((FROM, FROM), f"--to was {FROM}, expected a time after --from, which was {FROM}"),
        ((FROM, "1969-12-31T23:00:00Z"), "expected a time after --from"),
    ],
)
def test_report_when_a_time_cannot_be_used_then_says_which_and_what_was_expected(
    state: Path, tmp_path: Path, window: tuple[str, str], message: str
) -> None:
    code, printed = report(state, tmp_path, window=window)

    assert code == 2
    assert message in " ".join(printed.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "seconds", "rest_ns"),
    [
        ("2026-01-19T04:33:00Z", 1_768_797_180, 0),
        ("2026-01-19T05:33:00+01:00", 1_768_797_180, 0),
        ("2026-01-18T22:33:00-06:00", 1_768_797_180, 0),
        ("2026-01-19 04:33:00.228000001Z", 1_768_797_180, 228_000_001),
        ("2026-01-19T04:33:00,5+00:00", 1_768_797_180, 500_000_000),
        ("20260119T043300Z", 1_768_797_180, 0),
    ],
)
def test_time_when_iso_8601_with_a_zone_then_is_read_to_the_nanosecond(text: str, seconds: int, rest_ns: int) -> None:
    assert _time_ns("--from", text) == seconds * SECOND_NS + rest_ns


def test_report_when_the_window_is_empty_then_says_when_the_journal_has_records(state: Path, tmp_path: Path) -> None:
    code, printed = report(state, tmp_path, window=("2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z"))

    assert code == 1
    assert f"{state}: no record is from 2027-01-01T00:00:00Z to 2027-01-02T00:00:00Z; the journal has those" in printed
    assert list(tmp_path.iterdir()) == []


def test_report_when_there_is_no_journal_then_says_so(tmp_path: Path) -> None:
    code, printed = report(tmp_path / "none", tmp_path)

    assert code == 2
    assert "none/journal.db: there is no journal; name the state directory of a guard" in printed


def test_report_when_the_journal_is_no_journal_then_says_so(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database" * 1000)

    code, printed = report(tmp_path, tmp_path)

    assert code == 2
    assert "it is damaged or no journal" in printed


def test_report_when_a_record_is_damaged_then_names_it(policy: Path, tmp_path: Path) -> None:
    run("replay", str(BUNDLED), "--policy", str(policy), "--journal-out", str(tmp_path / "state"))
    tamper(tmp_path / "state", "UPDATE record SET payload = replace(payload, '92', '93') WHERE sequence = 500")

    code, printed = report(tmp_path / "state", tmp_path)

    assert code == 2
    assert "record 500 does not continue the recorder chain" in printed


def test_report_when_the_journal_is_empty_then_says_what_to_wait_for(tmp_path: Path) -> None:
    Journal(tmp_path, START_NS, JournalOptions()).close()

    code, printed = report(tmp_path, tmp_path)

    assert code == 1
    assert f"{tmp_path}: the journal has no checkpoint to begin with; let the guard run until its next one" in printed


def test_report_when_out_is_no_directory_then_says_so(state: Path, tmp_path: Path) -> None:
    code, printed = report(state, tmp_path / "none")

    assert code == 2
    assert f"--out was {tmp_path / 'none'}, expected a directory that exists" in printed


def test_report_when_out_cannot_be_written_then_says_so(state: Path) -> None:
    code, printed = report(state, Path("/proc"))

    assert code == 2
    assert f"/proc/{NAME}.md: cannot be written (" in printed
    assert "name a writable directory with --out" in printed


def test_report_when_the_guard_is_running_then_it_is_reported_and_goes_on(recorded: Guard, tmp_path: Path) -> None:
    recorded.latch()
    out = tmp_path / "out"
    out.mkdir()

    code, printed = report(
        recorded.state_directory, out, "--json", window=("2026-01-01T00:00:00Z", "2100-01-01T00:00:00Z")
    )

    assert code == 0
    found = json.loads(printed)
    assert [row["reason"] for row in found["first_corrupt"]] == ["funding_jump"]
    assert {held["scope"] for held in found["reconcile"]["held"]} >= {"BTC-USD-PERP"}
    assert recorded.run("status", "--json").exit_code == 0


def test_incident_when_asked_for_help_then_names_its_options() -> None:
    printed = run("incident", "report", "--help").stdout
    for option in ("--from", "--to", "--journal", "--out", "--force", "--json"):
        assert option in printed


def test_journal_out_when_there_is_a_journal_then_it_is_left_alone(state: Path, policy: Path) -> None:
    done = run("replay", str(BUNDLED), "--policy", str(policy), "--journal-out", str(state))

    assert done.exit_code == 2
    assert "there is a journal already; name another directory" in done.output


def test_journal_out_when_several_recordings_are_given_then_is_refused(policy: Path, tmp_path: Path) -> None:
    done = run("replay", str(BUNDLED), str(BUNDLED), "--policy", str(policy), "--journal-out", str(tmp_path / "state"))

    assert done.exit_code == 2
    assert "--journal-out takes one recording, FILES were 2" in " ".join(done.output.split())
    assert not (tmp_path / "state").exists()


def test_journal_out_when_the_journal_is_run_again_then_it_is_identical(state: Path) -> None:
    done = run("replay", "--journal", str(state), "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["identical"] is True
