"""One entrance of the guard a file: `seeds` are valid inputs to start from, `feed` takes any bytes.

`feed` returns, or raises: an exception other than the entrance's documented one is a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from fuzz.targets import convert, envoy, journal, policy, recording, settings


class Target(NamedTuple):
    """An entrance: how to feed it, and what it takes."""

    feed: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]


TARGETS = {
    "convert": Target(convert.feed, convert.seeds),
    "envoy": Target(envoy.feed, envoy.seeds),
    "journal": Target(journal.feed, journal.seeds),
    "policy": Target(policy.feed, policy.seeds),
    "recording": Target(recording.feed, recording.seeds),
    "settings": Target(settings.feed, settings.seeds),
}
