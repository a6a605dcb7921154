"""Market data that came together: recorded in one record, and read, replayed and recovered as one by one."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from circuit_guard.core.facts import BreakerChanged, ObservationJudged
from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.journal.codec import CodecError, decode, encode
from circuit_guard.journal.reader import JournalReader
from circuit_guard.journal.record import (
    TAKEN_MAX,
    Entry,
    Kind,
    ObservationsTaken,
    Record,
    ReferencesTaken,
    input_entry,
    of_taken,
    taken_entries,
)
from circuit_guard.journal.recovery import recover
from circuit_guard.recording.journal_replay import replay_journal
from tests.core.test_invariants import plain
from tests.driver import BTC, ETH, INDEX, PRICE, START_NS, Driver
from tests.journal.conftest import Opened
from tests.recording.recorded_guard import FIRST, RecordedGuard

VENUES = ("binance", "bybit", "okx")


def publish(guard: Driver, seconds: int = 1, index: Decimal = INDEX) -> tuple[list[Reference], list[Observation]]:
    """Publish both markets as a feeder does: all references in one request, then both observations in one."""
    references, observations = list[Reference](), list[Observation]()
    for _ in range(seconds):
        guard.clock.advance(1)
        now_ns = guard.engine.now_ns()
        some = [Reference(now_ns, market, venue, now_ns, PRICE) for market in (BTC, ETH) for venue in VENUES]
        both = [
            Observation(now_ns, market, "exchange", 1, now_ns, now_ns, PRICE, PRICE, index) for market in (BTC, ETH)
        ]
        guard.engine.publish(some)
        guard.engine.publish(both)
        references += some
        observations += both
    return references, observations


def stored(directory: Path) -> list[Record]:
    with JournalReader(directory) as reader:
        return [record for record in reader.stored() if of_taken(record)]


async def test_records_when_data_came_together_then_each_item_is_read_as_an_input(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        references, observations = publish(guard, 3)
        await guard.engine.durable()

    with JournalReader(tmp_path) as reader:
        assert reader.verify().ok
        inputs = [decode(record.payload) for record in reader.records(kinds=(Kind.INPUT,))]
        of_one = [record for record in reader.records(kinds=(Kind.INPUT,)) if record.scope == ETH]
    assert len(stored(tmp_path)) == 6
    assert [one for one in inputs if isinstance(one, Reference)] == references
    assert [one for one in inputs if isinstance(one, Observation)] == observations
    assert len(of_one) == 3 * 3 + 3


async def test_journal_when_data_came_together_then_it_counts_what_a_start_would_run_again(opened: Opened) -> None:
    data = [Reference(START_NS, BTC, venue, START_NS, PRICE) for venue in VENUES]

    with opened() as journal:
        journal.taken(data, [])
        await journal.durable()
        status = journal.status()

    assert (status.last_sequence, status.taken_items) == (1, 3)


async def test_recovery_when_data_came_together_then_the_state_is_that_of_the_guard(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        publish(guard, 40)
        await guard.engine.durable()
        state = plain(guard.engine.state)

    recovered = recover(tmp_path)

    assert recovered is not None
    assert recovered.inputs == 40 * 8
    assert plain(recovered.state) == state


async def test_replay_when_data_came_together_then_decisions_are_the_same_bit_for_bit(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        publish(guard, 40)
        guard.decide(BTC)
        publish(guard, index=Decimal(0))
        guard.decide(BTC)
        await guard.engine.durable()

    replayed = replay_journal(tmp_path)

    assert replayed.identical
    assert (replayed.decisions, replayed.inputs) == (2, 41 * 8 + 2)


async def test_journal_when_data_change_a_breaker_then_that_comes_after_all_that_came_together(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        publish(guard, 40)
        now_ns = guard.engine.now_ns()
        both = [
            Observation(now_ns, market, "exchange", 1, now_ns + 1, now_ns, PRICE, PRICE, index)
            for market, index in ((BTC, Decimal(0)), (ETH, INDEX))
        ]
        happened = guard.engine.publish(both)
        await guard.engine.durable()

    assert [[type(fact) for fact in facts] for facts in happened] == [
        [ObservationJudged, BreakerChanged],
        [ObservationJudged],
    ]
    with JournalReader(tmp_path) as reader:
        assert [record.kind for record in reader.stored()][-2:] == [Kind.INPUT, Kind.FACT]


def references(count: int) -> list[Reference]:
    return [Reference(START_NS, BTC, VENUES[number % 3], START_NS - number, PRICE + number) for number in range(count)]


def test_entries_when_one_item_came_alone_then_it_is_recorded_as_by_earlier_versions() -> None:
    [one] = references(1)

    assert list(taken_entries([one])) == [input_entry(one)]


def test_entries_when_very_many_came_then_no_record_holds_more_than_the_bound() -> None:
    entries = list(taken_entries(references(TAKEN_MAX + 2)))

    assert [_count(entry) for entry in entries] == [TAKEN_MAX, 2]


def _count(entry: Entry) -> int:
    assert isinstance(entry.value, ReferencesTaken)
    return len(entry.value.items)


def test_record_when_a_column_is_the_same_throughout_then_it_is_written_once() -> None:
    written = encode(ReferencesTaken(tuple(references(2))))

    at, price = START_NS, PRICE
    columns = f'2,{at},"{BTC}",["binance","bybit"],[{at},{at - 1}],["{price}","{price + 1}"]'
    assert written == f'{{"ReferencesTaken":[{columns}]}}'


def test_record_when_values_are_equal_but_written_differently_then_each_is_kept_as_it_was() -> None:
    one, other = (Reference(START_NS, BTC, "okx", START_NS, Decimal(text)) for text in ("1.0", "1.00"))

    read = decode(encode(ReferencesTaken((one, other))))

    assert isinstance(read, ReferencesTaken)
    assert [str(item.price) for item in read.items] == ["1.0", "1.00"]


def test_record_when_it_lacks_the_columns_of_later_fields_then_they_have_their_defaults() -> None:
    item = Observation(START_NS, BTC, "exchange", 1, 2, START_NS, mark_price=PRICE)
    written = encode(ObservationsTaken((item, item)))

    assert decode(written.replace(",null]", "]")) == ObservationsTaken((item, item))


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("no list", '{"ReferencesTaken":1}'),
        ("no columns", '{"ReferencesTaken":[2]}'),
        ("too few of one column", '{"ReferencesTaken":[2,1,"A",["b"],1,"1"]}'),
        ("a number for a decimal", '{"ReferencesTaken":[2,1,"A","b",1,1]}'),
        ("a column too many", '{"ReferencesTaken":[2,1,"A","b",1,"1",1]}'),
        ("more than a record may hold", '{"ReferencesTaken":[1000000000,1,"A","b",1,"1"]}'),
        ("written otherwise", '{"ReferencesTaken":[2,1,"A",["b","b"],1,"1"]}'),
        ("no whole number of them", '{"ReferencesTaken":["2",1,"A","b",1,"1"]}'),
    ],
)
def test_record_when_it_is_not_one_that_was_written_then_that_is_said(what: str, text: str) -> None:
    with pytest.raises(CodecError, match="a recorded ReferencesTaken was"):
        decode(text)
