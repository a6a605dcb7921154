"""`replay --journal` at the command line, over journals that a real engine wrote."""

from __future__ import annotations

import json
from pathlib import Path

from circuit_guard.journal.options import Overflow
from circuit_guard.journal.record import Kind
from tests.cli.running import BTC, run
from tests.journal.builders import Held
from tests.recording.recorded_guard import FIRST, RecordedGuard, forge, read

QUEUE_MAX = 100


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
    assert "1 inputs are the last before a stop; their decisions were not recorded\n" in cut.stdout
    assert missing.exit_code == 1
    assert "0 decisions compared, 0 different, 1 missing\n" in missing.stdout
    assert "1 are missing unexplained: removed, or dropped just before the process was killed\n" in missing.stdout


async def test_replay_when_decisions_were_dropped_then_the_journal_says_so_and_that_is_no_difference(
    tmp_path: Path,
) -> None:
    recorded = RecordedGuard(tmp_path, FIRST, overflow=Overflow.DROP, queue_max=QUEUE_MAX)
    async with recorded as guard:
        guard.run(5)
        with Held() as disk:
            await disk.hold(recorded.journal)
            recorded.fill(QUEUE_MAX)
            guard.decide(BTC)

    shown, report = run("replay", "--journal", str(tmp_path)), run("replay", "--journal", str(tmp_path), "--json")

    assert (shown.exit_code, report.exit_code) == (0, 0)
    assert "0 decisions compared, 0 different, 1 missing\n" in shown.stdout
    assert '1 of the missing were dropped under overflow = "drop"; the journal says so\n' in shown.stdout
    assert (json.loads(report.stdout)["missing"], json.loads(report.stdout)["dropped"]) == (1, 1)
    assert "1 decision before this not recorded: the disk was too slow" in (
        run("journal", "show", str(tmp_path)).stdout
    )
