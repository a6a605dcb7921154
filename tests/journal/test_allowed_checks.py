"""Checks that permits allowed: recorded many in one record, and read, replayed and recovered as one by one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from circuit_guard.core.facts import DecisionMade
from circuit_guard.core.inputs import Check, HaltCommand
from circuit_guard.core.permit import Asked, check_of, decision_of
from circuit_guard.core.types import AllowedCheck, CheckKind, Phase
from circuit_guard.engine.engine import TOLD_AT_ONCE, TOLD_WITHIN_S
from circuit_guard.journal.codec import CodecError, decode, encode
from circuit_guard.journal.export import json_line
from circuit_guard.journal.options import JournalOptions, Overflow
from circuit_guard.journal.reader import JournalReader
from circuit_guard.journal.record import ChecksAllowed, Kind, allowed_entry, fact_entry, input_entry, of_allowed
from circuit_guard.journal.recovery import recover
from circuit_guard.journal.writer import EntryQueue
from circuit_guard.recording.journal_replay import replay_journal
from tests.core.test_invariants import plain
from tests.driver import BTC, ETH, INDEX, PRICE, Driver
from tests.recording.recorded_guard import FIRST, RecordedGuard


def asked(number: int, market: str = BTC, kind: CheckKind = CheckKind.LIQUIDATION) -> Asked:
    price, index = str(PRICE), str(INDEX)
    named = f"r{number}", f"a{number}", market
    return Asked(*named, kind, "-0.50", price, price, index, PRICE, PRICE, INDEX)


def allow(guard: Driver, *numbers: int) -> list[AllowedCheck]:
    found = [guard.engine.admit(asked(number, (BTC, ETH)[number % 2])) for number in numbers]
    return [one for one in found if one is not None]


def stored(directory: Path) -> list[Kind]:
    with JournalReader(directory) as reader:
        return [record.kind for record in reader.stored() if of_allowed(record)]


async def test_records_when_permits_allowed_then_each_check_is_read_as_question_and_decision(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(40, BTC, ETH)
        allowed = allow(guard, *range(20))
        await guard.engine.durable()

    assert len(allowed) == 20
    with JournalReader(tmp_path) as reader:
        assert reader.verify().ok
        questions = [decode(record.payload) for record in reader.records(kinds=(Kind.INPUT,))]
        decisions = [decode(record.payload) for record in reader.records(kinds=(Kind.DECISION,))]
        both = [record for record in reader.records() if record.scope == ETH and "r3" in record.payload]
    assert stored(tmp_path) == [Kind.DECISION]
    assert [one for one in questions if isinstance(one, Check)] == [check_of(one) for one in allowed]
    assert decisions == [DecisionMade(one.at_ns, decision_of(one)) for one in allowed]
    assert [record.kind for record in both] == [Kind.INPUT, Kind.DECISION]
    assert json.loads(json_line(both[1]))["value"]["DecisionMade"]["decision"]["account_id"] == "a3"


async def test_replay_when_permits_allowed_then_all_rules_decide_the_same_bit_for_bit(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(40, BTC, ETH)
        for second in range(5):
            allow(guard, *range(second * 10, second * 10 + 10))
            guard.run(1, BTC, ETH)
        guard.engine.step(HaltCommand(guard.engine.now_ns(), (BTC,), "alice", "a test", None))
        assert allow(guard, 100) == []
        await guard.engine.durable()

    replayed = replay_journal(tmp_path)

    assert replayed.identical
    assert replayed.decisions == 50


async def test_recovery_when_permits_allowed_then_the_state_is_that_of_the_guard(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(40, BTC, ETH)
        allow(guard, *range(7))
        guard.run(1, BTC)
        allow(guard, 7, 8)
        await guard.engine.durable()
        state = plain(guard.engine.state)

    recovered = recover(tmp_path)

    assert recovered is not None
    assert plain(recovered.state) == state
    assert list(recovered.state.allowed) == [f"r{number}" for number in range(9)]


async def test_journal_when_something_else_happens_then_what_was_allowed_before_it_comes_first(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(40, BTC, ETH)
        allow(guard, 1)
        guard.engine.step(HaltCommand(guard.engine.now_ns(), (), "alice", "a test", None))
        await guard.engine.durable()

    with JournalReader(tmp_path) as reader:
        kinds = ["allowed" if of_allowed(record) else record.kind for record in reader.stored()]
    assert kinds[-3:] == ["allowed", Kind.INPUT, Kind.FACT]


async def test_engine_when_only_permits_allow_then_it_is_recorded_within_milliseconds(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(40, BTC, ETH)
        allow(guard, 1, 2)
        assert stored(tmp_path) == []

        await asyncio.sleep(TOLD_WITHIN_S * 2)  # what the loop does by itself is what is tested
        await guard.engine.durable()

    assert stored(tmp_path) == [Kind.DECISION]


async def test_engine_when_very_many_are_allowed_then_a_record_holds_no_more_than_the_bound(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(40, BTC, ETH)
        kind = CheckKind.TRIGGER  # so many liquidations would be a burst
        for number in range(TOLD_AT_ONCE + 1):
            assert guard.engine.admit(asked(number, kind=kind)) is not None
        await guard.engine.durable()

    assert stored(tmp_path) == [Kind.DECISION, Kind.DECISION]


def test_queue_when_it_is_full_and_may_drop_decisions_then_those_of_permits_stay_for_they_are_inputs_too() -> None:
    queue = EntryQueue(JournalOptions(queue_max=2, overflow=Overflow.DROP), 0)
    made = DecisionMade(1, decision_of(decision(1)))
    queue.append([input_entry(check_of(decision(1)))] * 2)

    judged, permitted = queue.append([fact_entry(made)]), queue.append([allowed_entry([decision(2)])])

    assert (judged.dropped, permitted.dropped) == (1, 0)
    assert len(queue) == 3


def decision(number: int) -> AllowedCheck:
    one, texts = asked(number), ("-0.50", str(PRICE), str(PRICE), str(INDEX))
    named = one.request_id, one.account_id, one.market, one.kind
    return AllowedCheck(number, number, *named, *texts, Phase.OPEN, "r1")


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("no columns", '{"ChecksAllowed":[1,""]}'),
        ("no base64", '{"ChecksAllowed":[1,"!"]}'),
        ("no zlib", '{"ChecksAllowed":[1,"AAAA"]}'),
        ("no list", '{"ChecksAllowed":1}'),
        ("no count", '{"ChecksAllowed":["1",""]}'),
    ],
)
def test_record_when_it_is_not_one_that_was_written_then_that_is_said(what: str, text: str) -> None:
    with pytest.raises(CodecError, match="a recorded ChecksAllowed was"):
        decode(text)


def test_record_when_its_count_is_another_then_it_is_refused() -> None:
    written = encode(ChecksAllowed((decision(1), decision(2))))

    with pytest.raises(CodecError, match="it says that it holds 3 checks, and holds 2"):
        decode(written.replace("[2,", "[3,"))


def test_record_when_it_would_fill_the_memory_then_it_is_refused() -> None:
    named = decision(1)._replace(account_id="x" * 6_000_000)

    with pytest.raises(CodecError):
        decode(encode(ChecksAllowed((named,))))
