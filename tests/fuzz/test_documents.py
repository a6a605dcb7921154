"""Policies and settings that were damaged anywhere: valid, or an error that lists what is wrong."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fuzz.targets import policy, settings
from tests.fuzz.deterministic import examples, spliced

PIECES = [
    *(b"\n", b"=", b"[", b"]", b"[[", b'"', b"'''", b"#", b".", b"{", b"}", b"nan", b"-inf", b"1e400", b"2026-01-19"),
    *(b"9" * 5000, b"[" * 1200, b'"\\ud800"', b"\xff", b"\0", b"[markets.BTC]\n", b"[classes.x]\n", b"true", b'"0.02"'),
]
VARIABLES = ["CIRCUIT_GUARD_GRPC__LISTEN", "CIRCUIT_GUARD_SECURITY__IDENTITIES", "CIRCUIT_GUARD_X", "A_SERVICE_HOST"]
VALUES = st.text(max_size=12) | st.sampled_from(["127.0.0.1:0", "0.0.0.0:1", "unix:" + "x" * 108, "1", "true", "{}"])


@examples(150)
@given(spliced(list(policy.seeds())[:20], PIECES))
def test_policy_when_it_is_damaged_then_it_is_valid_or_refused(data: bytes) -> None:
    policy.feed(data)


@examples(100)
@given(spliced(list(settings.seeds()), PIECES), st.dictionaries(st.sampled_from(VARIABLES), VALUES, max_size=2))
def test_settings_when_damaged_then_they_are_valid_or_refused(data: bytes, environ: dict[str, str]) -> None:
    lines = "\n".join(f"{name}={value}" for name, value in environ.items())
    settings.feed(data + settings.ENVIRONMENT + lines.encode())
