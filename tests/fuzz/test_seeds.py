"""What fuzzing starts from is taken: a fuzzer that only sees refusals finds nothing behind them."""

from __future__ import annotations

from itertools import islice

import pytest

from circuit_guard.config.policy import parse_policy
from circuit_guard.errors import PolicyError
from fuzz.run import dictionary
from fuzz.targets import TARGETS, convert

SEEDS = 8


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_when_fed_then_nothing_crashes(name: str) -> None:
    target = TARGETS[name]
    for seed in islice(target.seeds(), SEEDS):
        target.feed(seed)


def test_seeds_of_requests_when_converted_then_every_kind_is_taken() -> None:
    taken = set()
    for seed in convert.seeds():
        kind = convert.KINDS[seed[0]]
        kind.read(kind.message.FromString(seed[1:]), 1)
        taken.add(kind)
    assert taken == set(convert.KINDS)


def test_seeds_of_policies_when_read_then_the_first_is_valid_and_others_are_not() -> None:
    first, *others = TARGETS["policy"].seeds()
    assert parse_policy(first.decode(), "policy.toml").markets
    with pytest.raises(PolicyError):
        parse_policy(others[0].decode(), "policy.toml")


def test_dictionary_when_made_of_seeds_then_it_has_their_words() -> None:
    assert '"BTC-USD-PERP"\n' in dictionary([b'{"market": "BTC-USD-PERP"}'])
