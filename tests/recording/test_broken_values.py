"""A recording with one value broken is refused by name, or the guard names what it found: hypothesis over the incident.

Each example breaks one line of a calm stretch and looks at what the guard says up to the market's next observation.
"""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuit_guard.config.policy import parse_policy_file
from circuit_guard.core.facts import DecisionMade, Fact, ObservationJudged, ReferenceJudged
from circuit_guard.core.guard import GuardState, decide, new_state, step
from circuit_guard.core.policy import Policy
from circuit_guard.evaluation.incident import incident
from circuit_guard.recording.format import (
    Entry,
    EntryParser,
    Fault,
    FieldError,
    LabelledCheck,
    entry_line,
    parse_header,
)
from circuit_guard.recording.replay import policy_for

CALM_FROM, CALM_UNTIL, LOOKED_AT = 320, 460, 80
"""The lines that are broken, and how many lines the guard sees from there: three publishing steps."""
EXAMPLES = 30


@dataclass(frozen=True, slots=True)
class Stretch:
    """The guard as it stands before each line of the calm stretch, and the lines."""

    policy: Policy
    lines: list[dict[str, Any]]
    states: dict[int, bytes]


def feed(state: GuardState, entry: Entry, policy: Policy) -> list[Fact]:
    if isinstance(entry, Fault):
        return []
    return decide(state, entry.check, policy) if isinstance(entry, LabelledCheck) else step(state, entry, policy)


def stretch_of_calm() -> Stretch:
    header, entries = incident()
    policy = policy_for(header, parse_policy_file("[classes.default]\n", "policy.toml"))
    state, states = new_state(policy, entries[0].at_ns), {}
    for number, entry in enumerate(entries[:CALM_UNTIL]):
        if number >= CALM_FROM:
            states[number] = pickle.dumps(state)
        feed(state, entry, policy)
    return Stretch(policy, [json.loads(json.dumps(entry_line(entry))) for entry in entries], states)


STRETCH = stretch_of_calm()


def reasons_after(number: int, lines: list[dict[str, Any]]) -> set[str]:
    """Return every reason the guard names from line `number` on; FieldError where a line is refused."""
    state: GuardState = pickle.loads(STRETCH.states[number])  # noqa: S301 - dumped by this module
    parser, found = EntryParser(), set()
    for line in lines:
        for fact in feed(state, parser.parse(json.dumps(line)), STRETCH.policy):
            if isinstance(fact, ObservationJudged | ReferenceJudged):
                found |= {str(finding.reason) for finding in fact.findings}
            elif isinstance(fact, DecisionMade):
                found |= {str(finding.reason) for finding in fact.decision.findings}
    return found


def seen_from(number: int) -> list[dict[str, Any]]:
    return copy.deepcopy(STRETCH.lines[number : number + LOOKED_AT])


def numbers_of(kind: str) -> st.SearchStrategy[int]:
    return st.sampled_from([n for n in range(CALM_FROM, CALM_UNTIL) if kind in STRETCH.lines[n]])


observations, references, checks = numbers_of("observation"), numbers_of("reference"), numbers_of("check")
factors = st.sampled_from([Decimal(text) for text in ("0.5", "0.85", "1.15", "2", "10", "1000", "1e6", "1e-6", "-1")])
small_factors = st.decimals(min_value="0.01", max_value="0.15", places=3).flatmap(
    lambda share: st.sampled_from([1 + share, 1 - share])
)


def test_guard_when_nothing_is_broken_then_finds_nothing() -> None:
    assert reasons_after(CALM_FROM, STRETCH.lines[CALM_FROM : CALM_UNTIL + LOOKED_AT]) == set()


def break_observation(number: int, change: Callable[[dict[str, Any]], None]) -> set[str]:
    lines = seen_from(number)
    change(lines[0]["observation"])
    return reasons_after(number, lines)


def scaled(key: str, factor: Decimal) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        body[key] = str(Decimal(body[key]) * factor)

    return change


@settings(max_examples=EXAMPLES)
@given(observations, factors | st.just(Decimal(0)) | small_factors)
def test_funding_index_when_broken_then_is_found(number: int, factor: Decimal) -> None:
    found = break_observation(number, scaled("funding_index", factor))
    assert found & {"funding_jump", "funding_step_unpredicted"}


@settings(max_examples=EXAMPLES)
@given(observations, factors | st.just(Decimal(0)))
def test_mark_price_when_broken_then_is_found(number: int, factor: Decimal) -> None:
    assert break_observation(number, scaled("mark_price", factor)) & {"mark_divergence", "price_not_positive"}


@settings(max_examples=EXAMPLES)
@given(observations, factors | st.just(Decimal(0)))
def test_index_price_when_broken_then_is_found(number: int, factor: Decimal) -> None:
    found = break_observation(number, scaled("index_price", factor))
    assert found & {"index_divergence", "price_not_positive", "funding_premium_mismatch"}


@settings(max_examples=EXAMPLES)
@given(observations, factors)
def test_funding_rate_or_premium_when_broken_then_is_found(number: int, factor: Decimal) -> None:
    for key in ("funding_rate", "funding_premium"):
        found = break_observation(number, scaled(key, factor))
        assert found & {"funding_rate_over_cap", "funding_premium_mismatch"}


@settings(max_examples=EXAMPLES)
@given(observations, st.integers(min_value=0, max_value=2**63 - 1).filter(lambda epoch: epoch != 1))
def test_epoch_when_broken_then_is_found(number: int, epoch: int) -> None:
    assert "epoch_interleaved" in break_observation(number, lambda body: body.update(epoch=epoch))


@settings(max_examples=EXAMPLES)
@given(observations, st.sampled_from([0, 1, 5, 10**6, 2**63 - 1]))
def test_feed_sequence_when_broken_then_is_found(number: int, sequence: int) -> None:
    found = break_observation(number, lambda body: body.update(feed_sequence=sequence))
    assert found & {"sequence_back", "sequence_conflict"}


@settings(max_examples=EXAMPLES)
@given(observations, st.sampled_from(["1970-01-01T00:00:00Z", "2026-01-19T04:27:00Z", "2027-01-01T00:00:00Z"]))
def test_event_time_when_broken_then_is_found(number: int, event_time: str) -> None:
    found = break_observation(number, lambda body: body.update(event_time=event_time))
    assert found & {"event_time_back", "data_stale", "future_stamp"}


@settings(max_examples=EXAMPLES)
@given(observations, st.sampled_from([market.removesuffix("-USD-PERP") for market in ("BTC", "ETH", "PAXG", "NEAR")]))
def test_market_of_an_observation_when_swapped_then_is_found(number: int, name: str) -> None:
    market = f"{name}-USD-PERP"
    if STRETCH.lines[number]["observation"]["market"] != market:
        assert "mark_divergence" in break_observation(number, lambda body: body.update(market=market))


@settings(max_examples=EXAMPLES)
@given(observations)
def test_market_of_an_observation_when_unknown_then_is_found(number: int) -> None:
    assert "unknown_market" in break_observation(number, lambda body: body.update(market="BTC-EUR-PERP"))


@settings(max_examples=EXAMPLES)
@given(observations, st.sampled_from(["mark_price", "funding_index"]))
def test_value_when_missing_then_is_found(number: int, key: str) -> None:
    assert "value_missing" in break_observation(number, lambda body: body.pop(key))


@settings(max_examples=EXAMPLES)
@given(references, factors.filter(lambda factor: not Decimal("0.5") < factor < 2))
def test_reference_price_when_broken_then_is_found(number: int, factor: Decimal) -> None:
    lines = seen_from(number)
    scaled("price", factor)(lines[0]["reference"])
    assert reasons_after(number, lines) & {"reference_outlier", "price_not_positive"}


@settings(max_examples=EXAMPLES)
@given(st.sampled_from(["mark_price", "funding_index"]), factors | st.just(Decimal(0)), st.data())
def test_basis_of_a_check_when_broken_then_is_denied_for_it(key: str, factor: Decimal, data: st.DataObject) -> None:
    number = data.draw(checks)
    lines = seen_from(number)[:1]
    scaled(key, factor)(lines[0]["check"]["basis"])
    assert reasons_after(number, lines) & {"basis_mark", "basis_funding"}


@settings(max_examples=EXAMPLES)
@given(st.integers(min_value=CALM_FROM, max_value=CALM_UNTIL - 2))
def test_lines_when_two_change_places_then_are_refused(number: int) -> None:
    lines = seen_from(number)[:2]
    if lines[0]["at"] != lines[1]["at"]:
        with pytest.raises(FieldError, match=r"^at was .* expected not before the line above it"):
            reasons_after(number, lines[::-1])


def leaves(body: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths of all values of a line that are not objects or lists."""
    paths = []
    for key, value in body.items():
        if isinstance(value, dict):
            paths += leaves(value, (*above, key))
        elif not isinstance(value, list):
            paths.append((*above, key))
    return paths


def put(line: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for key in path[:-1]:
        line = line[key]
    line[path[-1]] = value


garbage: st.SearchStrategy[object] = st.sampled_from(
    ["NaN", "-Infinity", "1e999999", "", "\x00", None, [], {}, 1.5, -1, True]
)


@settings(max_examples=5 * EXAMPLES)
@given(st.integers(min_value=CALM_FROM, max_value=CALM_UNTIL - 1), garbage, st.data())
def test_value_when_garbage_then_is_refused_by_its_path(number: int, value: object, data: st.DataObject) -> None:
    line = copy.deepcopy(STRETCH.lines[number])
    path = data.draw(st.sampled_from(leaves(line)))
    put(line, path, value)
    named = path[-1] in ("market", "source", "request_id", "account_id")
    if named and value in ("NaN", "-Infinity", "1e999999"):
        return  # a name like any other: the guard does not know it
    with pytest.raises(FieldError) as raised:
        EntryParser().parse(json.dumps(line))
    assert str(raised.value).startswith(".".join(path))


OPTIONAL = {"mark_price", "index_price", "funding_index", "funding_rate", "funding_premium", "execution_price", "label"}


@settings(max_examples=2 * EXAMPLES)
@given(st.integers(min_value=CALM_FROM, max_value=CALM_UNTIL - 1), st.data())
def test_required_field_when_missing_then_is_refused_by_its_path(number: int, data: st.DataObject) -> None:
    line = copy.deepcopy(STRETCH.lines[number])
    paths = [path for path in leaves(line) if path[-1] not in OPTIONAL]
    path = data.draw(st.sampled_from(paths))
    body = line
    for key in path[:-1]:
        body = body[key]
    del body[path[-1]]
    first = next(line for line in STRETCH.lines if "observation" in line)
    parser = EntryParser()
    parser.parse(json.dumps(first))
    with pytest.raises(FieldError) as raised:
        parser.parse(json.dumps(line))
    assert str(raised.value).startswith(f"{'.'.join(path)} is missing, expected ")


def test_header_when_any_value_is_garbage_then_is_refused() -> None:
    header = {"circuit_guard_recording": 1, "funding_period_s": 28800, "funding_gap_mode": "accrue", "markets": {}}
    for key in header:
        values: tuple[object, ...] = ("NaN", "", None, [], 1.5, -1, True)
        for value in values:
            with pytest.raises(FieldError, match=key):
                parse_header(json.dumps({**header, key: value}))
