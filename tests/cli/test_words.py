"""How values of the contract read."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration

from circuit_guard.cli import words
from circuit_guard.v1 import liquidation_pb2, types_pb2


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
    assert words.lasting(timedelta(seconds=seconds)) == text


def test_breaker_state_when_shown_then_it_says_what_it_does() -> None:
    shown = [words.breaker_state(state) for state in (1, 2, 3)]  # type: ignore[arg-type]

    assert shown == ["breaker CLOSED", "breaker OPEN (denying)", "breaker HALF_OPEN (at a rising rate)"]


def test_lifted_by_when_shown_then_every_value_of_the_contract_has_words() -> None:
    known = set(types_pb2.LiftedBy.values()) - {types_pb2.LIFTED_BY_UNSPECIFIED}

    assert set(words.LIFTED_BY) == known


def test_ask_again_when_shown_then_a_wait_is_in_seconds_and_none_waits_for_somebody() -> None:
    assert words.ask_again(Duration(seconds=1, nanos=500_000_000)) == "in 1.5 s"
    assert words.ask_again(None) == "not before somebody has acted"


@pytest.mark.parametrize(
    ("verdict", "low", "high", "text"),
    [
        (
            "EXPLAINED",
            "-20.5",
            "-12.3",
            "EXPLAINED: under water by at least 12.3 at every value that can honestly be, at worst by 20.5",
        ),
        (
            "UNEXPLAINED",
            "12.3",
            "20.5",
            "UNEXPLAINED: healthy by at least 12.3 at every value that can honestly be, at best by 20.5",
        ),
        (
            "UNEXPLAINED",
            "0",
            "1234567.891234567891",
            "UNEXPLAINED: healthy by at least 0 at every value that can honestly be, at best by 1234567.89123",
        ),
        (
            "INDETERMINATE",
            "-12.3",
            "20.5",
            "INDETERMINATE: under water by 12.3 at the worst values that can honestly be, healthy by 20.5 at the best",
        ),
    ],
)
def test_explained_loss_when_shown_then_the_verdict_and_both_bounds_are_in_words(
    verdict: str, low: str, high: str, text: str
) -> None:
    loss = liquidation_pb2.ExplainedLoss(verdict=f"EXPLANATION_{verdict}", low=low, high=high)

    assert words.explained_loss(loss) == text


def test_explained_loss_when_it_was_not_evaluated_then_the_unknown_markets_are_named() -> None:
    markets = [f"M-{number}" for number in range(8)]
    loss = liquidation_pb2.ExplainedLoss(verdict="EXPLANATION_NOT_EVALUATED", unknown_markets=markets)

    expected = "nothing can be said, as nothing is trusted of M-0, M-1, M-2, M-3, M-4, M-5 and 2 more"
    assert words.explained_loss(loss) == f"NOT_EVALUATED: {expected}"
