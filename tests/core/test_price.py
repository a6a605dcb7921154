"""Tolerances of prices: fractions with a floor under them, and a few ticks on top."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuit_guard.core.envelope import Interval
from circuit_guard.core.price import EXACT, PriceParameters
from circuit_guard.core.types import ARITHMETIC

SIGNED = st.decimals(-(10**9), 10**9, places=6)
SHARES = st.decimals(0, 1, places=6)
ABSOLUTE = st.decimals(0, 1000, places=6)
PRICES = st.builds(PriceParameters, tick=ABSOLUTE, scale=ABSOLUTE, min_change=SHARES)


@settings(max_examples=300, derandomize=True, database=None)
@given(ends=st.tuples(SIGNED, SIGNED), share=SHARES, widths=st.decimals(0, 100, places=2))
def test_widened_when_no_tick_is_given_then_it_is_by_fractions_of_the_ends(
    ends: tuple[Decimal, Decimal], share: Decimal, widths: Decimal
) -> None:
    low, high = Fraction(min(ends)), Fraction(max(ends))
    with localcontext(ARITHMETIC):
        wide = EXACT.widened(Interval(min(ends), max(ends)), share, widths)
    own = (high - low) * Fraction(widths)
    assert Fraction(wide.low) == low - abs(low) * Fraction(share) - own
    assert Fraction(wide.high) == high + abs(high) * Fraction(share) + own


@settings(max_examples=300, derandomize=True, database=None)
@given(prices=PRICES, ends=st.tuples(SIGNED, SIGNED), share=SHARES)
def test_widened_when_prices_have_any_sign_then_no_interval_turns_over_and_two_ticks_are_always_inside(
    prices: PriceParameters, ends: tuple[Decimal, Decimal], share: Decimal
) -> None:
    interval = Interval(min(ends), max(ends))
    with localcontext(ARITHMETIC):
        wide = prices.widened(interval, share)
        assert interval.low - 2 * prices.tick in wide
        assert interval.high + 2 * prices.tick in wide
        assert interval.low - share * prices.scale in wide


@pytest.mark.parametrize(
    ("price", "expected"),
    [("0", "0.07"), ("-0.5", "0.07"), ("5", "0.07"), ("-10", "0.12"), ("100", "1.02")],
)
def test_reach_when_a_price_is_small_then_it_is_of_the_scale_and_never_under_the_ticks(
    price: str, expected: str
) -> None:
    prices = PriceParameters(tick=Decimal("0.01"), scale=Decimal(5))

    assert prices.reach(Decimal("0.01"), Decimal(price)) == Decimal(expected)


def test_reach_when_changes_below_a_threshold_are_not_published_then_the_threshold_is_added() -> None:
    prices = PriceParameters(min_change=Decimal("0.005"))

    assert prices.reach(Decimal("0.01"), Decimal(200)) == 3
