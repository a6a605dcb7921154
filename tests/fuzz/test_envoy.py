"""Requests that Envoy describes, with any headers and any JSON: a check, or WireError."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from fuzz.targets import envoy
from tests.fuzz.deterministic import examples, spliced

PIECES = [b"\n\n", b": ", b",", b'"', b"{", b"}", b"[" * 1200, b"\\ud800", b"NaN", b"1e999999", b"null", b"\xff"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(["BTC", "-1"])
KEYS = st.sampled_from(["id", "account", "closure", "market", "size", "kind", "price", "basis", "mark", "funding"])
BODIES = st.dictionaries(KEYS, SCALARS | st.dictionaries(KEYS, SCALARS, max_size=4), max_size=8)


@examples(80)
@given(spliced(list(envoy.seeds()), PIECES))
def test_request_when_it_is_damaged_then_it_is_judged_or_refused(data: bytes) -> None:
    envoy.feed(data)


@examples(80)
@given(BODIES)
def test_request_when_its_body_is_any_json_then_it_is_judged_or_refused(body: object) -> None:
    envoy.feed(b"content-type: application/json" + envoy.END_OF_HEADERS + json.dumps(body).encode())
