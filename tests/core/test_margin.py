"""The bounds of an account's surplus are exact: no world inside the envelopes is outside them, and both are reached."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuit_guard.core.envelope import Interval
from circuit_guard.core.inputs import Account, Asset, Position
from circuit_guard.core.margin import World, explain
from circuit_guard.core.types import ExplainedLoss, Explanation

MARKETS = ("A-USD-PERP", "B-USD-PERP", "C-USD-PERP")

numbers = st.decimals("-1000", "1000", places=2)
sizes = st.decimals("-50", "50", places=2)
shares = st.decimals("0", "0.5", places=3)


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    low, high = sorted((draw(numbers), draw(numbers)))
    return Interval(low, high)


positions = st.builds(
    Position,
    market=st.sampled_from(MARKETS),
    size=sizes,
    entry_price=numbers,
    cached_funding_index=numbers,
    maintenance_margin_fraction=shares,
    maintenance_margin=st.decimals("0", "100", places=1),
)
assets = st.builds(Asset, market=st.sampled_from(MARKETS), quantity=st.decimals("0.01", "50", places=2), haircut=shares)
accounts = st.builds(
    Account,
    collateral=numbers,
    positions=st.lists(positions, max_size=5).map(tuple),
    assets=st.lists(assets, max_size=3).map(tuple),
)
worlds = st.fixed_dictionaries({market: st.builds(World, intervals(), intervals()) for market in MARKETS})


def surplus(account: Account, marks: dict[str, Decimal], indices: dict[str, Decimal]) -> Decimal:
    """Return the surplus in one world, as DESIGN 3 writes it."""
    total = account.collateral
    for it in account.positions:
        mark, index = marks[it.market], indices[it.market]
        total += it.size * (mark - it.entry_price) - it.size * (index - it.cached_funding_index)
        total -= abs(it.size * mark) * it.maintenance_margin_fraction + it.maintenance_margin
    return total + sum(it.quantity * marks[it.market] * (1 - it.haircut) for it in account.assets)


def every_corner(account: Account, world: dict[str, World]) -> list[Decimal]:
    """Return the surplus at all corners of the envelopes, and at a mark of zero, where its margin has a kink."""
    held = sorted(account.markets())
    marks = [_ends(world[name].mark_price) for name in held]
    indices = [(world[name].funding_index.low, world[name].funding_index.high) for name in held]
    return [
        surplus(account, dict(zip(held, mark, strict=True)), dict(zip(held, index, strict=True)))
        for mark in product(*marks)
        for index in product(*indices)
    ]


def _ends(interval: Interval) -> set[Decimal]:
    return {interval.low, interval.high} | ({Decimal(0)} if interval.low < 0 < interval.high else set())


@given(accounts, worlds)
def test_bounds_when_every_corner_is_searched_then_they_are_the_least_and_the_greatest(
    account: Account, world: dict[str, World]
) -> None:
    found = every_corner(account, world)
    explained = explain(account, world)
    assert (explained.low, explained.high) == (min(found), max(found))


@given(accounts, worlds, st.data())
def test_bounds_when_any_world_inside_is_looked_at_then_its_surplus_is_between_them(
    account: Account, world: dict[str, World], data: st.DataObject
) -> None:
    marks, indices = {}, {}
    for name in MARKETS:
        share = Decimal(data.draw(st.integers(0, 100))) / 100
        mark, index = world[name]
        marks[name] = mark.low + (mark.high - mark.low) * share
        indices[name] = index.high - (index.high - index.low) * share
    explained = explain(account, world)
    assert explained.low is not None
    assert explained.high is not None
    assert explained.low <= surplus(account, marks, indices) <= explained.high


def long_of(collateral: str, fraction: str = "0.01", absolute: str = "0") -> Account:
    held = Position("A-USD-PERP", Decimal(1), Decimal(100), Decimal(5), Decimal(fraction), Decimal(absolute))
    return Account(Decimal(collateral), (held,))


AT_90 = {"A-USD-PERP": World(Interval(Decimal(90), Decimal(90)), Interval(Decimal(5), Decimal(6)))}


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        (long_of("12"), ExplainedLoss(Explanation.UNEXPLAINED, Decimal("0.1"), Decimal("1.1"))),
        (long_of("11.9"), ExplainedLoss(Explanation.UNEXPLAINED, Decimal("0.0"), Decimal("1.0"))),
        (long_of("11"), ExplainedLoss(Explanation.INDETERMINATE, Decimal("-0.9"), Decimal("0.1"))),
        (long_of("10.9"), ExplainedLoss(Explanation.INDETERMINATE, Decimal("-1.0"), Decimal("0.0"))),
        (long_of("10"), ExplainedLoss(Explanation.EXPLAINED, Decimal("-1.9"), Decimal("-0.9"))),
        (long_of("12", "0", "2"), ExplainedLoss(Explanation.INDETERMINATE, Decimal("-1"), Decimal("0"))),
    ],
)
def test_account_when_held_against_a_world_then_healthy_is_unexplained_and_under_water_is_explained(
    account: Account, expected: ExplainedLoss
) -> None:
    assert explain(account, AT_90) == expected


@pytest.mark.parametrize(
    ("collateral", "verdict"),
    [
        ("100", Explanation.UNEXPLAINED),
        ("99.9", Explanation.INDETERMINATE),
        ("-98", Explanation.INDETERMINATE),
        ("-98.1", Explanation.EXPLAINED),
    ],
)
def test_account_when_nothing_is_known_of_a_market_then_its_position_may_be_worthless_or_twice_what_was_paid(
    collateral: str, verdict: Explanation
) -> None:
    explained = explain(long_of(collateral), {})
    assert (explained.verdict, explained.unknown) == (verdict, ("A-USD-PERP",))


def test_account_when_a_position_may_have_been_settled_otherwise_then_it_has_a_world_of_its_own() -> None:
    owes_nothing = World(Interval(Decimal(90), Decimal(90)), Interval(Decimal(5), Decimal(500)))
    explained = explain(long_of("12"), AT_90, {0: owes_nothing})
    assert (explained.verdict, explained.high) == (Explanation.INDETERMINATE, Decimal("1.1"))


def test_account_when_it_has_no_positions_then_its_collateral_decides() -> None:
    assert explain(Account(Decimal(0), ()), {}).verdict is Explanation.UNEXPLAINED
    assert explain(Account(Decimal(-1), ()), {}).verdict is Explanation.EXPLAINED


@given(accounts, worlds, assets)
def test_asset_when_nothing_is_known_of_its_market_then_it_is_worth_nothing_at_the_least_and_has_no_upper_bound(
    account: Account, world: dict[str, World], asset: Asset
) -> None:
    unknown = replace(asset, market="X-USD-PERP")
    without = explain(account, world)
    explained = explain(replace(account, assets=(*account.assets, unknown)), world)
    assert (explained.low, explained.high, explained.unknown) == (without.low, None, ("X-USD-PERP",))
    assert explained.verdict is not Explanation.EXPLAINED
    assert (explained.verdict is Explanation.UNEXPLAINED) is (without.verdict is Explanation.UNEXPLAINED)


def test_digest_when_an_account_has_no_assets_then_it_is_that_of_earlier_versions() -> None:
    account = long_of("12")
    assert account.digest() == "4b77d67479a351a2ee858d49d335c89b"
    assert account.digest() != replace(account, assets=(Asset("A-USD-PERP", Decimal(1)),)).digest()
