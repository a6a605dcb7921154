"""The policies of docs/exchanges.md, as they stand there: each is replayed with the funding that it is for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from circuit_guard.config.policy import parse_policy_file
from circuit_guard.core.formatting import format_time
from circuit_guard.core.inputs import Account, Basis, Check, Observation, Position
from circuit_guard.core.types import SECOND_NS, CheckKind
from circuit_guard.recording.file import write_recording
from circuit_guard.recording.format import Entry, Header, Label, LabelledCheck
from circuit_guard.recording.replay import replay_file
from circuit_guard.recording.score import ReplayResult
from tests.core.world import BTC, ETH, MIDNIGHT_NS, SOL, Feed, feed_of

PAGE = Path(__file__).parent.parent.parent / "docs" / "exchanges.md"
POLICIES = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
CONTINUOUS, STEPWISE, RATES_ONLY, PUBLISHED, ANNOUNCED, DELISTED = range(6)
EIGHT_NS = MIDNIGHT_NS + 8 * 3600 * SECOND_NS
RATES = {BTC: Decimal("0.0001"), ETH: Decimal("-0.0007"), SOL: Decimal("0.0113")}


@dataclass(frozen=True)
class Venue:
    """How an exchange pays funding in these tests, from three minutes before 08:00 to three minutes after."""

    period: int = 28_800
    settles: bool = False
    late: int = 0
    indexless: bool = False
    period_from_8: int = 0
    carries: bool = False
    doubled: bool = False
    delists_sol: bool = False
    """Whether SOL falls by a fifth from 08:00 on, its mark price is the average of the index, and all are settled."""

    def feed(self, market: str) -> Feed:
        feed = feed_of(market)
        feed.rate, feed.period, feed.settle_late = RATES[market], Decimal(self.period), Decimal(self.late)
        feed.move_to(feed.mark)
        feed.carries = Decimal(self.carries)
        hourly = self.settles and market == SOL
        feed.settle_every = Decimal(3600 if hourly else self.period) if self.settles else Decimal(0)
        return feed

    def entries(self) -> Iterator[Entry]:
        feeds = {market: self.feed(market) for market in RATES}
        for second in range(-180, 180):
            now_ns = EIGHT_NS + second * SECOND_NS
            for feed in feeds.values():
                if second == 0 and self.period_from_8:
                    feed.accrue(now_ns)
                    feed.period = Decimal(self.period_from_8)
                falls = self.delists_sol and feed.market == SOL and second >= 0
                if falls:
                    feed.move_to(Decimal("133.5") - Decimal("0.15") * second)
                    feed.average, feed.average_from_ns = "growing", EIGHT_NS
                yield from feed.quotes(now_ns)
                yield self._published(feed.observation(now_ns), feed, second)
                if second % 60 == 45:
                    yield _question(feed, now_ns, indexless=self.indexless)
                if falls and second > 170:
                    yield _settlement(feed, now_ns)

    def _published(self, honest: Observation, feed: Feed, second: int) -> Observation:
        if self.doubled and second > 90:
            honest = replace(honest, funding_index=feed.funding + feed.premium)
        return replace(honest, funding_index=None) if self.indexless else honest


def _question(feed: Feed, now_ns: int, *, indexless: bool) -> LabelledCheck:
    basis = Basis(feed.mark, None if indexless else feed.funding)
    check = Check(now_ns, f"{feed.market}-{now_ns}", "a-1", feed.market, Decimal(-1), basis=basis)
    return LabelledCheck(check, Label.GENUINE)


def _settlement(feed: Feed, now_ns: int) -> LabelledCheck:
    """Return the question whether a healthy account may be settled at the mark price."""
    held = Position(feed.market, Decimal(3), Decimal(20), feed.funding, Decimal("0.01"))
    check = Check(
        now_ns,
        f"settle-{now_ns}",
        f"holder-{now_ns}",
        feed.market,
        Decimal(-3),
        CheckKind.SETTLEMENT,
        feed.mark,
        Basis(feed.mark, feed.funding),
        Account(Decimal(5000), (held,)),
    )
    return LabelledCheck(check, Label.GENUINE)


def replayed(policy: str, venue: Venue, directory: Path) -> ReplayResult:
    path = directory / "recording.jsonl"
    write_recording(path, Header("funding"), venue.entries())
    return replay_file(path, parse_policy_file(policy, str(PAGE)))


def trips(result: ReplayResult) -> set[tuple[str, str]]:
    found: Any = result.as_json()["trips"]
    return {(trip["scope"], trip["reason"]) for trip in found}


def decisions(result: ReplayResult) -> Any:
    return result.as_json()["decisions"]


def announced_at_8(policy: str) -> str:
    """Return the policy whose first change takes place in the recording, not in years."""
    return policy.replace("2030-01-01T08:00:00Z", format_time(EIGHT_NS))


WHOLE = partial(pytest.param, marks=pytest.mark.system)
FITTING = {
    "continuous": (CONTINUOUS, Venue()),
    "stepwise": (STEPWISE, Venue(settles=True)),
    "stepwise, published 17 s late": (STEPWISE, Venue(settles=True, late=17)),
    "stepwise, published 11 s early": WHOLE(STEPWISE, Venue(settles=True, late=-11)),
    "rates only": (RATES_ONLY, Venue(indexless=True)),
    "period published": (PUBLISHED, Venue(carries=True, period_from_8=14_400)),
    "period announced, and not yet": WHOLE(ANNOUNCED, Venue()),
}


@pytest.mark.parametrize(("number", "venue"), FITTING.values(), ids=FITTING)
def test_policy_when_the_exchange_is_of_its_kind_then_every_genuine_closure_goes_through(
    number: int, venue: Venue, tmp_path: Path
) -> None:
    result = replayed(POLICIES[number], venue, tmp_path)
    assert trips(result) == set()
    assert result.as_json()["observations_rejected"] == {}
    assert decisions(result)["DENY"] == 0


def test_policy_when_a_change_is_announced_then_it_holds_for_its_market_alone(tmp_path: Path) -> None:
    policy, venue = announced_at_8(POLICIES[ANNOUNCED]), Venue(period_from_8=3600)
    scopes = {scope for scope, _ in trips(replayed(policy, venue, tmp_path))}
    assert SOL not in scopes
    assert ETH in scopes


def test_policy_when_a_delisting_is_announced_then_everything_is_settled_and_nothing_trips(tmp_path: Path) -> None:
    result = replayed(announced_at_8(POLICIES[DELISTED]), Venue(delists_sol=True), tmp_path)
    assert trips(result) == set()
    assert result.as_json()["observations_rejected"] == {}
    assert decisions(result)["DENY"] == 0
    assert decisions(result)["ALLOW"] == 3 * 6 + 9


def test_policy_when_it_knows_of_no_delisting_then_it_trips(tmp_path: Path) -> None:
    result = replayed(POLICIES[CONTINUOUS], Venue(delists_sol=True), tmp_path)
    assert {scope for scope, _ in trips(result)} == {SOL}


WRONG = {
    "a stepwise exchange under a continuous policy": (CONTINUOUS, Venue(settles=True), "funding_jump"),
    "settled a second time": WHOLE(STEPWISE, Venue(settles=True, doubled=True), "funding_off_settlement"),
    "a step added to a continuous index": (CONTINUOUS, Venue(doubled=True), "funding_jump"),
    "a period shorter than the policy admits": (PUBLISHED, Venue(carries=True, period_from_8=900), "funding_jump"),
}


@pytest.mark.parametrize(("number", "venue", "reason"), WRONG.values(), ids=WRONG)
def test_policy_when_the_funding_is_of_no_such_kind_then_it_latches(
    number: int, venue: Venue, reason: str, tmp_path: Path
) -> None:
    assert reason in {found for _, found in trips(replayed(POLICIES[number], venue, tmp_path))}


def test_stepwise_policy_when_the_index_moves_all_the_time_then_no_market_ever_gets_warm(tmp_path: Path) -> None:
    made = decisions(replayed(POLICIES[STEPWISE], Venue(), tmp_path))
    assert made["ALLOW"] == 0
    assert made["denied_by_reason"]["warming"] > 0
