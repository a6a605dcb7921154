"""Recordings that were damaged anywhere: read to the end, or RecordingError."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given

from fuzz.targets import recording
from tests.fuzz.deterministic import examples, spliced

PIECES = [
    *(b"\n", b"\r\n", b"{", b"}", b"[" * 1200, b'"', b"null", b"true", b"0", b"-1", b"1e999999", b'"NaN"', b'"1e31"'),
    *(b"9" * 5000, b'"\\ud800"', b"\xff", b"\x1f\x8b", b'"observation"', b'"check"', b'"fault"', b'"until"'),
]
HEADER = b'{"circuit_guard_recording":1}\n'


@examples(250)
@given(spliced(list(recording.seeds()), PIECES))
def test_recording_when_it_is_damaged_then_it_is_read_or_refused(data: bytes) -> None:
    recording.feed(data)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_recording_when_it_is_nested_nearly_too_deeply_then_it_is_refused(opening: bytes, closing: bytes) -> None:
    limit = sys.getrecursionlimit()
    for depth in range(limit - 200, limit + 20):  # where the parser gives up depends on who calls it
        nested = opening * depth + b"1" + closing * depth
        recording.feed(HEADER + b'{"at":' + nested + b"}")
        recording.feed(b'{"circuit_guard_recording":' + nested + b"}")
