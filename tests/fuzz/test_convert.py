"""Requests of every kind, each field valid, odd or absent: converted, judged, recorded and answered, or WireError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from circuit_guard.core.types import SECOND_NS
from fuzz import story
from fuzz.targets import convert
from tests.fuzz.deterministic import examples

NOW_S = story.warm().now_ns // SECOND_NS
TEXTS = st.sampled_from(
    [
        *story.MARKETS,
        *("GLOBAL", "exchange", "binance", "alice", "r-1", "r-2", "92600.5", "-0.5", "21.40", "0.01", "1", "0"),
        *("NaN", "sNaN", "-Infinity", "1e30", "1e-30", "-1e30", "1e999999", "9" * 40, "-0", "0e-999999"),
        *("", " ", "\u202e", "\ud7ff", "é" * 64, "x" * 128, "x" * 129, "1_0", "\u0661"),
    ]
)
WHOLE = st.sampled_from([0, 1, 2, 3, 7, 99, 2**31 - 1])
LARGE = st.sampled_from([0, 1, 5, 10**6, 2**63 - 1])
SECONDS = st.sampled_from([NOW_S, NOW_S + 1, NOW_S - 40, 0, -1, 60, 7 * 86_400, 253_402_300_799, -(2**62), 2**62])
REPEATED_MAX = 3


def messages(kind: type[Message]) -> st.SearchStrategy[Any]:
    """Return messages of a kind with any of its fields."""
    fields: Sequence[Any] = kind.DESCRIPTOR.fields
    optional = {field.name: _repeated(field) if field.is_repeated else _one(field) for field in fields}
    return st.fixed_dictionaries({}, optional=optional).map(lambda given_: kind(**given_))


def _repeated(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    return st.lists(_one(field), max_size=REPEATED_MAX)


def _one(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return messages(GetMessageClass(field.message_type))
    if field.type == FieldDescriptor.TYPE_STRING:
        return TEXTS
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.name == "seconds":
        return SECONDS
    return LARGE if field.type in (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64) else WHOLE


@pytest.mark.parametrize("kind", convert.KINDS, ids=lambda kind: kind.message.DESCRIPTOR.name)
def test_request_when_any_field_is_odd_then_it_is_judged_or_refused(kind: convert.Kind) -> None:
    @examples(30)
    @given(messages(kind.message))
    def fed(request: Message) -> None:
        convert.feed(convert.encoded(request))

    fed()


@examples(100)
@given(st.binary(max_size=40))
def test_request_when_it_is_any_bytes_then_it_is_judged_or_refused(data: bytes) -> None:
    convert.feed(data)
