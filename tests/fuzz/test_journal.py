"""Journals that were damaged, or forged with sound hashes: recovered from or refused, and nothing held is let go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuit_guard.journal.errors import JournalUnusable
from circuit_guard.journal.recovery import recover
from fuzz.targets import journal
from fuzz.targets.journal import CUT, DAMAGE, RECORD, SET, STATE, XOR, ZERO
from tests.fuzz.deterministic import examples

SIZE = len(journal.sound().file)
GROUPS = st.tuples(st.integers(0, SIZE - 1), st.sampled_from([XOR, SET, CUT, ZERO]), st.integers(0, 255)).map(
    lambda drawn: drawn[0].to_bytes(3, "big") + bytes(drawn[1:])
)
VALUES = st.none() | st.booleans() | st.integers() | st.sampled_from(
    ["NaN", "sNaN", "Infinity", "1E+999999", "0", "", "OPEN", "CLOSED", "LATCH", "DOGE", [], {}, [[]], 2**70, -(2**70)]
)  # fmt: skip
MARKET = ("state", "markets", "SOL-USD-PERP")
BEYOND_THE_CORE = [
    ((*MARKET, "references", "lasted", "low"), "NaN", "InvalidOperation"),
    (("policy", "markets", "SOL-USD-PERP", "funding", "rate_max"), "1E+999999", "Overflow"),
    (("policy", "remembered_requests_max"), -1, "KeyError"),
    (("policy", "markets", "SOL-USD-PERP", "slow_walk", "lag_ns"), -1, "IndexError"),
]


@examples(25)
@given(st.lists(GROUPS, min_size=1, max_size=4))
def test_journal_when_the_file_is_damaged_then_it_holds_what_was_held_or_refuses(groups: list[bytes]) -> None:
    journal.feed(bytes([DAMAGE]) + b"".join(groups))


@examples(40)
@given(st.sampled_from([RECORD, STATE]), st.integers(0, 65_535), st.integers(0, 65_535), VALUES)
def test_journal_when_it_is_forged_then_it_is_recovered_from_or_refused(
    mode: int, record: int, place: int, value: object
) -> None:
    where = place.to_bytes(2, "big") if mode == STATE else record.to_bytes(2, "big") + place.to_bytes(2, "big")
    journal.feed(bytes([mode]) + where + json.dumps(value).encode())


@pytest.mark.parametrize(("keys", "value", "error"), BEYOND_THE_CORE, ids=lambda drawn: str(drawn))
def test_recovery_when_the_core_cannot_go_on_from_a_state_then_the_record_is_named(
    tmp_path: Path, keys: tuple[str | int, ...], value: object, error: str
) -> None:
    journal.write_state(tmp_path, with_value(keys, value))
    with pytest.raises(JournalUnusable, match=rf"record [0-9]+ cannot be run again \({error}"):
        recover(tmp_path)


@pytest.mark.parametrize("pair", [None, 7, [], [[1, 1]], [1, 2, 3]])
def test_recovery_when_a_recorded_pair_is_none_then_the_checkpoint_is_named(tmp_path: Path, pair: object) -> None:
    journal.write_state(tmp_path, with_value((*MARKET, "feed", "recent", 0), pair))
    with pytest.raises(JournalUnusable, match=r"checkpoint [0-9]+ cannot be read: a recorded Snapshot was"):
        recover(tmp_path)


def with_value(keys: tuple[str | int, ...], value: object) -> str:
    """Return the text of the sound checkpoint with another value at one place."""
    document = json.loads(journal.sound().text)
    table = document["Snapshot"]
    for key in keys[:-1]:
        table = table[key]
    table[keys[-1]] = value
    return json.dumps(document)
