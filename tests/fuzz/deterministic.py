"""What hypothesis makes up here is the same in every run: CI never fails on something that nobody has changed."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

PROFILE = "deterministic"
settings.register_profile(
    PROFILE, derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def examples(count: int) -> settings:
    """Return the settings of a test of so many examples."""
    return settings(settings.get_profile(PROFILE), max_examples=count)


def spliced(seeds: list[bytes], pieces: list[bytes]) -> st.SearchStrategy[bytes]:
    """Return seeds in which a few stretches were cut out, or replaced by pieces or by any bytes."""
    inserted = st.sampled_from(pieces) | st.binary(max_size=8)
    splices = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 40), inserted), min_size=1, max_size=4)
    return st.tuples(st.sampled_from(seeds), splices).map(lambda drawn: _spliced(*drawn))


def _spliced(data: bytes, splices: list[tuple[int, int, bytes]]) -> bytes:
    for place, length, inserted in splices:
        start = place % (len(data) + 1)
        data = data[:start] + inserted + data[start + length :]
    return data
