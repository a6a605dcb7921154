from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import fields
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise

import pytest

from circuit_guard.core.inputs import Observation, PhaseCommand, Reference
from circuit_guard.core.types import DIGITS_MAX, EXPONENT_MAX, SECOND_NS, Phase
from circuit_guard.evaluation.faults import CATALOGUE, KINDS, applicable, lay
from circuit_guard.evaluation.feed import FaultedFeed, Feed, FeedEntry, Values
from circuit_guard.evaluation.population import accounts, closures
from tests.evaluation.honest_feed import honest_feed

FEED = honest_feed()
AGAIN, SMALL = honest_feed(), honest_feed(markets=4)
CONTROLS = {"references_split", "venue_down_restart"}
HARMLESS = {"none", "references_corrupt_x10", "references_silent", "references_late_10s", *CONTROLS}
WALKS = {"index_walk", "premium_and_index", "rejected_lineage"}
LASTING = {"restore_jump", "rollback", "dust_in_trouble", "odd_stamps_after_trip", *WALKS}
TRUTH_AS_PUBLISHED = {"rollback", "dust_in_trouble"}
NOBODY_LOSES = {"freeze", "rate_over_cap", "rollback", "dust_in_trouble", "odd_stamps_after_trip"}
OF_THE_GUARD = {"reset_while_guard_down"}
OF_THE_CALLER = {"caller_corrupt", "caller_stale", "caller_margin_table"}
INDEX = {"funding_index"}
PRICES = {"mark_price", "index_price"}
FUNDING = {"funding_index", "funding_rate", "funding_premium"}
MAY_CHANGE: dict[str, set[str]] = {
    **dict.fromkeys(("reset", "reset_then_growth", "restore_jump", "swap", "stale_restore", "rollback"), INDEX),
    **dict.fromkeys(("double_application", "sign_flip", "guard_restart", "reset_while_guard_down"), INDEX),
    **dict.fromkeys(("mark_swap", "cross_contamination", "mark_zero", "freeze", "mark_bias", "slow_walk"), PRICES),
    "single_venue_wick_followed": PRICES,
    "thin_post_only_book": {"mark_price"},
    **dict.fromkeys(("scale_1000", "decimals"), PRICES | INDEX),
    "rate_over_cap": FUNDING,
    "future_stamp": INDEX | {"event_time_ns"},
    **dict.fromkeys(("partial_write", "stale_stamps"), PRICES | FUNDING),
    "index_walk": {"funding_index", "funding_premium"},
    "premium_and_index": FUNDING,
    "rejected_lineage": {"funding_index", "funding_premium"},
    **dict.fromkeys(("mark_against_crash", "unreferenced_half"), PRICES),
    "dust_in_trouble": PRICES | INDEX,
    "odd_stamps_after_trip": {"funding_rate", "event_time_ns"},
}
"""The fields of observations that a fault may change; those of others stay as they are, all of them."""

SEEDS = range(3)
every_kind = pytest.mark.parametrize("kind", KINDS, scope="module")


@lru_cache(maxsize=len(SEEDS))
def laid(kind: str, seed: int) -> FaultedFeed:
    """Lay a fault into FEED. Tests run kind by kind, so each fault is laid once."""
    return lay(kind, FEED, seed)


def observations(entries: tuple[FeedEntry, ...]) -> dict[tuple[str, int, int], Observation]:
    """Return observations by what numbers them."""
    return {(e.market, e.epoch, e.feed_sequence): e for e in entries if isinstance(e, Observation)}


def others(entries: tuple[FeedEntry, ...], kind: type[Reference] | type[PhaseCommand]) -> list[FeedEntry]:
    return [entry for entry in entries if isinstance(entry, kind)]


def changed_fields(honest: Observation, published: Observation) -> set[str]:
    return {f.name for f in fields(Observation) if getattr(honest, f.name) != getattr(published, f.name)}


def changed(faulted: FaultedFeed) -> list[tuple[Observation, Observation]]:
    """Return the observations that the fault changed, as they were and as they are published."""
    before = observations(faulted.honest.entries)
    after = observations(faulted.published)
    return [(before[key], after[key]) for key in before.keys() & after.keys() if before[key] != after[key]]


def is_inside(faulted: FaultedFeed, entry: Observation | Reference) -> bool:
    fault = faulted.fault
    assert fault is not None
    return entry.market in fault.markets and fault.at_ns <= entry.at_ns < fault.until_ns


@every_kind
def test_fault_when_laid_twice_with_one_seed_then_it_is_the_same(kind: str) -> None:
    assert lay(kind, AGAIN, 0) == laid(kind, 0)


@every_kind
def test_fault_when_laid_with_another_seed_then_it_is_another(kind: str) -> None:
    several = [laid(kind, seed) for seed in SEEDS]
    if kind == "none":
        assert all(faulted.published == FEED.entries == faulted.honest.entries for faulted in several)
        return
    distinct = {(faulted.published, faulted.observed, faulted.fault) for faulted in several}
    assert len(distinct) > 1
    if kind not in HARMLESS:
        assert len({faulted.fault.at_ns for faulted in several if faulted.fault}) == len(SEEDS)
    if CATALOGUE[kind].markets is not None and kind not in HARMLESS:
        assert len({faulted.fault.markets for faulted in several if faulted.fault}) > 1


@every_kind
def test_fault_when_laid_then_everything_stays_in_time_order(kind: str) -> None:
    for seed in SEEDS:
        faulted = laid(kind, seed)
        for stream in (faulted.published, faulted.observed):
            times = [entry.at_ns for entry in stream]
            assert times == sorted(times)
        assert all(faulted.honest.start_ns <= at_ns for at_ns in faulted.restarts_ns)


@every_kind
def test_fault_when_laid_then_it_lies_between_warm_up_and_aftermath(kind: str) -> None:
    for seed in SEEDS:
        fault = laid(kind, seed).fault
        if kind in HARMLESS:
            assert fault is None
            continue
        assert fault is not None
        earliest_ns, latest_ns = FEED.fault_zone_ns
        assert earliest_ns <= fault.at_ns < fault.until_ns
        assert fault.until_ns == FEED.end_ns + 1 if kind in LASTING else fault.until_ns <= latest_ns
        assert set(fault.markets) <= set(FEED.markets)
        assert fault.kind == kind


@every_kind
def test_fault_when_laid_then_it_changes_only_what_it_says(kind: str) -> None:
    for seed in SEEDS:
        faulted = laid(kind, seed)
        for honest, published in changed(faulted):
            assert changed_fields(honest, published) <= MAY_CHANGE.get(kind, set()), (honest, published)
            without_premium = changed_fields(honest, published) == {"funding_premium"}
            assert is_inside(faulted, published) or kind == "restore_jump" or (kind in WALKS and without_premium)
        added = observations(faulted.published).keys() - observations(FEED.entries).keys()
        lost = observations(FEED.entries).keys() - observations(faulted.published).keys()
        assert bool(added) == (kind in {"two_writers", "venue_down_restart"})
        assert not lost or kind in {"venue_down_restart", *OF_THE_GUARD}
        venues = {"single_venue_wick_followed", "venue_down_restart", "unreferenced_half"}
        if "references" not in kind and kind not in {*venues, *OF_THE_GUARD}:
            assert others(faulted.published, Reference) == others(FEED.entries, Reference)
        if kind != "thin_post_only_book":
            assert not others(faulted.published, PhaseCommand)


@every_kind
def test_fault_when_laid_then_the_truth_is_the_honest_feed(kind: str) -> None:
    for seed in SEEDS:
        faulted = laid(kind, seed)
        for market, own in FEED.observations.items():
            for entry in own:
                if kind != "dust_in_trouble" or market not in faulted.dust_markets:
                    assert faulted.truth.mark(market, entry.at_ns) == entry.mark_price
                if kind not in TRUTH_AS_PUBLISHED:
                    assert faulted.truth.funding(market, entry.at_ns) == entry.funding_index


@every_kind
def test_fault_when_laid_then_the_engine_observes_what_is_published_unless_the_fault_is_its_own(kind: str) -> None:
    for seed in SEEDS:
        faulted = laid(kind, seed)
        published = tuple(entry for entry in faulted.published if isinstance(entry, Observation))
        differs = faulted.observed != published or faulted.maintenance_factor != 1
        assert differs == (kind in OF_THE_CALLER | OF_THE_GUARD) or kind == "partial_write"
        assert faulted.seen == Values.of(faulted.observed)
        if kind in OF_THE_CALLER:
            assert faulted.published == FEED.entries


@every_kind
def test_fault_when_laid_then_every_value_is_one_that_the_wire_can_carry(kind: str) -> None:
    for seed in SEEDS:
        for entry in laid(kind, seed).published:
            values = [entry.price] if isinstance(entry, Reference) else []
            if isinstance(entry, Observation):
                values = [getattr(entry, name) for name in PRICES | FUNDING if getattr(entry, name) is not None]
            for value in values:
                assert len(value.as_tuple().digits) <= DIGITS_MAX
                assert value == 0 or abs(value.adjusted()) <= EXPONENT_MAX


@pytest.mark.parametrize("kind", sorted(set(KINDS) - HARMLESS - NOBODY_LOSES))
def test_fault_when_it_is_one_then_it_costs_some_account_its_position(kind: str) -> None:
    asked = (closures(lay(kind, SMALL, seed), accounts(SMALL, seed, 60)) for seed in range(20))
    assert any(closure.label == "wrongful" for several in asked for closure in several)


@pytest.mark.parametrize("kind", sorted({*HARMLESS, "rollback", "dust_in_trouble", "odd_stamps_after_trip"}))
def test_fault_when_the_exchange_is_right_then_all_that_is_asked_is_genuine(kind: str) -> None:
    for seed in range(4):
        asked = closures(lay(kind, SMALL, seed), accounts(SMALL, seed, 60))
        assert asked
        assert {closure.label for closure in asked} == {"genuine"}


def published_indices(faulted: FaultedFeed) -> list[tuple[Decimal, Decimal]]:
    """Return honest and published funding index of every observation in the fault."""
    pairs = changed(faulted)
    assert pairs
    assert all(honest.funding_index is not None and after.funding_index is not None for honest, after in pairs)
    return [(honest.funding_index, after.funding_index) for honest, after in pairs]  # type: ignore[misc]


def test_reset_when_laid_then_all_indices_of_its_markets_are_zero() -> None:
    faulted = lay("reset", FEED, 3)
    assert all(after == 0 for _, after in published_indices(faulted))
    inside = [e for own in FEED.observations.values() for e in own if is_inside(faulted, e)]
    assert len(changed(faulted)) == len(inside)


def test_sign_flip_when_laid_then_indices_are_their_negatives() -> None:
    assert all(after == -honest for honest, after in published_indices(lay("sign_flip", FEED, 3)))


def test_reset_then_growth_when_laid_then_indices_grow_from_zero_as_they_should() -> None:
    faulted = lay("reset_then_growth", FEED, 3)
    steps = defaultdict(set)
    for honest, after in changed(faulted):
        assert honest.funding_index is not None and after.funding_index is not None  # noqa: PT018
        steps[after.market].add(honest.funding_index - after.funding_index)
        assert abs(after.funding_index) < abs(honest.funding_index) / 1000
    assert all(len(offsets) == 1 for offsets in steps.values())


def test_restore_jump_when_laid_then_the_true_index_returns_at_once_and_stays() -> None:
    faulted = lay("restore_jump", FEED, 3)
    fault = faulted.fault
    assert fault is not None
    assert {after.market for _, after in changed(faulted)} == set(fault.markets)
    assert all(after.at_ns < fault.at_ns for _, after in changed(faulted))
    for market in fault.markets:
        own = [e for e in faulted.observed if e.market == market]
        assert own[0].funding_index == 0
        assert {
            faulted.seen.funding(market, at_ns) == faulted.truth.funding(market, at_ns)
            for at_ns in (own[-1].at_ns, fault.at_ns + 6 * SECOND_NS)
        } == {True}


@pytest.mark.parametrize(("kind", "field"), [("swap", "funding_index"), ("mark_swap", "mark_price")])
def test_swap_when_laid_then_each_of_two_markets_has_the_others_value(kind: str, field: str) -> None:
    faulted = lay(kind, FEED, 3)
    assert faulted.fault is not None
    first, second = faulted.fault.markets
    series = FEED.values.funding_indices if kind == "swap" else FEED.values.marks
    for _, after in changed(faulted):
        other = second if after.market == first else first
        assert getattr(after, field) == series[other].at(after.at_ns)


def test_rollback_when_laid_then_the_older_indices_are_the_truth_in_all_markets() -> None:
    faulted = lay("rollback", FEED, 3)
    assert faulted.fault is not None
    assert faulted.fault.markets == FEED.markets
    for honest, after in changed(faulted):
        assert honest.funding_index is not None
        assert after.funding_index == faulted.truth.funding(after.market, after.at_ns) != honest.funding_index


def test_slow_walk_when_laid_then_each_step_is_small_and_the_whole_is_not() -> None:
    for seed in range(5):
        far = Decimal(0)
        last: dict[str, Decimal] = {}
        for honest, after in sorted(changed(lay("slow_walk", FEED, seed)), key=lambda pair: pair[1].at_ns):
            assert honest.mark_price is not None and after.mark_price is not None  # noqa: PT018
            share = after.mark_price / honest.mark_price - 1
            assert abs(share - last.get(after.market, Decimal(0))) < Decimal("0.01")
            last[after.market] = share
            far = max(far, abs(share))
        assert far > Decimal("0.025")


def test_mark_bias_when_laid_then_half_of_them_are_that_of_march_2026() -> None:
    shares = []
    for seed in range(12):
        honest, after = changed(lay("mark_bias", FEED, seed))[0]
        assert honest.mark_price is not None and after.mark_price is not None  # noqa: PT018
        shares.append(round(after.mark_price / honest.mark_price - 1, 4))
    assert 3 <= shares.count(Decimal("-0.0285")) <= 9
    assert all(Decimal("0.01") <= abs(share) <= Decimal("0.06") for share in shares)


def test_thin_book_when_laid_then_it_is_skewed_while_post_only_and_fills_there() -> None:
    faulted = lay("thin_post_only_book", FEED, 3)
    assert faulted.fault is not None
    post_only, opened = (e for e in faulted.published if isinstance(e, PhaseCommand))
    assert (post_only.phase, opened.phase) == (Phase.POST_ONLY, Phase.OPEN)
    assert post_only.at_ns < faulted.fault.at_ns < faulted.fault.until_ns < opened.at_ns
    assert faulted.fills_at_mark


def test_wick_when_laid_then_one_venue_and_the_mark_go_the_same_way() -> None:
    faulted = lay("single_venue_wick_followed", FEED, 3)
    before = {(e.market, e.source, e.at_ns): e for e in others(FEED.entries, Reference)}  # type: ignore[union-attr]
    moved = [e for e in others(faulted.published, Reference) if before[e.market, e.source, e.at_ns] != e]  # type: ignore[union-attr]
    assert len({e.source for e in moved if isinstance(e, Reference)}) == 1
    assert all(is_inside(faulted, e) for e in moved if isinstance(e, Reference))
    shares = [after.mark_price / honest.mark_price - 1 for honest, after in changed(faulted)]  # type: ignore[operator]
    assert max(map(abs, shares)) >= Decimal("0.04")
    assert len({share > 0 for share in shares if share}) == 1


def venues_of(faulted: FaultedFeed, differs: Callable[[Reference], bool]) -> set[str]:
    return {e.source for e in faulted.published if isinstance(e, Reference) and differs(e)}


def test_references_when_corrupt_then_one_venue_is_wrong_by_ten() -> None:
    faulted = lay("references_corrupt_x10", FEED, 3)
    wrong = venues_of(faulted, lambda e: not Decimal("0.5") < e.price / faulted.truth.mark(e.market, e.at_ns) < 2)
    assert len(wrong) == 1


def test_references_when_silent_then_two_of_three_publish_nothing_for_a_while() -> None:
    missing = set(FEED.entries) - set(lay("references_silent", FEED, 3).published)
    assert len({e.source for e in missing if isinstance(e, Reference)}) == 2
    assert {e.market for e in missing if isinstance(e, Reference)} == set(FEED.markets)


def test_references_when_late_then_two_of_three_arrive_ten_seconds_later_as_stamped() -> None:
    faulted = lay("references_late_10s", FEED, 3)
    assert len(venues_of(faulted, lambda e: e.at_ns - e.event_time_ns > 10 * SECOND_NS)) == 2
    assert len(faulted.published) == len(FEED.entries)


def test_two_writers_when_laid_then_a_second_epoch_counts_for_itself_between_the_first() -> None:
    faulted = lay("two_writers", FEED, 3)
    assert faulted.fault is not None
    for market in faulted.fault.markets:
        epochs = [e.epoch for e in faulted.observed if e.market == market and is_inside(faulted, e)]
        assert epochs.count(2) >= 3
        assert "1, 2, 1" in ", ".join(map(str, epochs))
        second = [e.feed_sequence for e in faulted.observed if e.market == market and e.epoch == 2]
        assert second == list(range(1, len(second) + 1))


def test_partial_write_when_fields_are_absent_then_the_engine_reads_zero() -> None:
    absent = 0
    for seed in range(8):
        faulted = lay("partial_write", FEED, seed)
        read = observations(faulted.observed)
        for _, after in changed(faulted):
            for name in PRICES | FUNDING:
                if getattr(after, name) is None:
                    absent += 1
                    assert getattr(read[after.market, after.epoch, after.feed_sequence], name) == 0
    assert absent


def test_future_stamp_when_laid_then_stamps_are_at_least_an_hour_ahead() -> None:
    ahead = {
        (after.event_time_ns - after.at_ns) // (3_590 * SECOND_NS) for _, after in changed(lay("future_stamp", FEED, 3))
    }
    assert min(ahead) >= 1


def test_stale_stamps_when_laid_then_old_values_have_fresh_stamps() -> None:
    faulted = lay("stale_stamps", FEED, 3)
    for honest, after in changed(faulted):
        assert after.event_time_ns == honest.event_time_ns
        earlier = [e for e in FEED.observations[after.market] if e.at_ns <= after.at_ns - 59 * SECOND_NS]
        assert after.funding_index in {e.funding_index for e in earlier}


def test_guard_when_it_restarts_then_it_does_so_within_the_reset() -> None:
    faulted = lay("guard_restart", FEED, 3)
    assert faulted.fault is not None
    [at_ns] = faulted.restarts_ns
    assert faulted.fault.at_ns < at_ns <= faulted.fault.until_ns


def test_guard_when_it_is_down_at_the_reset_then_it_hears_nothing_of_it_until_it_is_back() -> None:
    for seed in range(5):
        faulted = lay("reset_while_guard_down", FEED, seed)
        [(down_ns, up_ns)] = faulted.guard_down_ns
        assert faulted.fault is not None
        assert down_ns < faulted.fault.at_ns < up_ns < faulted.fault.until_ns
        assert faulted.restarts_ns == (up_ns,)
        assert not [entry for entry in faulted.published if down_ns <= entry.at_ns < up_ns]
        assert any(entry.funding_index == 0 for entry in faulted.observed if down_ns <= entry.at_ns < up_ns)


def test_kinds_when_a_feed_has_one_market_then_those_that_need_two_do_not_apply() -> None:
    lone = honest_feed(markets=1)
    assert {kind for kind in KINDS if not applicable(kind, lone)} == {
        *("swap", "mark_swap", "cross_contamination", "unreferenced_half", "dust_in_trouble")
    }
    for kind in KINDS:
        if applicable(kind, lone):
            lay(kind, lone, 1)


def test_kinds_when_a_feed_has_two_venues_then_those_of_venues_do_not_apply() -> None:
    two = Feed.of(e for e in FEED.entries if not (isinstance(e, Reference) and e.source == "okx"))
    assert {kind for kind in KINDS if not applicable(kind, two)} == {kind for kind in KINDS if CATALOGUE[kind].venues}


def test_kinds_when_listed_then_each_has_a_sentence_and_all_of_the_issue_are_there() -> None:
    assert all(kind.lay.__doc__ for kind in CATALOGUE.values())
    assert len(KINDS) == 41


def test_index_walk_when_laid_then_each_step_is_small_and_goes_against_the_premium() -> None:
    for seed in range(4):
        steps: dict[str, Decimal] = {}
        faulted = lay("index_walk", FEED, seed)
        inside = (pair for pair in changed(faulted) if is_inside(faulted, pair[1]))
        for honest, after in sorted(inside, key=lambda pair: pair[1].at_ns):
            assert honest.funding_index is not None and after.funding_index is not None  # noqa: PT018
            assert honest.mark_price is not None
            step = (after.funding_index - honest.funding_index) / honest.mark_price
            assert -Decimal("0.00005") < step - steps.get(after.market, Decimal(0)) <= 0
            steps[after.market] = step
        assert min(steps.values()) < -Decimal("0.0002")


def test_premium_and_index_when_laid_then_all_three_agree_and_none_is_over_the_cap() -> None:
    pairs = changed(lay("premium_and_index", FEED, 3))
    assert pairs
    for honest, after in pairs:
        assert after.funding_rate is not None and after.index_price is not None  # noqa: PT018
        assert -Decimal("0.02") <= after.funding_rate < 0 < honest.funding_rate  # type: ignore[operator]
        assert after.funding_premium == after.funding_rate * after.index_price


def test_rejected_lineage_when_laid_then_the_index_goes_on_from_where_it_was_set_to_the_end() -> None:
    faulted = lay("rejected_lineage", FEED, 3)
    apart: defaultdict[str, set[Decimal]] = defaultdict(set)
    for honest, after in changed(faulted):
        if is_inside(faulted, after):
            apart[after.market].add(after.funding_index - honest.funding_index)  # type: ignore[operator]
    for market, sizes in apart.items():
        [size] = sizes
        assert Decimal("0.00009") < abs(size) / FEED.values.mark(market, FEED.start_ns) < Decimal("0.0012")
        own = [entry for entry in faulted.observed if entry.market == market]
        assert own[-1].funding_index == FEED.observations[market][-1].funding_index + size  # type: ignore[operator]


def test_mark_against_crash_when_a_market_falls_then_its_mark_is_too_high() -> None:
    crash = honest_feed(fall=0.3)
    pairs = changed(lay("mark_against_crash", crash, 3))
    assert pairs
    assert all(after.mark_price > honest.mark_price for honest, after in pairs)  # type: ignore[operator]


def test_unreferenced_half_when_laid_then_the_market_has_no_references_and_clean_ones_are_closed() -> None:
    faulted = lay("unreferenced_half", FEED, 3)
    assert faulted.fault is not None
    [market] = faulted.fault.markets
    assert all(after.mark_price == honest.mark_price / 2 for honest, after in changed(faulted))  # type: ignore[operator]
    heard = [e for e in faulted.published if isinstance(e, Reference) and is_inside(faulted, e)]
    assert not heard
    several = (closures(lay("unreferenced_half", FEED, seed), accounts(FEED, seed, 100)) for seed in range(10))
    wrongful = [closure for asked in several for closure in asked if closure.label == "wrongful"]
    assert any(closure.check.market != market for closure in wrongful)


def test_references_split_when_laid_then_the_mark_stays_within_their_range() -> None:
    wide = 0
    for seed in range(6):
        faulted = lay("references_split", FEED, seed)
        shares: defaultdict[tuple[str, str], list[Decimal]] = defaultdict(list)
        for entry in faulted.published:
            if isinstance(entry, Reference):
                mark = faulted.truth.mark(entry.market, entry.at_ns)
                shares[entry.market, entry.source].append(entry.price / mark - 1)
        for market in FEED.markets:
            own = [sum(values, Decimal(0)) / len(values) for (of, _), values in shares.items() if of == market]
            assert -Decimal("0.06") < min(own) < Decimal("0.002")
            assert -Decimal("0.002") < max(own) < Decimal("0.06")
            wide += max(own) - min(own) > Decimal("0.005")
    assert wide >= 6


def test_references_split_when_laid_then_the_prices_are_those_that_older_figures_were_measured_with() -> None:
    text = repr(lay("references_split", FEED, 0).published)

    assert sha256(text.encode()).hexdigest().startswith("8e47e7b3173bd7ed")


def test_venue_down_when_the_publisher_restarts_then_a_new_epoch_follows_a_pause() -> None:
    faulted = lay("venue_down_restart", FEED, 3)
    for market in FEED.markets:
        own = [e for e in faulted.observed if e.market == market]
        first = next(e for e in own if e.epoch == 2)
        assert first.feed_sequence == 1
        assert first.at_ns - max(e.at_ns for e in own if e.epoch == 1) >= 6 * SECOND_NS
        assert own[-1].epoch == 2
    missing = set(others(FEED.entries, Reference)) - set(others(faulted.published, Reference))
    assert len({e.source for e in missing if isinstance(e, Reference)}) == 1


def test_dust_when_its_market_is_in_trouble_then_accounts_hold_dust_there_and_nothing_else() -> None:
    faulted = lay("dust_in_trouble", SMALL, 3)
    [market] = faulted.dust_markets
    asked = closures(faulted, accounts(SMALL, 3, 60))
    assert asked
    for closure in asked:
        assert closure.check.market != market
        [dust] = [position for position in closure.account.account.positions if position.market == market]
        assert abs(dust.size * dust.entry_price - 1) < Decimal("0.01")


def test_odd_stamps_when_laid_then_rates_are_wrong_first_and_then_one_stamp_in_25_s() -> None:
    faulted = lay("odd_stamps_after_trip", FEED, 3)
    assert faulted.fault is not None
    ahead: defaultdict[str, list[int]] = defaultdict(list)
    for honest, after in sorted(changed(faulted), key=lambda pair: pair[1].at_ns):
        late = after.at_ns >= faulted.fault.at_ns + 45 * SECOND_NS
        assert changed_fields(honest, after) == ({"event_time_ns"} if late else {"funding_rate"})
        if late:
            assert 2 * SECOND_NS < after.event_time_ns - after.at_ns < 5 * SECOND_NS
            ahead[after.market].append(after.at_ns)
    assert all(later - earlier >= 25 * SECOND_NS for own in ahead.values() for earlier, later in pairwise(own))


@pytest.mark.parametrize("kind", ["index_walk", "rejected_lineage"])
def test_index_when_wrong_then_half_of_the_exchanges_publish_no_premium_at_all(kind: str) -> None:
    published: list[bool] = []
    for seed in range(12):
        faulted = lay(kind, SMALL, seed)
        assert faulted.fault is not None
        own = [entry for entry in faulted.observed if entry.market in faulted.fault.markets]
        given = {entry.funding_premium is not None for entry in own}
        assert len(given) == 1
        published += given
    assert 2 <= published.count(True) <= 10
