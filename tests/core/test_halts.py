"""Halts of one scope: how many there may be, whose they are, and how they are named."""

from __future__ import annotations

import pickle

import pytest

from circuit_guard.core import guard
from circuit_guard.core.facts import CommandRefused, Fact, HaltChanged
from circuit_guard.core.halts import HALTS_MAX, Halt, said
from circuit_guard.core.inputs import HaltCommand
from circuit_guard.core.policy import Policy
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import SECOND_NS
from tests.core import hostile, world

AT = 1_768_800_000 * SECOND_NS
ALICE = Halt("alice", "odd", AT)
LATER = AT + 60 * SECOND_NS


@pytest.fixture
def warm() -> tuple[GuardState, Policy]:
    policy, state, _ = pickle.loads(hostile.WARM)  # noqa: S301  # our own bytes
    return state, policy


def halt(
    warm: tuple[GuardState, Policy], actor: str, *markets: str, lasts_s: int = 0, identity: str = ""
) -> list[Fact]:
    state, policy = warm
    expires_ns = state.now_ns + lasts_s * SECOND_NS if lasts_s else None
    return guard.step(state, HaltCommand(state.now_ns, markets, actor, "a test", expires_ns, identity), policy)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ((), "halted by alice: odd"),
        ((Halt("bob", "too", AT, LATER),), "halted by alice: odd (and 1 more halt by bob until 2026-01-19 05:21:00Z)"),
        ((Halt("bob", "too", AT),), "halted by alice: odd (and 1 more halt by bob)"),
        (
            (Halt("bob", "too", AT, LATER), Halt("carol", "so", AT, AT + 1)),
            "halted by alice: odd (and 2 more halts by bob, carol, the last until 2026-01-19 05:21:00Z)",
        ),
        (
            tuple(Halt(f"o{number}", "so", AT) for number in range(8)),
            "halted by alice: odd (and 8 more halts by o0, o1, o2, o3, o4, o5 and 2 more)",
        ),
    ],
)
def test_halts_when_named_then_the_longest_is_and_the_others_are_counted(
    others: tuple[Halt, ...], expected: str
) -> None:
    assert said((ALICE, *others)) == expected


@pytest.mark.parametrize("markets", [(), (world.BTC,)])
def test_halt_when_a_scope_has_as_many_as_it_takes_then_only_its_actors_can_change_theirs(
    warm: tuple[GuardState, Policy], markets: tuple[str, ...]
) -> None:
    for number in range(HALTS_MAX):
        halt(warm, f"operator {number}", *markets, lasts_s=60)
    scope = markets[0] if markets else "GLOBAL"

    refused = halt(warm, "one more", *markets)
    changed = halt(warm, "operator 7", *markets)

    state = warm[0]
    expected = "scopes with fewer than 100 halts of other actors: resume first"
    assert refused == [CommandRefused(state.now_ns, "markets", scope, expected)]
    assert [fact for fact in changed if isinstance(fact, HaltChanged)] == [
        HaltChanged(state.now_ns, scope, True, "operator 7", "a test")
    ]
    assert (len(state.halts(scope)), state.halts(scope)[0].actor) == (HALTS_MAX, "operator 7")


def test_halt_when_one_of_its_markets_is_full_then_none_is_halted(warm: tuple[GuardState, Policy]) -> None:
    for number in range(HALTS_MAX):
        halt(warm, f"operator {number}", world.BTC)

    [refused] = halt(warm, "one more", world.ETH, world.BTC)

    assert isinstance(refused, CommandRefused)
    assert refused.observed == world.BTC
    assert warm[0].markets[world.ETH].halts == ()


def test_halt_when_those_of_a_full_scope_are_over_then_there_is_room(warm: tuple[GuardState, Policy]) -> None:
    for number in range(HALTS_MAX):
        halt(warm, f"operator {number}", world.BTC, lasts_s=60)
    warm[0].now_ns += 60 * SECOND_NS

    halt(warm, "one more", world.BTC)

    assert [one.actor for one in warm[0].markets[world.BTC].halts] == ["one more"]


def test_halt_when_one_identity_gives_two_names_then_it_has_one_halt(warm: tuple[GuardState, Policy]) -> None:
    halt(warm, "bastion (as alice)", world.BTC, identity="bastion")
    halt(warm, "bastion (as bob)", world.BTC, identity="bastion")
    halt(warm, "laptop (as bob)", world.BTC, identity="laptop")

    standing = warm[0].markets[world.BTC].halts
    assert [one.actor for one in standing] == ["bastion (as bob)", "laptop (as bob)"]
