"""Evidence and doubt by shares of time, and the accounts that count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuit_guard.core.evidence import Accounts, Run, doubted, extended, interrupted, relieved
from circuit_guard.core.types import SECOND_NS

NEEDED_NS = 30 * SECOND_NS


def evidence(pattern: str) -> int:
    """Return the seconds of evidence after observations a second apart, `+` good and `-` bad."""
    run: Run | None = None
    for second, kind in enumerate(pattern):
        now_ns = second * SECOND_NS
        run = extended(run, now_ns) if kind == "+" else interrupted(run, now_ns, NEEDED_NS)
    return 0 if run is None else run.length_ns // SECOND_NS


def doubt(pattern: str) -> int:
    """Return the seconds of doubt after observations a second apart, `-` with the reason and `+` without it."""
    run: Run | None = None
    for second, kind in enumerate(pattern):
        now_ns = second * SECOND_NS
        run = doubted(run, now_ns) if kind == "-" else None if run is None else relieved(run, now_ns)
    return 0 if run is None else run.length_ns // SECOND_NS


@pytest.mark.parametrize(
    ("pattern", "seconds"),
    [
        ("+" * 31, 30),
        ("-" * 31, 0),
        (("+" * 24 + "-") * 2, 30),
        ("+-" * 100, 0),
        ("+" * 100 + "-", 28),
        ("+" * 100 + "-" * 15, 0),
        ("+" * 31 + "-+" + "+" * 10, 36),
    ],
)
def test_evidence_when_observations_are_good_and_bad_then_it_is_a_share_of_time(pattern: str, seconds: int) -> None:
    assert evidence(pattern) == pytest.approx(seconds, abs=2)


@pytest.mark.parametrize(
    ("pattern", "seconds"),
    [
        ("-" * 31, 30),
        ("-" * 80 + "+" + "-" * 20, 98),
        ("-" * 31 + "+" * 40, 0),
        ("-+" * 100, 0),
        ("-" * 31 + "+" * 11, 20),
    ],
)
def test_doubt_when_observations_relieve_it_then_it_shrinks_as_it_grew(pattern: str, seconds: int) -> None:
    assert doubt(pattern) == pytest.approx(seconds, abs=1)


def test_accounts_when_one_asks_again_then_it_counts_once_and_by_its_first_ask() -> None:
    accounts = Accounts()
    for second in range(20):
        accounts.note("a", second * SECOND_NS, 600 * SECOND_NS)
    accounts.note("b", 19 * SECOND_NS, 600 * SECOND_NS)
    assert accounts.count(20 * SECOND_NS, 10 * SECOND_NS) == 1


def test_accounts_when_all_are_forgotten_then_one_that_asks_again_is_noted_anew() -> None:
    accounts = Accounts()
    accounts.note("a", 0, 10 * SECOND_NS)
    accounts.note("a", 60 * SECOND_NS, 10 * SECOND_NS)
    assert accounts.count(60 * SECOND_NS, 10 * SECOND_NS) == 1


@given(
    noted=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5), st.sampled_from((3, 7))), max_size=60),
)
def test_accounts_when_counted_then_it_is_as_many_as_were_noted_first_within_the_window(
    noted: list[tuple[int, int, int]],
) -> None:
    accounts, now_ns = Accounts(), 0
    for account, later_ns, window_ns in noted:
        now_ns += later_ns
        accounts.note(f"a{account}", now_ns, 10)
        expected = sum(seen_ns >= now_ns - window_ns for seen_ns in accounts.seen_ns.values())
        assert accounts.count(now_ns, window_ns) == expected
