"""Envelopes, held against a plain implementation in fractions that shares no code with them."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuit_guard.core.envelope import FundingParameters, Interval, funding_bound, funding_envelope, funding_price
from circuit_guard.core.market import Feed, FeedParameters, readable
from circuit_guard.core.types import ARITHMETIC, SECOND_NS
from tests.core.world import changed, market_policy

PRICES = st.decimals("1e-6", "1e7", places=6, allow_nan=False)
SIGNED = st.decimals("-1e7", "1e7", places=6, allow_nan=False)
SHARES = st.decimals("0", "1", places=4)
WIDTHS = st.decimals("0", "5", places=2)
DURATIONS = st.integers(0, 10**6 * SECOND_NS)
PRECISION = Fraction(1, 10**40)
POLICY = market_policy().of(FundingParameters)


def close(value: Decimal, twin: Fraction) -> bool:
    return abs(Fraction(value) - twin) <= max(abs(twin), Fraction(1)) * PRECISION


@settings(max_examples=300, derandomize=True, database=None)
@given(price=SIGNED, accrual_ns=DURATIONS, rate_max=SHARES, slack=st.decimals("1", "10", places=2))
def test_funding_bound_when_computed_in_fractions_then_it_is_the_same(
    price: Decimal, accrual_ns: int, rate_max: Decimal, slack: Decimal
) -> None:
    policy = changed(POLICY, {"rate_max": str(rate_max), "slack": str(slack)})
    hours = Fraction(accrual_ns, 3600 * SECOND_NS)
    twin = abs(Fraction(price)) * (Fraction(slack) * Fraction(rate_max) * hours / 8 + Fraction(1, 10**9))
    with localcontext(ARITHMETIC):
        assert close(funding_bound(policy, price, accrual_ns), twin)


@settings(max_examples=200, derandomize=True, database=None)
@given(trusted=SIGNED, price=PRICES, shorter_ns=DURATIONS, more_ns=DURATIONS)
def test_funding_envelope_when_more_time_passes_then_it_only_grows(
    trusted: Decimal, price: Decimal, shorter_ns: int, more_ns: int
) -> None:
    with localcontext(ARITHMETIC):
        before = funding_envelope(POLICY, trusted, price, shorter_ns)
        after = funding_envelope(POLICY, trusted, price, shorter_ns + more_ns)
    assert after.low <= before.low <= trusted <= before.high <= after.high


@settings(max_examples=300, derandomize=True, database=None)
@given(ends=st.tuples(SIGNED, SIGNED), value=SIGNED)
def test_interval_when_a_value_is_outside_then_its_distance_is_to_the_nearer_end(
    ends: tuple[Decimal, Decimal], value: Decimal
) -> None:
    low, high = min(ends), max(ends)
    with localcontext(ARITHMETIC):
        interval = Interval(low, high)
        distance = max(Fraction(low) - Fraction(value), Fraction(value) - Fraction(high), Fraction(0))
        assert (value in interval) == (low <= value <= high)
        assert close(interval.distance(value), distance)


@pytest.mark.parametrize(
    ("index_price", "mark_price", "expected"),
    [
        ("100", "90", "100"),
        ("100", "40", "80"),  # an index price far above the mark price would widen the bound
        ("-37", "-36", "37"),
        ("100", None, "100"),
        (None, "90", "90"),
        (None, None, None),  # nothing to bound with: nothing is judged
    ],
)
def test_funding_price_when_prices_are_given_or_not_then_the_smaller_is_believed(
    index_price: str | None, mark_price: str | None, expected: str | None
) -> None:
    index, mark, price = (None if text is None else Decimal(text) for text in (index_price, mark_price, expected))
    assert funding_price(index, mark) == price


@pytest.mark.parametrize(
    ("mode", "gap", "expected_s"),
    [
        ("accrue", "1s", 11),
        ("accrue", "600s", 610),
        ("freeze", "30s", 40),
        ("freeze", "30.1s", 10),
        ("accrue", "-5s", 10),
    ],
)
def test_accrual_when_the_feed_was_silent_then_the_gap_mode_says_what_counts(
    mode: str, gap: str, expected_s: int
) -> None:
    policy = changed(market_policy(), {"funding.gap_mode": mode})
    feed = Feed(event_time_ns=1000 * SECOND_NS, accrued_ns=10 * SECOND_NS)
    until_ns = 1000 * SECOND_NS + int(Decimal(gap[:-1]) * SECOND_NS)
    assert feed.accrual_ns(until_ns, policy, until_ns) == expected_s * SECOND_NS


def test_accrual_when_the_stamp_is_far_ahead_then_it_counts_to_the_allowed_skew_only() -> None:
    policy = market_policy()
    feed = Feed(event_time_ns=1000 * SECOND_NS)
    accrual_ns = feed.accrual_ns(10**6 * SECOND_NS, policy, 1005 * SECOND_NS)
    assert accrual_ns == 5 * SECOND_NS + policy.of(FeedParameters).future_skew_ns


@pytest.mark.parametrize(
    ("text", "is_readable"),
    [
        *((text, True) for text in ("1", "-1", "0", "-0", "0E-999999", "1e30", "1e-30", "9.99e30")),
        *((text, False) for text in ("NaN", "sNaN", "-Infinity", "1e31", "1e-31", "1e999999")),
    ],
)
def test_readable_when_a_value_is_extreme_then_rules_may_compute_with_it_or_not(text: str, is_readable: bool) -> None:
    assert (readable(Decimal(text)) is not None) == is_readable
