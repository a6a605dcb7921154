"""The true funding index behind corrupt ones: carried from the nearest trusted value by the published premium."""

from __future__ import annotations

from decimal import Decimal

import pytest

from circuit_guard.core.envelope import FundingParameters, GapMode
from circuit_guard.core.types import SECOND_NS
from circuit_guard.report.funding import FundingHistory, Published

PERIOD_S = 100


def policy(mode: GapMode = GapMode.ACCRUE) -> FundingParameters:
    return FundingParameters(
        period_ns=PERIOD_S * SECOND_NS,
        rate_max=Decimal("0.02"),
        gap_mode=mode,
        gap_ns=30 * SECOND_NS,
        slack=Decimal("1.5"),
        trip_after_ns=0,
    )


def history(*points: tuple[int, str, str | None, bool], mode: GapMode = GapMode.ACCRUE) -> FundingHistory:
    """Return a history of (second, index, premium, trusted)."""
    made = FundingHistory()
    for second, index, premium, trusted in points:
        given = None if premium is None else Decimal(premium)
        made.add(Published(second * SECOND_NS, Decimal(index), given, trusted), policy(mode))
    return made


RESET = (
    (0, "500", "10", True),
    (10, "501", "10", True),
    (20, "0", "10", False),
    (30, "1", "20", False),
    (40, "3", "20", False),
    (50, "507", "20", True),
    (60, "509", "20", True),
)


@pytest.mark.parametrize(
    ("second", "expected"),
    [(10, "501"), (20, "502"), (25, "502.5"), (30, "503"), (40, "505"), (45, "506"), (50, "507"), (60, "509")],
)
def test_index_when_corrupt_then_is_carried_from_the_nearest_trusted_one(second: int, expected: str) -> None:
    assert history(*RESET).true_index(second * SECOND_NS, policy()) == Decimal(expected)


def test_index_when_nothing_good_comes_after_then_is_carried_forward() -> None:
    assert history(*RESET[:5]).true_index(40 * SECOND_NS, policy()) == Decimal(505)


def test_index_when_nothing_good_was_before_then_is_carried_back() -> None:
    assert history(*RESET[2:]).true_index(20 * SECOND_NS, policy()) == Decimal(502)
    assert history(*RESET[2:]).true_index(0, policy()) == Decimal(507) - 5


def test_index_when_nothing_was_ever_trusted_then_is_not_known() -> None:
    assert history(*RESET[2:5]).true_index(30 * SECOND_NS, policy()) is None
    assert FundingHistory().true_index(30 * SECOND_NS, policy()) is None


def test_index_when_no_premium_is_given_then_the_last_one_goes_on() -> None:
    made = history((0, "500", "10", True), (10, "0", None, False), (20, "1", None, False))
    assert made.true_index(20 * SECOND_NS, policy()) == Decimal(502)


def test_index_when_there_never_was_a_premium_then_it_stands_still() -> None:
    assert history((0, "500", None, True), (10, "0", None, False)).true_index(10 * SECOND_NS, policy()) == 500


def test_index_when_a_gap_freezes_it_then_nothing_accrues_in_the_gap() -> None:
    points = ((0, "500", "10", True), (50, "0", "10", False))
    assert history(*points, mode=GapMode.FREEZE).true_index(50 * SECOND_NS, policy(GapMode.FREEZE)) == 500
    assert history(*points).true_index(50 * SECOND_NS, policy()) == 505


def test_observation_when_its_event_time_does_not_advance_then_it_is_passed_over() -> None:
    made = history((10, "500", "10", True), (10, "7", "10", False), (5, "8", "10", False))
    assert made.settled_at(Decimal(7)) is None


@pytest.mark.parametrize(("cached", "second"), [("0", 20), ("1", 30), ("0.9", 30), ("3", 40), ("100", 40), ("-5", 20)])
def test_account_when_settled_with_a_corrupt_index_then_its_time_is_that_of_the_nearest_one(
    cached: str, second: int
) -> None:
    assert history(*RESET).settled_at(Decimal(cached)) == second * SECOND_NS


def test_long_honest_stretch_when_added_then_the_last_of_it_counts() -> None:
    made = history(*((second, str(500 + second), "100", True) for second in range(1000)))
    made.add(Published(1000 * SECOND_NS, Decimal(0), Decimal(100), trusted=False), policy())
    assert made.true_index(1000 * SECOND_NS, policy()) == 1500
