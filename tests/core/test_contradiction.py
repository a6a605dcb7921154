"""A closure fits its account when what it leaves of the position it closes is between nothing and all of it."""

from __future__ import annotations

import pickle
from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from circuit_guard.core import guard
from circuit_guard.core.facts import DecisionMade
from circuit_guard.core.inputs import Account, Basis, Check, Position
from circuit_guard.core.rules.contradiction import CHECK_CONTRADICTS_ACCOUNT
from circuit_guard.core.types import Finding, Verdict
from tests.core import hostile, world

sizes = st.decimals("-9", "9", places=1).filter(bool)
NONE, ONE = Decimal(0), Decimal(1)


def position(market: str, size: Decimal) -> Position:
    return Position(market, size, Decimal(100), Decimal(0), Decimal("0.01"))


def contradictions(size: Decimal, account: Account | None) -> list[Finding]:
    """Ask to close `size` in BTC-USD-PERP; such a finding has to deny."""
    policy, state, feeds = pickle.loads(hostile.WARM)  # noqa: S301
    feed = feeds[world.BTC]
    check = Check(state.now_ns, "r", "a", world.BTC, size, basis=Basis(feed.mark, feed.funding), account=account)
    (decision,) = [fact.decision for fact in guard.decide(state, check, policy) if isinstance(fact, DecisionMade)]
    found = [finding for finding in decision.findings if finding.reason == CHECK_CONTRADICTS_ACCOUNT]
    assert not found or decision.verdict is Verdict.DENY
    return found


@given(size=sizes, own=st.dictionaries(st.sampled_from((1, -1)), sizes.map(abs)), other=st.lists(sizes, max_size=2))
@example(size=-ONE, own={1: ONE}, other=[])
@example(size=Decimal("-1.1"), own={1: ONE}, other=[Decimal("0.1")])
@example(size=Decimal("-0.4"), own={1: ONE, -1: Decimal("0.3")}, other=[])
@example(size=Decimal("0.4"), own={1: ONE, -1: Decimal("0.3")}, other=[])
@example(size=ONE, own={}, other=[-ONE])
def test_closure_when_it_leaves_between_nothing_and_all_of_a_position_then_it_fits_and_else_it_is_denied(
    size: Decimal, own: dict[int, Decimal], other: list[Decimal]
) -> None:
    held = [side * amount for side, amount in own.items()]
    account = Account(
        Decimal(5), tuple(position(world.BTC, one) for one in held) + tuple(position(world.ETH, one) for one in other)
    )
    fits = any(min(one, NONE) <= one + size <= max(one, NONE) for one in held)
    assert bool(contradictions(size, account)) is not fits


def test_closure_when_it_comes_without_an_account_then_there_is_nothing_to_contradict() -> None:
    assert not contradictions(Decimal(-1000), None)


def test_closure_when_its_account_is_empty_then_it_closes_nothing() -> None:
    assert contradictions(-ONE, Account(Decimal(100), ()))
