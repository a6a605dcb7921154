"""What seeds are made of: the bundled recording, and the policy of the repository."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path

from circuit_guard.config.policy import load_policy
from circuit_guard.core import guard
from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.core.policy import Policy
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import SECOND_NS
from circuit_guard.recording.file import read_recording
from circuit_guard.recording.format import Entry

ROOT = Path(__file__).parent.parent
RECORDING = ROOT / "examples" / "incident.jsonl.gz"
POLICY = ROOT / "config" / "policy.toml"
SETTINGS = ROOT / "config" / "settings.toml"

MARKETS = ("BTC-USD-PERP", "SOL-USD-PERP")
WARM_S = 60
"""So much of the recording makes these markets warm and OPEN; nothing is wrong yet."""
CLOSURES_S = 100
"""So much of it has the first closures."""


def entries(seconds: int) -> Iterator[Entry]:
    """Return the first seconds of the recording."""
    every = read_recording(RECORDING).entries()
    first = next(every)
    yield first
    yield from takewhile(lambda entry: entry.at_ns < first.at_ns + seconds * SECOND_NS, every)


@cache
def policy() -> Policy:
    """Return the policy of the repository."""
    return load_policy(POLICY)


def market_data(seconds: int) -> list[Observation | Reference]:
    """Return what is published about two of the markets in the first seconds."""
    published = (entry for entry in entries(seconds) if isinstance(entry, Observation | Reference))
    return [entry for entry in published if entry.market in MARKETS]


@cache
def warm() -> GuardState:
    """Return a guard that has seen the beginning of the recording; to be copied, not to be changed."""
    published = market_data(WARM_S)
    state = guard.new_state(policy(), published[0].at_ns)
    for input_ in published:
        guard.step(state, input_, policy())
    return state
