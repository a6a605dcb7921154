"""A journal run again: every recorded decision comes out once more, and a forged one is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from circuit_guard.core.facts import BreakerChanged, DecisionMade, Rebaselined
from circuit_guard.core.inputs import Baseline, Basis, RebaselineCommand
from circuit_guard.core.types import Verdict
from circuit_guard.journal.codec import decode, decode_as, encode
from circuit_guard.journal.errors import JournalUnusable, RecordBroken
from circuit_guard.journal.journal import Journal, prune
from circuit_guard.journal.options import JournalOptions, Overflow
from circuit_guard.journal.reader import JournalReader
from circuit_guard.journal.record import DecisionsDropped, Kind, Record
from circuit_guard.recording.journal_replay import replay_journal
from tests.driver import BTC, ETH, INDEX, PRICE, START_NS
from tests.journal.builders import Held, tamper
from tests.journal.test_journal import settled
from tests.recording.recorded_guard import FIRST, RecordedGuard, forge, read, record_story

QUEUE_MAX = 100
LATER = "UPDATE record SET at_ns = at_ns + 1 WHERE sequence = {}"


@pytest.fixture(name="directory")
async def _directory(tmp_path: Path) -> Path:
    """Return the journal of a bad day with a restart."""
    await record_story(tmp_path / "state")
    return tmp_path / "state"


def decisions(directory: Path) -> list[Record]:
    return [record for record in read(directory) if record.kind is Kind.DECISION]


def verifies(directory: Path) -> bool:
    with JournalReader(directory) as reader:
        return reader.verify().ok


def edited(sequence: int, before: str, after: str) -> Callable[[list[Record]], list[Record]]:
    def change(records: list[Record]) -> list[Record]:
        assert before in records[sequence - 1].payload
        records[sequence - 1] = records[sequence - 1]._replace(
            payload=records[sequence - 1].payload.replace(before, after, 1)
        )
        return records

    return change


def without(sequence: int) -> Callable[[list[Record]], list[Record]]:
    """Take a record out, and close the gap. (Checkpoints then cover another record; only the first one matters.)"""

    def change(records: list[Record]) -> list[Record]:
        left = [record for record in records if record.sequence != sequence]
        return [record._replace(sequence=number) for number, record in enumerate(left, start=1)]

    return change


def test_story_when_recorded_then_it_holds_what_the_replay_is_to_prove(directory: Path) -> None:
    made = [decode_as(DecisionMade, record.payload).decision for record in decisions(directory)]
    facts = [decode(record.payload) for record in read(directory) if record.kind is Kind.FACT]

    assert {decision.verdict for decision in made} == {Verdict.ALLOW, Verdict.DENY}
    assert any(isinstance(fact, BreakerChanged) and fact.latched for fact in facts)
    assert len({decision.policy_revision for decision in made}) == 3
    reasons = {finding.reason for decision in made for finding in decision.findings}
    assert {"operator_halt", "breaker_open", "outside_band", "warming"} <= reasons


def test_journal_when_untouched_then_every_decision_comes_out_again(directory: Path) -> None:
    result = replay_journal(directory)

    records = read(directory)
    first = next(record for record in records if record.kind is Kind.CHECKPOINT).sequence
    assert (result.identical, result.first_difference) == (True, None)
    assert (result.different, result.missing, result.cut_off) == (0, 0, 0)
    assert result.decisions == len(decisions(directory)) > 50
    assert result.inputs == sum(record.kind is Kind.INPUT for record in records)
    assert (result.covers, result.last_sequence) == (first - 1, len(records))
    assert result.versions == ["0.0.1"]


async def test_rebaseline_when_by_a_factor_or_by_every_value_then_it_is_run_again_from_its_record(
    tmp_path: Path,
) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(40, BTC, ETH)
        now_ns = guard.engine.now_ns()
        moved = (Baseline(ETH, Decimal("2.05"), now_ns, PRICE / 10, None, Decimal("0.07")),)
        guard.engine.step(RebaselineCommand(now_ns, (), "alice", "1 for 10", factor=Decimal(10), rescaled=(BTC,)))
        guard.engine.step(RebaselineCommand(now_ns, moved, "alice", "by value"))
        for _ in range(40):
            guard.clock.advance(1)
            guard.refer(BTC, PRICE * 10)
            guard.observe(BTC, mark_price=PRICE * 10, index_price=PRICE * 10, funding_index=INDEX * 10)
            guard.decide(BTC, basis=Basis(PRICE * 10, INDEX * 10), execution_price=PRICE * 10)

    result = replay_journal(tmp_path)
    told = [decode(record.payload) for record in read(tmp_path) if record.kind is Kind.FACT]
    verdicts = [decode_as(DecisionMade, record.payload).decision.verdict for record in decisions(tmp_path)]

    assert (result.identical, result.decisions) == (True, 40)
    assert [(fact.factor, fact.mark_after) for fact in told if isinstance(fact, Rebaselined)] == [
        (Decimal(10), PRICE * 10),
        (None, PRICE / 10),
    ]
    assert Verdict.ALLOW in verdicts


def test_digest_when_run_again_then_it_is_the_same(directory: Path, tmp_path: Path) -> None:
    digest = replay_journal(directory).digest

    assert replay_journal(directory).digest == digest
    assert len(digest) == 64


async def test_digest_when_recorded_again_then_it_is_the_same(directory: Path, tmp_path: Path) -> None:
    await record_story(tmp_path / "again")

    assert replay_journal(tmp_path / "again").digest == replay_journal(directory).digest


def test_progress_when_records_pass_then_it_is_told(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("circuit_guard.recording.journal_replay.RECORDS_BETWEEN_REPORTS", 100)
    told: list[tuple[int, int]] = []

    result = replay_journal(directory, lambda done, count: told.append((done, count)))

    count = result.last_sequence - result.covers
    assert [done for done, _ in told] == [100 * n - result.covers for n in range(1, result.last_sequence // 100 + 1)]
    assert {of for _, of in told} == {count}


@pytest.mark.parametrize(
    ("before", "after", "field", "recorded", "replayed"),
    [
        ('"verdict":"DENY"', '"verdict":"ALLOW"', "decision.verdict", '"ALLOW"', '"DENY"'),
        ('"account_id":"account-1"', '"account_id":"account-2"', "decision.account_id", '"account-2"', '"account-1"'),
        ('"reason":"warming"', '"reason":"data_stale"', "decision.findings[0].reason", '"data_stale"', '"warming"'),
        ('"repeated":false', '"repeated":true', "repeated", "true", "false"),
        ('"repeated":false', '"repeated":false,"note":1', "note", "1", "absent"),
        (',"repeated":false', "", "repeated", "absent", "false"),
    ],
)
def test_decision_when_forged_with_the_chain_made_anew_then_the_replay_finds_it(
    directory: Path, before: str, after: str, field: str, recorded: str, replayed: str
) -> None:
    sequence = next(record.sequence for record in decisions(directory) if '"warming"' in record.payload)
    digest = replay_journal(directory).digest

    forge(directory, edited(sequence, before, after))
    result = replay_journal(directory)

    assert verifies(directory), "the chain alone cannot tell"
    assert (result.identical, result.different, result.missing) == (False, 1, 0)
    assert result.first_difference is not None
    assert asdict(result.first_difference) == {
        "sequence": sequence,
        "field": field,
        "recorded": recorded,
        "replayed": replayed,
    }
    assert result.digest == digest, "of what the replay makes, not of what is recorded"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"at_ns": 5}, "at_ns"),
        ({"scope": "DOGE"}, "scope"),
        ({"payload": "no JSON"}, "payload"),
    ],
)
def test_record_when_its_head_or_text_is_forged_then_the_replay_finds_it(
    directory: Path, change: dict[str, Any], field: str
) -> None:
    sequence = decisions(directory)[3].sequence
    forge(directory, lambda records: [r._replace(**change) if r.sequence == sequence else r for r in records])

    found = replay_journal(directory).first_difference

    assert found is not None
    assert (found.sequence, found.field) == (sequence, field)


def test_decision_when_spelled_otherwise_then_it_is_not_the_same(directory: Path) -> None:
    sequence = decisions(directory)[3].sequence
    forge(directory, edited(sequence, '"repeated":false', '"repeated": false'))

    found = replay_journal(directory).first_difference

    assert found is not None
    assert (found.sequence, found.field) == (sequence, "payload")


def test_input_when_forged_then_the_decisions_after_it_tell(directory: Path) -> None:
    reset = next(r.sequence for r in read(directory) if r.kind is Kind.INPUT and '"funding_index":"0"' in r.payload)
    forge(directory, edited(reset, '"funding_index":"0"', '"funding_index":"20511"'))

    result = replay_journal(directory)

    assert verifies(directory)
    assert result.different > 10
    assert result.first_difference is not None
    assert result.first_difference.sequence > reset


def test_decision_when_taken_out_then_it_is_missing(directory: Path) -> None:
    sequence = decisions(directory)[5].sequence
    forge(directory, without(sequence))

    result = replay_journal(directory)

    assert verifies(directory)
    assert (result.identical, result.different, result.missing, result.cut_off) == (False, 0, 1, 0)
    assert result.first_difference is not None
    assert result.first_difference.recorded == "no decision"
    assert json.loads(result.first_difference.replayed)["DecisionMade"]["decision"]


def test_check_when_taken_out_then_its_decision_comes_from_nowhere(directory: Path) -> None:
    decided = decisions(directory)[5].sequence
    asked = max(r.sequence for r in read(directory)[:decided] if r.kind is Kind.INPUT)
    forge(directory, without(asked))

    result = replay_journal(directory)

    assert result.first_difference is not None
    found = result.first_difference
    assert (found.sequence, found.field, found.replayed) == (decided - 1, "decision", "no decision")


def test_records_when_one_cannot_be_run_again_then_it_is_named(directory: Path) -> None:
    halt = next(r for r in read(directory) if r.payload.startswith('{"HaltCommand"'))
    forge(directory, edited(halt.sequence, f'"at_ns":{halt.at_ns}', f'"at_ns":{START_NS - 1}'))

    with pytest.raises(JournalUnusable, match=f"record {halt.sequence} cannot be run again .InvariantViolated: at_ns"):
        replay_journal(directory)


def test_journal_when_plainly_edited_then_the_first_bad_record_is_named(directory: Path) -> None:
    sequence = decisions(directory)[3].sequence
    tamper(directory, LATER.format(sequence))

    with pytest.raises(RecordBroken, match=f"record {sequence} does not continue the audit chain"):
        replay_journal(directory)


async def test_decision_when_the_process_died_before_its_record_then_that_is_no_difference(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(5)
        guard.decide(BTC)
    forge(tmp_path, lambda records: records[:-1])

    result = replay_journal(tmp_path)
    assert (result.identical, result.decisions, result.cut_off, result.missing) == (True, 0, 1, 0)

    async with RecordedGuard(tmp_path, FIRST, after_s=10) as guard:
        guard.decide(BTC)
    result = replay_journal(tmp_path)
    assert (result.identical, result.decisions, result.cut_off, result.missing) == (True, 1, 1, 0)


async def test_journal_when_the_guard_still_runs_then_it_can_be_run_again(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(5)
        guard.decide(BTC)
        await guard.engine.checkpoint()
        result = replay_journal(tmp_path)

    assert (result.identical, result.decisions) == (True, 1)


async def test_journal_when_pruned_then_the_replay_starts_where_everything_after_it_is_kept(tmp_path: Path) -> None:
    await record_story(tmp_path, block_records=100)
    with Journal(tmp_path, START_NS, JournalOptions(block_records=100)) as journal:
        await settled(journal, tmp_path, blocks=3)
    everything = replay_journal(tmp_path)
    newest_ns = read(tmp_path)[-1].at_ns

    assert prune(tmp_path, START_NS, newest_ns, JournalOptions(inputs_kept_ns=0, bytes_max=0)) > 0
    result = replay_journal(tmp_path)

    with JournalReader(tmp_path) as reader:
        pruned = max(bounds.pruned.sequence for bounds in reader.bounds().values())
    assert everything.identical
    assert result.identical
    assert result.covers >= pruned > everything.covers
    assert 0 < result.decisions < everything.decisions


async def test_journal_when_it_has_no_checkpoint_then_that_is_said(tmp_path: Path) -> None:
    Journal(tmp_path, START_NS, JournalOptions()).close()

    with pytest.raises(JournalUnusable, match=r"no checkpoint after record 0, .* let the guard run until its next"):
        replay_journal(tmp_path)


def test_journal_when_there_is_none_then_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(JournalUnusable, match="there is no journal"):
        replay_journal(tmp_path)


def test_decision_when_encoded_again_then_it_is_the_recorded_text(directory: Path) -> None:
    for record in decisions(directory):
        assert encode(decode(record.payload)) == record.payload


# Under overflow = "drop"


@pytest.fixture(name="dropping")
async def _dropping(tmp_path: Path) -> Path:
    """Return a journal that dropped decisions: 3 of 6, then 2 of 3, with one recorded at the end of each."""
    recorded = RecordedGuard(tmp_path, FIRST, overflow=Overflow.DROP, queue_max=QUEUE_MAX)
    async with recorded as guard:
        guard.run(3)
        await guard.engine.durable()
        for kept, dropped in ((2, 3), (0, 2)):
            for number in range(kept):
                guard.decide(BTC, f"kept-{number}")
                await guard.engine.durable()
            with Held() as disk:
                await disk.hold(recorded.journal)
                recorded.fill(QUEUE_MAX)
                for number in range(dropped):
                    guard.decide(BTC, f"dropped-{dropped}-{number}")
            await guard.engine.durable()
            guard.decide(BTC, f"after-{dropped}")
            await guard.engine.durable()
    return tmp_path


def notes(directory: Path) -> list[object]:
    """Return how many were dropped, as the journal says it."""
    facts = [decode(record.payload) for record in read(directory) if record.kind is Kind.FACT]
    return [fact.count for fact in facts if isinstance(fact, DecisionsDropped)]


def test_decisions_when_dropped_then_the_journal_says_how_many_and_the_replay_counts_them(dropping: Path) -> None:
    result = replay_journal(dropping)

    assert notes(dropping) == [3, 2]
    assert (result.identical, result.first_difference) == (True, None)
    assert (result.decisions, result.different, result.missing, result.dropped, result.cut_off) == (4, 0, 5, 5, 0)
    assert result.as_json()["dropped"] == 5


@pytest.mark.parametrize("which", range(3))
def test_decision_when_removed_from_among_dropped_ones_then_it_is_one_too_many(dropping: Path, which: int) -> None:
    sequence = decisions(dropping)[which].sequence
    forge(dropping, without(sequence))

    result = replay_journal(dropping)

    assert verifies(dropping)
    assert (result.identical, result.missing, result.dropped) == (False, 6, 5)
    assert result.first_difference is not None
    assert result.first_difference.field == "decision"
