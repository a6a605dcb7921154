"""Whatever is done to one value of a good policy: it loads, or PolicyError says what is wrong. Never anything else."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from circuit_guard.config.policy import check_policy, parse_policy, policy_json_schema
from circuit_guard.core.policy import Policy
from circuit_guard.errors import PolicyError

TEXT = (Path(__file__).parents[2] / "config" / "policy.toml").read_text(encoding="utf-8")
GOOD = tomllib.loads(TEXT)
SCHEMA = Draft202012Validator(policy_json_schema())


def places(value: object, keys: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the keys of every value and table below the top."""
    if keys:
        yield keys
    if isinstance(value, dict):
        for key, below in value.items():
            yield from places(below, (*keys, key))


PLACES = sorted(places(GOOD))
SCALARS = (
    st.integers()
    | st.integers(-5, 100)
    | st.floats()
    | st.booleans()
    | st.decimals().map(str)
    | st.decimals(min_value=0, max_value=2, places=4).map(str)
    | st.text(max_size=80)
    | st.sampled_from(["default", "major", "accrue", "denied", "operator", "reset", "band", "exchange", "0", "GLOBAL"])
    | st.sampled_from([date(2026, 1, 19), time(5, 2), datetime(2026, 1, 19, 5, 2, tzinfo=UTC)])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
)


def policy_or_message(document: dict[str, Any]) -> Policy | str:
    try:
        return check_policy(document, "policy.toml").policy()
    except PolicyError as error:
        return str(error)


def table_above(document: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    for key in keys[:-1]:
        document = document[key]
    return document


@pytest.mark.system
@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PLACES), VALUES)
def test_policy_when_one_value_is_replaced_then_it_loads_or_is_refused(keys: tuple[str, ...], value: object) -> None:
    document = copy.deepcopy(GOOD)
    table_above(document, keys)[keys[-1]] = value
    before = copy.deepcopy(document)
    outcome = policy_or_message(document)
    assert repr(document) == repr(before), "judging a document must not change it"
    if isinstance(outcome, Policy):
        SCHEMA.validate(document)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(PLACES), st.text(max_size=20), VALUES)
def test_policy_when_one_key_is_added_then_it_loads_or_is_refused(
    keys: tuple[str, ...], name: str, value: object
) -> None:
    document = copy.deepcopy(GOOD)
    table_above(document, keys)[name] = value
    assert policy_or_message(document)


def test_policy_when_one_value_is_left_out_then_it_loads_or_is_refused() -> None:
    for keys in PLACES:
        document = copy.deepcopy(GOOD)
        del table_above(document, keys)[keys[-1]]
        assert policy_or_message(document)


@pytest.mark.system
@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(TEXT)), st.integers(0, 30), st.text(max_size=6) | st.sampled_from(["\n", '"', "[", "=", "#"]))
def test_policy_when_the_text_is_damaged_then_it_loads_or_is_refused(start: int, length: int, inserted: str) -> None:
    with suppress(PolicyError):
        assert parse_policy(TEXT[:start] + inserted + TEXT[start + length :], "policy.toml").revision
