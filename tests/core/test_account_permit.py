"""Checks with an account that a permit answers: all rules together answer them alike, to the last digit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuit_guard.core import guard
from circuit_guard.core import inputs as i
from circuit_guard.core.account_permit import explained_loss
from circuit_guard.core.envelope import Interval
from circuit_guard.core.facts import DecisionMade, Fact
from circuit_guard.core.progress import expire_halts
from circuit_guard.core.types import ARITHMETIC, GLOBAL_SCOPE, SECOND_NS, CheckKind, ExplainedLoss, Explanation, Verdict
from tests.core import hostile, world
from tests.core.test_outlook import QUIET, Guard, Played
from tests.core.test_permit import alike, kinds, moments, offsets

BTC, ETH = world.BTC, world.ETH
sizes = st.sampled_from([Decimal(text) for text in ("2", "2", "2", "-1.5", "0.25", "0")])
held = st.tuples(hostile.any_market, sizes, offsets, offsets)
collaterals = st.sampled_from([Decimal(text) for text in ("500", "500", "-3000", "0", "1e9", "1e40", "NaN")])
assets = st.lists(st.tuples(hostile.any_market, st.sampled_from([Decimal("0.5"), Decimal(3)])), max_size=2)
accounts = st.tuples(collaterals, st.lists(held, min_size=1, max_size=4), assets)
closures = st.tuples(hostile.markets, kinds, st.integers(0, 5), offsets, offsets, sizes, accounts)
Closure = tuple[
    str,
    CheckKind,
    int,
    str,
    str,
    Decimal,
    tuple[Decimal, list[tuple[str, Decimal, str, str]], list[tuple[str, Decimal]]],
]
MOST_LOSE = Decimal("1.15")
"""Accounts bought at so many times today's price: most of those with little collateral are under water."""


def check_of(played: Guard, number: int, closure: Closure) -> i.Check:
    """Return a check of an account near what is published: each value is off by a share of it."""
    market, kind, account_id, mark_off, execution_off, size, (collateral, positions, owned) = closure
    feed = played.feeds[market]
    mark = feed.mark * (1 + Decimal(mark_off))
    account = i.Account(
        collateral,
        tuple(position_of(played, *one) for one in positions),
        tuple(i.Asset(name, quantity, Decimal("0.1")) for name, quantity in owned),
    )
    named = f"q{number}", f"a{account_id}", market
    execution, basis = feed.mark * (1 + Decimal(execution_off)), i.Basis(mark, feed.funding)
    return i.Check(played.now_ns, *named, -size or Decimal(-1), kind, execution, basis, account)


def position_of(played: Guard, name: str, size: Decimal, entry_off: str, cached_off: str) -> i.Position:
    feed = played.feeds.get(name, played.feeds[BTC])
    entry, cached = feed.mark * MOST_LOSE * (1 + Decimal(entry_off)), feed.funding * (1 + Decimal(cached_off))
    return i.Position(name, size, entry, cached, Decimal("0.05"))


def by_all_rules(played: Guard, check: i.Check) -> list[Fact]:
    """Answer a check as the guard does that has no permits."""
    state, policy = played.state, played.policy
    state.now_ns = check.at_ns
    facts = [] if state.global_halt is None else expire_halts(state, GLOBAL_SCOPE, check.at_ns)
    with localcontext(ARITHMETIC):
        return [*facts, *guard.by_all_rules(state, check, policy, policy.markets[check.market])]


@settings(QUIET, max_examples=120)
@given(played=st.lists(st.tuples(moments, st.lists(closures, min_size=1, max_size=4)), min_size=3, max_size=20))
def test_check_with_an_account_when_a_permit_answers_it_then_all_rules_do_alike_and_leave_the_same_state(
    played: list[tuple[Played, list[Closure]]],
) -> None:
    permitting, judging = Guard(), Guard()
    number = 0
    for (step_ns, step), asked_for in played:
        for each in (permitting, judging):
            each.now_ns += step_ns
        assert [repr(fact) for fact in permitting.play(*step)] == [repr(fact) for fact in judging.play(*step)]
        for closure in asked_for:
            number += 1
            check = check_of(permitting, number, closure)
            facts = guard.decide(permitting.state, check, permitting.policy)
            assert [repr(fact) for fact in facts] == [repr(fact) for fact in by_all_rules(judging, check)]
    assert alike(permitting.state) == alike(judging.state)


UNDER_WATER: Closure = (
    BTC,
    CheckKind.LIQUIDATION,
    1,
    "0",
    "0",
    Decimal(2),
    (Decimal(500), [(BTC, Decimal(2), "0", "0"), (ETH, Decimal(2), "0", "0")], []),
)


@pytest.fixture
def opened() -> Guard:
    """Return a guard whose markets are OPEN, with a second of honest data every second for a minute."""
    played = Guard()
    for _ in range(60):
        played.now_ns += SECOND_NS
        for market in (BTC, ETH):
            played.play("honest", market, Decimal(0))
    return played


def permitted(played: Guard, check: i.Check) -> ExplainedLoss | None:
    with localcontext(ARITHMETIC):
        return explained_loss(played.state, check, played.policy)


def test_account_under_water_when_all_its_markets_are_calm_then_a_permit_answers(opened: Guard) -> None:
    check = check_of(opened, 1, UNDER_WATER)

    loss = permitted(opened, check)

    assert loss is not None
    assert loss.verdict is Explanation.EXPLAINED
    [made] = guard.decide(opened.state, check, opened.policy)
    assert isinstance(made, DecisionMade)
    assert (made.decision.verdict, made.decision.findings, made.decision.explained) == (Verdict.ALLOW, (), loss)


def latch(played: Guard) -> None:
    feed = played.feeds[ETH]
    played.step(feed.observation(played.now_ns, funding_index=Decimal(0)))


def halt_other(played: Guard) -> None:
    played.step(i.HaltCommand(played.now_ns, (ETH,), "alice", "a test", None))


def fall_silent(played: Guard) -> None:
    for _ in range(20):
        played.now_ns += SECOND_NS
        played.play("honest", BTC, Decimal(0))


@pytest.mark.parametrize("trouble", [latch, halt_other, fall_silent])
def test_account_when_another_of_its_markets_is_in_trouble_then_all_rules_look(
    opened: Guard, trouble: Callable[[Guard], None]
) -> None:
    assert permitted(opened, check_of(opened, 1, UNDER_WATER)) is not None

    trouble(opened)

    assert permitted(opened, check_of(opened, 2, UNDER_WATER)) is None


def healthy(check: i.Check) -> i.Check:
    assert check.account is not None
    return replace(check, account=replace(check.account, collateral=Decimal(10) ** 9))


def turned(check: i.Check) -> i.Check:
    return replace(check, size=-check.size)


def with_a_wrong_index(check: i.Check) -> i.Check:
    return replace(check, basis=replace(check.basis, funding_index=Decimal(0)))


def without_a_number(check: i.Check) -> i.Check:
    assert check.account is not None
    return replace(check, account=replace(check.account, collateral=Decimal("NaN")))


@pytest.mark.parametrize("changed", [healthy, turned, with_a_wrong_index, without_a_number])
def test_check_when_its_account_or_values_are_not_in_order_then_all_rules_look(
    opened: Guard, changed: Callable[[i.Check], i.Check]
) -> None:
    assert permitted(opened, changed(check_of(opened, 1, UNDER_WATER))) is None


def test_account_when_it_was_settled_while_an_index_was_wrong_then_all_rules_look(opened: Guard) -> None:
    opened.state.markets[ETH].discarded.append(Interval(Decimal(1), Decimal(2)))

    assert permitted(opened, check_of(opened, 1, UNDER_WATER)) is None


def test_position_when_shown_then_it_reads_as_a_dataclass_does() -> None:
    one = i.Position("BTC", Decimal("-1.50"), Decimal(3), Decimal("1E+2"), Decimal("0.05"))

    assert repr(one) == (
        "Position(market='BTC', size=Decimal('-1.50'), entry_price=Decimal('3'), cached_funding_index=Decimal('1E+2'), "
        "maintenance_margin_fraction=Decimal('0.05'), maintenance_margin=Decimal('0'))"
    )
