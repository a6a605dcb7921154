"""Changes at a known second: what holds when, what a revision counts, and what the journal gives back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from circuit_guard.config.policy import parse_policy, parse_policy_file
from circuit_guard.core.envelope import FundingAccrual, FundingParameters
from circuit_guard.core.policy import Policy
from circuit_guard.core.references import ReferenceParameters
from circuit_guard.core.status import changes, next_change
from circuit_guard.core.types import SECOND_NS
from circuit_guard.journal.codec import decode, encode

BEFORE = """
[global_breaker]
latched_markets_min = 1
[classes.default]
references.sources = ["binance", "bybit", "okx"]
[markets.XYZ-USD-PERP]
"""
CHANGES = """
[[markets.XYZ-USD-PERP.changes]]
from = 2026-12-01T08:00:00Z
funding.period_s = 3600
[[markets.XYZ-USD-PERP.changes]]
from = 2026-12-05T01:30:00+01:00
funding.accrual = "stepwise"
references.sources = ["binance", "kraken", "okx"]
"""


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND_NS


FIRST, SECOND = at("2026-12-01T08:00:00"), at("2026-12-05T00:30:00")


def market_at(policy: Policy, now_ns: int) -> tuple[int, FundingAccrual, frozenset[str]]:
    market = policy.at(now_ns).markets["XYZ-USD-PERP"]
    funding = market.of(FundingParameters)
    return funding.period_ns // SECOND_NS, funding.accrual, market.of(ReferenceParameters).sources


def test_policy_when_time_passes_then_each_change_holds_from_its_very_second_on() -> None:
    policy = parse_policy(BEFORE + CHANGES, "p")
    sources = frozenset({"binance", "bybit", "okx"})
    assert market_at(policy, FIRST - 1) == (28_800, FundingAccrual.CONTINUOUS, sources)
    assert market_at(policy, FIRST) == (3600, FundingAccrual.CONTINUOUS, sources)
    assert market_at(policy, SECOND - 1) == (3600, FundingAccrual.CONTINUOUS, sources)
    assert market_at(policy, SECOND) == (3600, FundingAccrual.STEPWISE, frozenset({"binance", "kraken", "okx"}))


def test_policy_when_asked_twice_between_changes_then_it_is_the_same_object() -> None:
    policy = parse_policy(BEFORE + CHANGES, "p")
    assert policy.at(FIRST) is policy.at(SECOND - 1)
    assert policy.at(FIRST).at(FIRST) is policy.at(FIRST)
    assert policy.at(FIRST).at(0).markets["XYZ-USD-PERP"] is policy.markets["XYZ-USD-PERP"]


def test_revision_when_a_change_is_named_then_it_counts_and_none_counts_as_before() -> None:
    without, with_changes = parse_policy(BEFORE, "p"), parse_policy(BEFORE + CHANGES, "p")
    later = parse_policy(BEFORE + CHANGES.replace("08:00:00Z", "08:00:01Z"), "p")
    assert len({without.revision, with_changes.revision, later.revision}) == 3
    assert with_changes.at(SECOND).revision == with_changes.revision


@pytest.mark.parametrize("text", [BEFORE, BEFORE + CHANGES])
def test_policy_when_journaled_then_its_changes_come_back(text: str) -> None:
    policy = parse_policy(text, "p")
    policy.at(SECOND)
    again = decode(encode(policy))
    assert again == policy
    assert isinstance(again, Policy)
    assert market_at(again, SECOND) == market_at(policy, SECOND)


def test_changes_when_shown_then_each_says_what_differs_from_before_it() -> None:
    market = parse_policy(BEFORE + CHANGES, "p").markets["XYZ-USD-PERP"]
    first, second = (said for _, said in changes(market))
    assert first == "2026-12-01 08:00:00Z: funding.period_s 28800 to 3600"
    assert second == (
        "2026-12-05 00:30:00Z: funding.accrual continuous to stepwise, "
        "references.sources binance and bybit and okx to binance and kraken and okx"
    )
    assert [next_change(market, now_ns) for now_ns in (FIRST - 1, FIRST, SECOND)] == [first, second, ""]


def test_changes_when_their_time_is_over_then_they_are_named() -> None:
    file = parse_policy_file(BEFORE + CHANGES, "p")
    assert file.past_changes(FIRST - 1) == []
    [past] = file.past_changes(FIRST)
    assert str(past) == (
        "markets.XYZ-USD-PERP.changes[0].from: was 2026-12-01T08:00:00Z, expected a time after now, "
        "2026-12-01T08:00:00Z: write what has changed into the table, and take the change out"
    )


def test_market_when_its_class_changes_too_then_its_own_list_takes_the_place_of_the_class_s() -> None:
    class_changes = """
[[classes.default.changes]]
from = 2026-12-01T08:00:00Z
funding.rate_max = "0.01"
"""
    text = BEFORE.replace("[markets", class_changes + "[markets") + "[markets.OWN-USD-PERP]\n"
    text += "[[markets.OWN-USD-PERP.changes]]\nfrom = 2026-12-02T08:00:00Z\nfunding.rate_max = '0.03'\n"
    markets = parse_policy(text, "p").at(at("2026-12-03T00:00:00")).markets
    rates = {name: market.of(FundingParameters).rate_max for name, market in markets.items()}
    assert rates == {"XYZ-USD-PERP": Decimal("0.01"), "OWN-USD-PERP": Decimal("0.03")}
    assert replace(markets["XYZ-USD-PERP"], changes=()).changes == ()
