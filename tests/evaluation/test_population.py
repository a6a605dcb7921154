from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuit_guard.core.inputs import Account, Basis, Observation, Position
from circuit_guard.core.types import SECOND_NS
from circuit_guard.evaluation.faults import KINDS, lay
from circuit_guard.evaluation.feed import WARM_UP_NS, FaultedFeed, Feed
from circuit_guard.evaluation.population import (
    LEVERAGE,
    POSITIONS_MAX,
    TIERS,
    Closure,
    ModelAccount,
    accounts,
    closures,
    true_surplus,
)
from circuit_guard.recording.format import Label
from tests.evaluation.honest_feed import honest_feed

FEED = honest_feed(markets=4)
POPULATION = accounts(FEED, 1, 60)
CALM = honest_feed(seed=2, markets=3, fall=0.0)

seeds = st.integers(min_value=0, max_value=2**32)
some = settings(max_examples=10)


def brute_force(
    account: Account, marks: dict[str, Fraction], indices: dict[str, Fraction], factor: int = 1
) -> Fraction:
    """Return the margin surplus as DESIGN 3 writes it, in exact fractions."""
    surplus = Fraction(account.collateral)
    for p in account.positions:
        size, mark = Fraction(p.size), marks[p.market]
        surplus += size * (mark - Fraction(p.entry_price))
        surplus -= abs(size) * mark * Fraction(p.maintenance_margin_fraction) * factor
        surplus -= size * (indices[p.market] - Fraction(p.cached_funding_index))
    return surplus


def true_values(faulted: FaultedFeed, at_ns: int) -> tuple[dict[str, Fraction], dict[str, Fraction]]:
    markets = faulted.honest.markets
    marks = {market: Fraction(faulted.truth.mark(market, at_ns)) for market in markets}
    return marks, {market: Fraction(faulted.truth.funding(market, at_ns)) for market in markets}


def seen_account(faulted: FaultedFeed, model: ModelAccount) -> Account:
    """Return an account as the engine has it: with the indices cached that it saw when the positions were opened."""
    positions = [
        Position(
            p.market,
            p.size,
            p.entry_price,
            faulted.seen.funding(p.market, model.opened_ns),
            p.maintenance_margin_fraction,
        )
        for p in model.account.positions
    ]
    return Account(model.account.collateral, tuple(positions))


def dumb_engine(faulted: FaultedFeed, population: list[ModelAccount]) -> list[tuple[int, str]]:
    """Return when which account goes under water and stays until it is asked about, computing all at each instant."""
    marks: dict[str, Fraction] = {}
    indices: dict[str, Fraction] = {}
    since: dict[str, int] = {}
    asked: set[tuple[int, str]] = set()
    seen = [seen_account(faulted, model) for model in population]
    for at_ns in sorted({entry.at_ns for entry in faulted.observed}):
        for entry in (e for e in faulted.observed if e.at_ns == at_ns):
            if entry.mark_price is not None:
                marks[entry.market] = Fraction(entry.mark_price)
            if entry.funding_index is not None:
                indices[entry.market] = Fraction(entry.funding_index)
        for model, account in zip(population, seen, strict=True):
            known = all(p.market in marks.keys() & indices.keys() for p in account.positions)
            is_under = known and model.opened_ns <= at_ns and brute_force(account, marks, indices) < 0
            if is_under:
                since.setdefault(model.account_id, at_ns)
                asked.add((since[model.account_id], model.account_id))
            elif (began_ns := since.pop(model.account_id, None)) is not None and began_ns + model.reaction_ns >= at_ns:
                asked.remove((began_ns, model.account_id))
    return sorted(asked)


def asked_at(closure: Closure) -> tuple[int, str]:
    return closure.at_ns - closure.account.reaction_ns, closure.check.account_id


@given(seed=seeds)
@some
def test_accounts_when_drawn_then_each_is_above_water_when_it_opens(seed: int) -> None:
    honest = lay("none", FEED, 0)
    for model in accounts(FEED, seed, 40):
        assert FEED.start_ns + WARM_UP_NS <= model.opened_ns <= FEED.end_ns
        assert true_surplus(honest, model, model.opened_ns) > 0


@given(seed=seeds)
@some
def test_accounts_when_drawn_then_they_are_such_as_an_exchange_has(seed: int) -> None:
    population = accounts(FEED, seed, 60)
    assert len({model.account_id for model in population}) == 60
    positions = [p for model in population for p in model.account.positions]
    assert {p.maintenance_margin_fraction for p in positions} <= {fraction for _, fraction in TIERS}
    assert {p.size > 0 for p in positions} == {True, False}
    counts = {len(model.account.positions) for model in population}
    assert 1 in counts and len(counts) > 1 and max(counts) <= POSITIONS_MAX  # noqa: PT018
    for model in population:
        markets = [p.market for p in model.account.positions]
        assert len(set(markets)) == len(markets)
        notional = sum(abs(p.size) * FEED.values.marks[p.market].at(model.opened_ns) for p in model.account.positions)
        assert LEVERAGE[0] * 0.99 <= notional / model.account.collateral <= LEVERAGE[1] * 1.01


def test_accounts_when_drawn_with_one_seed_then_they_are_the_same() -> None:
    assert accounts(FEED, 1, 60) == POPULATION
    assert accounts(FEED, 2, 60) != POPULATION
    assert closures(lay("reset", FEED, 1), POPULATION) == closures(lay("reset", FEED, 1), accounts(FEED, 1, 60))


@given(seed=seeds)
@some
def test_accounts_when_drawn_then_they_cache_the_index_that_was_honestly_in_force(seed: int) -> None:
    for model in accounts(FEED, seed, 20):
        for p in model.account.positions:
            assert p.cached_funding_index == FEED.values.funding_indices[p.market].at(model.opened_ns)


def test_accounts_when_a_market_has_no_positive_price_then_none_holds_it() -> None:
    market = FEED.markets[0]
    negative = Feed.of(
        Observation(
            e.at_ns, e.market, e.source, e.epoch, e.feed_sequence, e.event_time_ns, -e.mark_price, None, e.funding_index
        )
        if isinstance(e, Observation) and e.market == market and e.mark_price is not None
        else e
        for e in FEED.entries
    )
    assert market in negative.markets
    assert not [p for model in accounts(negative, 1, 50) for p in model.account.positions if p.market == market]


@pytest.mark.parametrize("feed", [FEED, CALM], ids=["in a fall", "in a calm"])
def test_closures_when_the_feed_is_honest_then_each_is_genuine_and_some_are_asked(feed: Feed) -> None:
    for seed in range(3):
        asked = closures(lay("none", feed, seed), accounts(feed, seed, 80))
        assert len({closure.check.account_id for closure in asked}) >= 5
        assert {closure.label for closure in asked} == {Label.GENUINE}
        assert all(closure.true_surplus < 0 for closure in asked)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=seeds)
@settings(max_examples=1)
def test_closures_when_labelled_then_the_label_is_the_sign_of_the_true_surplus(kind: str, seed: int) -> None:
    faulted = lay(kind, FEED, seed)
    for closure in closures(faulted, POPULATION):
        at_ns, _ = asked_at(closure)
        model = closure.account
        marks, indices = true_values(faulted, model.opened_ns)
        cached = [indices[p.market] for p in model.account.positions]
        marks, indices = true_values(faulted, at_ns)
        surplus = brute_force(model.account, marks, indices)
        for p, true_cached in zip(model.account.positions, cached, strict=True):
            surplus += Fraction(p.size) * (true_cached - Fraction(p.cached_funding_index))
        assert Fraction(closure.true_surplus) == surplus
        assert (closure.label is Label.GENUINE) == (surplus < 0)


@pytest.mark.parametrize(
    "kind", ["none", "reset_then_growth", "mark_zero", "two_writers", "partial_write", "slow_walk"]
)
def test_closures_when_computed_by_thresholds_then_they_are_those_of_computing_every_account(kind: str) -> None:
    feed = honest_feed(seed=3, markets=3, seconds=600)
    faulted, population = lay(kind, feed, 1), accounts(feed, 1, 30)
    assert sorted(map(asked_at, closures(faulted, population))) == dumb_engine(faulted, population)


def test_closures_when_the_account_comes_up_again_then_they_are_wanted_no_longer() -> None:
    faulted = lay("reset", FEED, 4)
    ends = 0
    for closure in closures(faulted, POPULATION):
        until_ns = closure.wanted_until_ns
        if until_ns is None:
            continue
        ends += 1
        account = seen_account(faulted, closure.account)
        for at_ns, is_under in ((asked_at(closure)[0], True), (until_ns - 1, True), (until_ns, False)):
            marks = {m: Fraction(faulted.seen.mark(m, at_ns)) for m in FEED.markets}
            indices = {m: Fraction(faulted.seen.funding(m, at_ns)) for m in FEED.markets}
            assert (brute_force(account, marks, indices) < 0) == is_under
    assert ends


def test_closures_when_asked_then_each_is_a_whole_question_of_its_own() -> None:
    faulted = lay("mark_bias", FEED, 4)
    asked = closures(faulted, POPULATION)
    assert len({closure.check.request_id for closure in asked}) == len(asked)
    assert [closure.at_ns for closure in asked] == sorted(closure.at_ns for closure in asked)
    for closure in asked:
        at_ns, _ = asked_at(closure)
        market = closure.check.market
        assert closure.check.basis == Basis(faulted.seen.mark(market, at_ns), faulted.seen.funding(market, at_ns))
        [position] = [p for p in closure.account.account.positions if p.market == market]
        assert closure.check.size == -position.size
        true_mark = faulted.truth.mark(market, at_ns)
        assert closure.notional == abs(position.size) * true_mark <= closure.exposure
        price = closure.check.execution_price
        assert price is not None
        adverse = (true_mark - price) * (1 if position.size > 0 else -1)
        assert 0 <= adverse <= true_mark * 4 / 10_000
        assert SECOND_NS // 20 <= closure.at_ns - at_ns <= 3 * SECOND_NS


def test_closures_when_the_book_is_thin_then_they_fill_at_its_mark() -> None:
    faulted = lay("thin_post_only_book", FEED, 4)
    wrongful = [closure for closure in closures(faulted, POPULATION) if closure.label is Label.WRONGFUL]
    assert wrongful
    for closure in wrongful:
        price, mark = closure.check.execution_price, closure.check.basis.mark_price
        assert price is not None and mark is not None  # noqa: PT018
        assert abs(price / mark - 1) < 4e-4


def test_closures_when_a_position_was_opened_in_a_reset_then_its_account_carries_the_corrupt_index() -> None:
    faulted = lay("restore_jump", FEED, 3)
    fault = faulted.fault
    assert fault is not None
    wrongful = [closure for closure in closures(faulted, POPULATION) if closure.label is Label.WRONGFUL]
    assert wrongful
    for closure in wrongful:
        assert closure.at_ns >= fault.at_ns
        assert closure.check.account == seen_account(faulted, closure.account) != closure.account.account


def test_closures_when_the_margin_table_is_wrong_then_the_account_shown_is_right() -> None:
    faulted = lay("caller_margin_table", FEED, 3)
    wrongful = [closure for closure in closures(faulted, POPULATION) if closure.label is Label.WRONGFUL]
    assert wrongful
    assert all(closure.check.account == closure.account.account for closure in wrongful)


def test_closures_when_only_some_accounts_are_carried_then_the_others_have_none() -> None:
    faulted = lay("reset", FEED, 3)
    for share, expected in ((0.0, {False}), (0.5, {False, True}), (1.0, {True})):
        asked = closures(faulted, accounts(FEED, 1, 60, carried_share=share))
        assert {closure.check.account is not None for closure in asked} == expected


@pytest.mark.parametrize("kind", ["none", "reset", "swap", "decimals", "mark_zero"])
def test_losses_when_an_account_is_closed_then_they_are_within_what_it_has(kind: str) -> None:
    for closure in closures(lay(kind, FEED, 3), POPULATION):
        marks, _ = true_values(lay("none", FEED, 0), asked_at(closure)[0])
        maintenance = sum(
            Fraction(p.maintenance_margin_fraction) * abs(Fraction(p.size)) * marks[p.market]
            for p in closure.account.account.positions
        )
        assert 0 <= Fraction(closure.loss) <= max(Fraction(closure.true_surplus) + maintenance, Fraction(0))
        assert closure.loss > 0 or closure.label is Label.GENUINE or kind != "mark_zero"


def test_closures_when_eight_markets_have_two_hundred_accounts_then_they_are_there_within_seconds() -> None:
    feed = honest_feed()
    population = accounts(feed, 1, 200)
    faulted = lay("reset", feed, 1)
    began = time.process_time()
    assert closures(faulted, population)
    assert time.process_time() - began < 1.5
