"""What is remembered of checks is bounded by bytes, over all markets and however long the names are."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from circuit_guard.core import evidence, remembered
from circuit_guard.core.evidence import ACCOUNTS_IN_ALL, ACCOUNTS_MAX, KEY_CHARACTERS_MAX, Accounts, thin
from circuit_guard.core.facts import DecisionMade
from circuit_guard.core.guard import decide
from circuit_guard.core.inputs import Account, Asset, Check, Position
from circuit_guard.core.remembered import account_bytes, answer_bytes
from circuit_guard.core.state import GuardState, new_state
from circuit_guard.core.types import SECOND_NS, Decision
from circuit_guard.journal.checkpoint import copied
from circuit_guard.journal.codec import encode, encoded_parts
from tests.core import world

LONG = "\N{CJK UNIFIED IDEOGRAPH-20000}" * 118
"""With ten digits a name of 128 characters, each of them twelve in a checkpoint."""
POLICY = world.policy((world.BTC, world.ETH))


def long_check(number: int, positions: int = 8, at_ns: int = world.MIDNIGHT_NS) -> Check:
    name = f"{LONG}{number:010}"
    held = tuple(
        Position(f"{LONG}{place:010}", Decimal(1), Decimal(1), Decimal(1), Decimal(0)) for place in range(positions)
    )
    return Check(at_ns, name, name, world.BTC, Decimal(-1), account=Account(Decimal(1), held))


def answered(state: GuardState, check: Check) -> DecisionMade:
    [made] = (fact for fact in decide(state, check, POLICY) if isinstance(fact, DecisionMade))
    return made


def answers(state: GuardState) -> Iterator[Decision]:
    return (decision for _, decision in state.remembered.values())


@pytest.mark.parametrize("positions", [0, 8, 100])
def test_answer_when_it_is_remembered_then_its_bytes_are_those_of_a_checkpoint(positions: int) -> None:
    state = new_state(POLICY, world.MIDNIGHT_NS)
    before = len(encode(state))
    for number in range(20):
        answered(state, long_check(number, positions))
    taken = len(encode(state)) - before
    assert taken <= sum(map(answer_bytes, answers(state))) <= taken * 1.6


def test_answers_when_they_take_too_much_then_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    state = new_state(POLICY, world.MIDNIGHT_NS)
    size = answer_bytes(answered(state, long_check(0)).decision)
    monkeypatch.setattr(remembered, "ANSWERS_BYTES_MAX", 5 * size)
    for number in range(1, 9):
        answered(state, long_check(number))
    assert list(state.remembered) == [long_check(number).request_id for number in range(4, 9)]
    assert answered(state, long_check(8)).repeated
    assert not answered(state, long_check(0)).repeated, "judged anew, on what is true now"
    assert state.remembered_bytes == sum(map(answer_bytes, answers(state)))


def test_bytes_when_a_state_comes_from_a_checkpoint_then_they_are_summed_up_again() -> None:
    state = new_state(POLICY, world.MIDNIGHT_NS)
    for number in range(4):
        answered(state, long_check(number))
        remembered.keep(state, state.markets[world.BTC], f"{number}", number, Account(Decimal(number), ()))
    assert b"".join(encoded_parts(state)).decode() == encode(state)
    twin = copied(state)
    for one in (state, twin):
        answered(one, long_check(9))
        remembered.drop(one, one.markets[world.BTC], "0")
    assert (twin.remembered_bytes, twin.unconfirmed_bytes) == (state.remembered_bytes, state.unconfirmed_bytes)


def test_accounts_to_be_looked_at_again_when_too_large_then_the_oldest_of_any_market_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = new_state(POLICY, world.MIDNIGHT_NS)
    account = Account(Decimal(1), (), (Asset(world.BTC, Decimal(1)),))
    monkeypatch.setattr(remembered, "UNCONFIRMED_BYTES_MAX", 16 * account_bytes(account))
    bitcoin, ether = state.markets[world.BTC], state.markets[world.ETH]
    for number in range(8):
        remembered.keep(state, ether, f"{number}", number, account)
    for number in range(8, 17):
        remembered.keep(state, bitcoin, f"{number}", number, account)
    assert list(ether.unconfirmed) == ["3", "4", "5", "6", "7"]
    assert len(bitcoin.unconfirmed) == 9
    assert state.unconfirmed_bytes == 14 * account_bytes(account)


def test_account_when_its_name_is_long_then_a_digest_is_remembered_and_it_is_known_again() -> None:
    accounts = Accounts()
    accounts.note(f"{LONG}1", 0, SECOND_NS)
    accounts.note("a" * (KEY_CHARACTERS_MAX + 1), 0, SECOND_NS)
    accounts.note("usual", 0, SECOND_NS)
    assert accounts.knows(f"{LONG}1")
    assert not accounts.knows(f"{LONG}2")
    assert max(map(len, accounts.seen_ns)) <= KEY_CHARACTERS_MAX
    assert "usual" in accounts.seen_ns


def test_accounts_when_all_markets_have_many_then_those_with_most_lose_their_oldest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evidence, "ACCOUNTS_IN_ALL", 100)
    old, many, few = Accounts(), Accounts(), Accounts()
    for number in range(30):
        old.note(f"{number}", 0, SECOND_NS)
        few.note(f"{number}", SECOND_NS, SECOND_NS)
    for number in range(200):
        many.note(f"{number}", SECOND_NS, SECOND_NS)
    thin((old, many, few), SECOND_NS)
    assert (len(old), len(few)) == (0, 30)
    assert 50 <= len(many) <= 70
    assert many.knows("199")


def test_accounts_when_they_are_noted_in_many_markets_then_all_together_stay_within_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evidence, "ACCOUNTS_IN_ALL", 1_000)
    kept = [Accounts() for _ in range(10)]
    for number in range(5_000):
        if kept[number % 10].note(f"{number}", number, SECOND_NS):
            thin(kept, 0)
    assert sum(map(len, kept)) <= 1_000 + 10 * evidence.ACCOUNTS_LOOK_EVERY
    assert ACCOUNTS_MAX <= ACCOUNTS_IN_ALL
