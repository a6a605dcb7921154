"""How values read."""

from __future__ import annotations

from decimal import Decimal

import pytest

from circuit_guard.core.formatting import ENDINGS, ask_again, breaker, cell, ending, explained_loss, from_cell, lasting
from circuit_guard.core.types import SECOND_NS, BreakerState, ExplainedLoss, Explanation, Lift


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 0 s"),
        (100, "1 min 40 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (90_000, "1 d 1 h"),
        (86_400, "1 d"),
    ],
)
def test_lasting_when_shown_then_the_two_largest_units_are_given(seconds: float, text: str) -> None:
    assert lasting(int(seconds * SECOND_NS)) == text


def test_breaker_when_shown_then_it_says_what_it_does() -> None:
    assert [*map(breaker, BreakerState)] == ["CLOSED", "OPEN (denying)", "HALF_OPEN (at a rising rate)"]
    assert breaker(BreakerState.OPEN, latched=True) == "OPEN (denying), latched"


def test_ending_when_shown_then_every_lift_has_words() -> None:
    assert set(ENDINGS) == set(Lift)
    assert ending(Lift.OPERATOR, None) == "An operator must act; retrying will not help."


def test_ask_again_when_shown_then_a_wait_is_in_seconds_and_none_waits_for_somebody() -> None:
    assert ask_again(3 * SECOND_NS // 2) == "ask again in 1.5 s"
    assert ask_again(None) == "retrying will not help"


@pytest.mark.parametrize(
    ("verdict", "low", "high", "text"),
    [
        ("EXPLAINED", "-20.5", "-12.3", "under water at every admissible value, by at least 12.3 and at most 20.5"),
        ("UNEXPLAINED", "12.3", "20.5", "healthy at every admissible value, by at least 12.3 and at most 20.5"),
        (
            "UNEXPLAINED",
            "0",
            "1234567.891234567891",
            "healthy at every admissible value, by at least 0 and at most 1234567.89123",
        ),
        (
            "INDETERMINATE",
            "-12.3",
            "20.5",
            "under water by 12.3 at the worst admissible values, healthy by 20.5 at the best",
        ),
    ],
)
def test_explained_loss_when_shown_then_the_verdict_and_both_bounds_are_in_words(
    verdict: str, low: str, high: str, text: str
) -> None:
    loss = ExplainedLoss(Explanation(verdict), Decimal(low), Decimal(high), ())

    assert explained_loss(loss) == f"{verdict}: {text}"


def test_explained_loss_when_it_was_not_evaluated_then_the_unknown_markets_are_named() -> None:
    loss = ExplainedLoss(Explanation.NOT_EVALUATED, None, None, tuple(f"M-{number}" for number in range(8)))

    expected = "no value of M-0, M-1, M-2, M-3, M-4, M-5 and 2 more is trusted, so nothing can be said"
    assert explained_loss(loss) == f"NOT_EVALUATED: {expected}"


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "@SUM(A1:A9)", "-2+3", "\t=1", "\r=1", '=HYPERLINK("x";"y")'])
def test_cell_when_a_spreadsheet_would_run_it_then_it_has_an_apostrophe_and_comes_back_without(text: str) -> None:
    assert cell(text) == f"'{text}"
    assert from_cell(cell(text)) == text


@pytest.mark.parametrize("text", ["", "account-1", "a=1", "'quoted'", "'", "币安人生USDT", "1-2"])
def test_cell_when_it_is_no_formula_then_it_stays_as_it_is(text: str) -> None:
    assert cell(text) == from_cell(text) == text
