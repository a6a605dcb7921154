"""MarketDataService: what is published over gRPC, item by item."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from circuit_guard.v1 import market_data_pb2, types_pb2
from tests.driver import BTC, REFERENCE_SOURCES
from tests.server.harness import BATCH_MAX, Harness, check, refused

ACCEPTED = market_data_pb2.PUBLISH_STATUS_ACCEPTED
REJECTED = market_data_pb2.PUBLISH_STATUS_REJECTED
REFUSED = market_data_pb2.PUBLISH_STATUS_REFUSED

BOUNDED_TEXT = "1 to 128 printable characters without space around them"
DECIMAL = "a decimal of at most 40 digits, for instance 92600.5"
FINITE = "a finite decimal of at most 40 digits and a magnitude within 1e-30 .. 1e30"
COUNT = "a whole number, 0 or more"
YEARS = "a time of the years 1 to 9999 with 0 to 999999999 nanos"

MALFORMED_IN_BOTH: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("market missing", {"market": ""}, "market", "", BOUNDED_TEXT),
    ("market huge", {"market": "x" * 129}, "market", "x" * 77 + "...", BOUNDED_TEXT),
    ("market with a control character", {"market": "BTC\x00"}, "market", "BTC\x00", BOUNDED_TEXT),
    ("source missing", {"source": ""}, "source", "", BOUNDED_TEXT),
    ("source huge", {"source": "x" * 129}, "source", "x" * 77 + "...", BOUNDED_TEXT),
    ("event time missing", {"event_time": None}, "event_time", "", "a time"),
    (
        "event time beyond year 9999",
        {"event_time": Timestamp(seconds=253_402_300_800)},
        "event_time",
        "253402300800 s + 0 ns",
        YEARS,
    ),
    (
        "event time before year 1",
        {"event_time": Timestamp(seconds=-62_135_596_801)},
        "event_time",
        "-62135596801 s + 0 ns",
        YEARS,
    ),
    ("event time with negative nanos", {"event_time": Timestamp(nanos=-1)}, "event_time", "0 s + -1 ns", YEARS),
    (
        "event time with a second of nanos",
        {"event_time": Timestamp(nanos=10**9)},
        "event_time",
        "0 s + 1000000000 ns",
        YEARS,
    ),
]
PERIOD = "seconds, above 0 and at most 31622400"
MALFORMED_OBSERVATIONS: list[tuple[str, dict[str, Any], str, str, str]] = [
    *MALFORMED_IN_BOTH,
    ("epoch missing", {"epoch": None}, "epoch", "", COUNT),
    ("epoch negative", {"epoch": -1}, "epoch", "-1", COUNT),
    ("feed sequence missing", {"feed_sequence": None}, "feed_sequence", "", COUNT),
    ("feed sequence negative", {"feed_sequence": -(2**63)}, "feed_sequence", str(-(2**63)), COUNT),
    *(
        (f"{name} {problem}", {name: text}, name, text, DECIMAL)
        for name in ("mark_price", "index_price", "funding_index", "funding_rate", "funding_premium")
        for problem, text in (("text", "none"), ("of 41 digits", "9" * 41), ("with a huge exponent", "1e9999999"))
    ),
    ("funding period of 0 s", {"funding_period_s": "0"}, "funding_period_s", "0", PERIOD),
    ("funding period of two years", {"funding_period_s": "63072000"}, "funding_period_s", "63072000", PERIOD),
    ("funding cap NaN", {"funding_rate_max": "NaN"}, "funding_rate_max", "NaN", FINITE),
    ("funding cap of text", {"funding_rate_max": "2 %"}, "funding_rate_max", "2 %", DECIMAL),
]
MALFORMED_REFERENCES: list[tuple[str, dict[str, Any], str, str, str]] = [
    *MALFORMED_IN_BOTH,
    ("price missing", {"price": ""}, "price", "", FINITE),
    ("price NaN", {"price": "NaN"}, "price", "NaN", FINITE),
    ("price infinite", {"price": "Infinity"}, "price", "Infinity", FINITE),
    ("price absurd", {"price": "1e999999"}, "price", "1e999999", FINITE),
    ("price tiny", {"price": "1e-31"}, "price", "1e-31", FINITE),
    ("price text", {"price": "much"}, "price", "much", DECIMAL),
]


def table(rows: list[tuple[str, dict[str, Any], str, str, str]]) -> Callable[[Any], Any]:
    names = ("changes", "field", "value", "expected")
    return pytest.mark.parametrize(names, [row[1:] for row in rows], ids=[row[0] for row in rows])


@table(MALFORMED_OBSERVATIONS)
async def test_observation_when_a_field_is_malformed_then_it_alone_is_refused_by_name(
    guard: Harness, changes: dict[str, Any], field: str, value: str, expected: str
) -> None:
    before = guard.state()

    [alone] = await guard.observe(guard.observation(**changes))

    assert guard.state() == before
    assert alone.status == REFUSED
    assert alone.error.reason == "MALFORMED_REQUEST"
    assert (alone.error.field, alone.error.value, alone.error.expected) == (f"observations[0].{field}", value, expected)
    assert alone.error.message.startswith(f"observations[0].{field} was ")
    guard.driver.clock.advance(1)
    between = await guard.observe(
        guard.observation(), guard.observation(**changes), guard.observation(feed_sequence=42)
    )
    assert [result.status for result in between] == [ACCEPTED, REFUSED, ACCEPTED]
    assert between[1].error.field == f"observations[1].{field}"


@table(MALFORMED_REFERENCES)
async def test_reference_when_a_field_is_malformed_then_it_alone_is_refused_by_name(
    guard: Harness, changes: dict[str, Any], field: str, value: str, expected: str
) -> None:
    before = guard.state()

    [alone] = await guard.refer(guard.reference(**changes))

    assert guard.state() == before
    assert alone.status == REFUSED
    assert (alone.error.field, alone.error.value, alone.error.expected) == (f"references[0].{field}", value, expected)
    between = await guard.refer(guard.reference(), guard.reference(**changes), guard.reference(source="kraken"))
    assert [result.status for result in between] == [ACCEPTED, REFUSED, ACCEPTED]


@pytest.mark.parametrize("count", [0, BATCH_MAX + 1])
async def test_batch_when_there_are_none_or_too_many_then_it_is_refused_whole(guard: Harness, count: int) -> None:
    before = guard.state()
    expected = {"value": f"{count} items", "expected": f"1 to {BATCH_MAX} items"}

    code, info, _ = await refused(guard.observe(*[guard.observation()] * count))
    code_of_references, info_of_references, _ = await refused(guard.refer(*[guard.reference()] * count))

    assert code == code_of_references == grpc.StatusCode.INVALID_ARGUMENT
    assert dict(info.metadata) == expected | {"field": "observations"}
    assert dict(info_of_references.metadata) == expected | {"field": "references"}
    assert guard.state() == before


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mark_price": "NaN"}, "not_a_number"),
        ({"mark_price": "-nan"}, "not_a_number"),
        ({"index_price": "Infinity"}, "not_a_number"),
        ({"funding_index": "-inf"}, "not_a_number"),
        ({"funding_index": "1e999999"}, "value_absurd"),
        ({"funding_rate": "1e-999999"}, "value_absurd"),
        ({"mark_price": "9.999999999999999999999999999999999999999e999999"}, "value_absurd"),
        ({"mark_price": "0"}, "price_not_positive"),
        ({"index_price": "-1"}, "price_not_positive"),
        ({"funding_index": "0"}, "funding_jump"),
        ({"feed_sequence": 3}, "sequence_conflict"),
        ({"epoch": 0}, "epoch_interleaved"),
        ({"feed_sequence": 40, "mark_price": "92601"}, "sequence_conflict"),
    ],
)
async def test_observation_when_the_feed_says_the_impossible_then_it_is_rejected_and_the_market_latches(
    guard: Harness, changes: dict[str, Any], reason: str
) -> None:
    guard.driver.clock.advance(1)

    [result] = await guard.observe(guard.observation(**changes))
    decision = await guard.decide(check())

    assert result.status == REJECTED
    assert (reason, types_pb2.SEVERITY_LATCH) in {(finding.reason, finding.severity) for finding in result.findings}
    assert decision.verdict == types_pb2.VERDICT_DENY
    assert decision.breaker == types_pb2.BREAKER_STATE_OPEN
    assert reason in {finding.reason for finding in decision.findings}


async def test_observations_when_their_order_is_reversed_then_the_late_one_changes_nothing(guard: Harness) -> None:
    guard.driver.clock.advance(2)
    late, early = guard.observation(feed_sequence=41, event_time=guard.time(-1)), guard.observation(feed_sequence=42)

    first, second = await guard.observe(early, late)

    assert (first.status, second.status) == (ACCEPTED, ACCEPTED)
    assert [finding.reason for finding in second.findings] == ["sequence_late"]


@pytest.mark.parametrize(
    ("ahead_s", "reason"), [(3600, "future_stamp"), (-3600, "event_time_back"), (-1_768_780_800, "event_time_back")]
)
async def test_observation_when_its_time_is_far_from_now_then_it_is_rejected(
    guard: Harness, ahead_s: float, reason: str
) -> None:
    guard.driver.clock.advance(1)

    [result] = await guard.observe(guard.observation(event_time=guard.time(ahead_s)))

    assert result.status == REJECTED
    assert reason in {finding.reason for finding in result.findings}


@pytest.mark.parametrize(
    ("changes", "reason"), [({"market": "DOGE-USD-PERP"}, "unknown_market"), ({"source": "mirror"}, "unknown_source")]
)
async def test_observation_when_it_is_of_no_known_feed_then_it_is_rejected_and_changes_nothing(
    guard: Harness, changes: dict[str, Any], reason: str
) -> None:
    before = guard.state()

    [result] = await guard.observe(guard.observation(**changes))

    assert (result.status, [finding.reason for finding in result.findings]) == (REJECTED, [reason])
    assert guard.state() == before


async def test_observation_when_it_is_sent_again_then_it_gets_the_same_answer_marked_redelivered(
    guard: Harness,
) -> None:
    guard.driver.clock.advance(1)

    first, again = await guard.observe(guard.observation(), guard.observation())

    assert (first.status, first.redelivered) == (ACCEPTED, False)
    assert (again.status, again.redelivered) == (ACCEPTED, True)


async def test_observation_when_a_value_is_missing_then_it_is_accepted_with_a_warning(guard: Harness) -> None:
    guard.driver.clock.advance(1)

    [result] = await guard.observe(guard.observation(funding_index=""))

    assert result.status == ACCEPTED
    [warning] = result.findings
    assert (warning.reason, warning.subject) == ("value_missing", "funding_index")
    assert (warning.severity, warning.observed) == (types_pb2.SEVERITY_WARN, "not given")
    assert guard.engine.state.markets[BTC].trusted.funding_index == 20_511, "empty is not zero"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"market": "DOGE-USD-PERP"}, "unknown_market"),
        ({"price": "0"}, "price_not_positive"),
        ({"price": "-92600"}, "price_not_positive"),
    ],
)
async def test_reference_when_it_cannot_count_then_it_is_rejected_with_its_finding(
    guard: Harness, changes: dict[str, Any], reason: str
) -> None:
    [result] = await guard.refer(guard.reference(**changes))

    assert (result.status, [finding.reason for finding in result.findings]) == (REJECTED, [reason])


@pytest.mark.parametrize(
    ("ahead_s", "reason"), [(3600, "future_stamp"), (-3600, "data_stale"), (-1_768_780_800, "data_stale")]
)
async def test_reference_when_its_time_is_far_from_now_then_it_is_rejected(
    guard: Harness, ahead_s: float, reason: str
) -> None:
    [result] = await guard.refer(guard.reference(event_time=guard.time(ahead_s)))

    assert (result.status, [finding.reason for finding in result.findings]) == (REJECTED, [reason])


async def test_references_when_they_are_honest_then_they_are_accepted(guard: Harness) -> None:
    guard.driver.clock.advance(1)

    results = await guard.refer(*(guard.reference(source=source, price="92610.5") for source in REFERENCE_SOURCES))

    assert [result.status for result in results] == [ACCEPTED] * len(REFERENCE_SOURCES)
    status = guard.engine.status()
    assert str(next(market.reference_price for market in status.markets if market.market == BTC)) == "92610.5"
