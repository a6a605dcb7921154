"""The rules of others, each against its own published numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest

from circuit_guard.config.policy import PolicyFile
from circuit_guard.core.inputs import Basis, Check, Observation, Reference, Tick
from circuit_guard.core.types import SECOND_NS
from circuit_guard.evaluation.peers import (
    PEERS,
    ClosureVolumeCap,
    DriftGuardRails,
    FixedThresholds,
    FundingCap,
    GrowthCap,
    IndexExclusion,
    LuldBand,
    Nothing,
    OsmBreaker,
    Peer,
    ReleasedDivergence,
    peers,
    share_of,
)

BTC, LTC = "BTC-USD-PERP", "LTC-USD-PERP"
VENUES = ("binance", "bybit", "okx")
PRICE = 1000.0


class Exchange:
    """Publishes to one peer and asks it; time is in seconds."""

    def __init__(self, peer: Peer, venues: tuple[str, ...] = VENUES) -> None:
        self.peer = peer
        self.venues = venues

    def refer(self, at_s: float, market: str = BTC, price: float = PRICE, venue: str = "") -> None:
        for name in (venue,) if venue else self.venues:
            at_ns = int(at_s * SECOND_NS)
            self.peer.tell(Reference(at_ns, market, name, at_ns, Decimal(str(price))))

    def publish(self, at_s: float, market: str = BTC, price: float = PRICE, **values: object) -> bool:
        at_ns = int(at_s * SECOND_NS)
        mark = Decimal(str(price))
        return self.peer.tell(Observation(at_ns, market, "exchange", 1, 1, at_ns, mark, mark, **values))  # type: ignore[arg-type]

    def run(self, from_s: int, until_s: int, market: str = BTC, price: float = PRICE) -> None:
        """Publish references and the same mark price every five seconds."""
        for at_s in range(from_s, until_s, 5):
            self.refer(at_s, market, price)
            self.publish(at_s, market, price)

    def allowed(
        self, at_s: float, market: str = BTC, price: float = PRICE, funding_index: float = 0, size: float = -1
    ) -> bool:
        mark = Decimal(str(price))
        basis = Basis(mark, Decimal(str(funding_index)))
        at_ns = int(at_s * SECOND_NS)
        check = Check(at_ns, f"r-{at_s}", "a", market, Decimal(str(size)), execution_price=mark, basis=basis)
        answer = self.peer.ask(check)
        assert answer.allowed == (not answer.reasons)
        return answer.allowed


def test_peers_when_listed_then_each_has_a_name_and_a_source(policy_file: PolicyFile) -> None:
    judges = peers(policy_file.policy())

    assert len({judge.name for judge in judges}) == len(PEERS) == 10
    published = [judge for judge in judges if not isinstance(judge, Nothing | ReleasedDivergence)]
    assert all(judge.source.startswith("https://") for judge in published)


@pytest.mark.parametrize("kind", PEERS, ids=lambda kind: kind.name)
def test_peer_when_prices_stand_still_then_nothing_is_held(kind: type[Peer]) -> None:
    exchange = Exchange(kind())
    exchange.run(0, 1200)
    exchange.peer.tell(Tick(1200 * SECOND_NS))

    assert exchange.allowed(1200)
    assert not exchange.peer.halted(BTC)


def test_nothing_when_asked_then_allows_whatever_it_is() -> None:
    assert Exchange(Nothing()).allowed(0, price=0)


def test_divergence_0_2_when_the_mark_is_over_1_percent_off_then_denies_until_15_s_after_it_is_back() -> None:
    exchange = Exchange(ReleasedDivergence())
    exchange.run(0, 60)

    assert exchange.publish(60, price=1009.9)
    assert not exchange.publish(61, price=1010.1)
    assert not exchange.allowed(62), "the published mark price is out"
    exchange.run(65, 80)
    assert not exchange.allowed(79)
    assert exchange.allowed(80)
    assert not exchange.allowed(80, price=989.9)


def test_divergence_0_2_when_the_median_has_moved_then_the_limits_are_wider_by_twice_that_for_30_s() -> None:
    exchange = Exchange(ReleasedDivergence())
    exchange.run(0, 60)
    exchange.refer(60, price=990)

    assert exchange.allowed(61, price=961)
    exchange.refer(89, price=990)
    assert exchange.allowed(89, price=961)
    assert not exchange.allowed(91, price=979)


def test_divergence_0_2_when_it_lasts_30_s_then_trips_and_a_minute_later_a_mark_inside_reopens_it() -> None:
    exchange = Exchange(ReleasedDivergence())
    exchange.run(0, 60)
    for at_s in range(60, 95, 5):
        exchange.refer(at_s)
        assert exchange.peer.halted(BTC) == (at_s > 90)
        exchange.publish(at_s, price=980)
    assert exchange.peer.halted(BTC)

    exchange.run(95, 150)
    assert not exchange.allowed(149)
    exchange.run(150, 155)
    assert exchange.allowed(151)


def test_divergence_0_2_when_20_percent_off_then_trips_at_once_and_without_three_sources_it_does_not() -> None:
    exchange, two = Exchange(ReleasedDivergence()), Exchange(ReleasedDivergence(), VENUES[:2])
    for each in (exchange, two):
        each.run(0, 60)
        assert not each.publish(60, price=790)

    assert exchange.peer.halted(BTC)
    assert not two.peer.halted(BTC)


@pytest.mark.parametrize(
    ("market", "price", "allowed"),
    [(BTC, 980.1, True), (BTC, 979.9, False), (BTC, 1020.1, False), (LTC, 901, True), (LTC, 899, False)],
)
def test_fixed_thresholds_when_the_mark_is_off_the_median_then_2_or_10_percent_decide(
    market: str, price: float, allowed: bool
) -> None:
    exchange = Exchange(FixedThresholds())
    exchange.run(0, 60, market)

    assert exchange.publish(60, market, price) == allowed
    assert exchange.allowed(60, market, price) == allowed
    assert exchange.allowed(61, market), "the next honest price is free at once"


def test_fixed_thresholds_when_a_source_has_been_silent_for_a_minute_then_two_are_no_median() -> None:
    exchange = Exchange(FixedThresholds())
    exchange.refer(0, venue="okx")
    for venue in ("binance", "bybit"):
        exchange.refer(59, venue=venue)

    assert not exchange.allowed(60, price=900)
    assert exchange.allowed(61, price=900)


def test_index_exclusion_when_the_mark_was_10_percent_off_then_15_minutes_within_2_percent_bring_it_back() -> None:
    exchange = Exchange(IndexExclusion())
    exchange.run(0, 60)
    assert exchange.publish(60, price=901)
    assert not exchange.publish(65, price=900)
    assert exchange.peer.halted(BTC)

    exchange.run(70, 70 + 15 * 60)
    assert not exchange.allowed(70 + 15 * 60 - 1)
    exchange.run(70 + 15 * 60, 70 + 15 * 60 + 5)

    assert exchange.allowed(70 + 15 * 60 + 1)
    assert not exchange.peer.halted(BTC)


def test_index_exclusion_when_it_strays_on_the_way_back_then_the_15_minutes_begin_anew() -> None:
    exchange = Exchange(IndexExclusion())
    exchange.run(0, 60)
    exchange.publish(60, price=900)
    exchange.run(65, 600)
    exchange.publish(600, price=970)
    exchange.run(605, 65 + 15 * 60 + 100)

    assert exchange.peer.halted(BTC)


def test_index_exclusion_when_there_are_two_sources_then_5_percent_hold_only_while_it_is_so() -> None:
    exchange = Exchange(IndexExclusion(), VENUES[:2])
    exchange.run(0, 60)

    assert not exchange.publish(60, price=950)
    assert not exchange.allowed(60, price=950)
    assert exchange.allowed(61)


@pytest.mark.parametrize(
    ("market", "price", "share"),
    [(BTC, 92_610, 0.05), (LTC, 79, 0.10), (LTC, 3, 0.20), (LTC, 0.75, 0.20), (LTC, 0.5, 0.30), (LTC, 0.1, 0.75)],
)
def test_luld_when_the_price_is_low_then_the_band_is_wide(market: str, price: float, share: float) -> None:
    assert share_of(market, price) == pytest.approx(share)


def test_luld_when_outside_for_15_seconds_then_pauses_for_five_minutes_and_starts_from_the_first_print() -> None:
    exchange = Exchange(LuldBand())
    exchange.run(0, 300)

    assert exchange.publish(300, price=951)
    assert not exchange.publish(305, price=950)
    assert exchange.allowed(306), "inside the band is still free in a limit state"
    assert not exchange.allowed(306, price=949)
    exchange.publish(315, price=940)
    assert not exchange.peer.halted(BTC)
    exchange.publish(320, price=940)
    assert exchange.peer.halted(BTC)
    assert not exchange.allowed(619)

    assert exchange.publish(620, price=500)
    assert exchange.allowed(621, price=500)
    assert not exchange.allowed(622, price=PRICE)


def test_luld_when_the_price_moves_slowly_then_the_band_moves_with_the_mean() -> None:
    exchange = Exchange(LuldBand())
    for step in range(200):
        assert exchange.publish(5 * step, price=PRICE - step)

    assert exchange.allowed(1000, price=800)
    assert not exchange.allowed(1000, price=PRICE)


def test_drift_when_mark_and_oracle_part_by_10_percent_then_pauses_while_they_do() -> None:
    exchange = Exchange(DriftGuardRails())
    exchange.run(0, 60)

    assert exchange.allowed(60, price=901)
    assert not exchange.allowed(60, price=899)
    assert exchange.allowed(61)


def test_drift_when_the_oracle_is_a_minute_old_then_it_is_stale() -> None:
    exchange = Exchange(DriftGuardRails())
    exchange.run(0, 5)

    assert exchange.allowed(60)
    assert not exchange.allowed(61)


def test_drift_when_the_sources_are_far_apart_then_the_oracle_is_uncertain() -> None:
    exchange = Exchange(DriftGuardRails())
    exchange.run(0, 60)
    exchange.refer(60, price=1490, venue="okx")
    assert exchange.allowed(60)
    exchange.refer(61, price=1510, venue="okx")

    assert not exchange.allowed(61)


def test_drift_when_the_oracle_halves_then_it_is_off_its_mean_until_that_has_followed() -> None:
    exchange = Exchange(DriftGuardRails())
    exchange.run(0, 300)
    exchange.run(300, 305, price=499)
    assert not exchange.allowed(305, price=499)

    exchange.run(305, 600, price=499)

    assert exchange.allowed(600, price=499)


def test_osm_breaker_when_the_price_halves_within_an_hour_then_it_stays_stopped() -> None:
    exchange = Exchange(OsmBreaker())
    exchange.run(0, 60)

    assert exchange.publish(60, price=500)
    assert not exchange.publish(65, price=499)
    exchange.run(70, 600)

    assert not exchange.allowed(600)
    assert exchange.peer.halted(BTC)
    assert exchange.allowed(600, LTC)


def test_osm_breaker_when_the_price_halves_over_more_than_an_hour_then_it_lets_it() -> None:
    exchange = Exchange(OsmBreaker())
    exchange.run(0, 3600)
    exchange.run(3600, 7205, price=700)
    exchange.run(7205, 7300, price=400)

    assert exchange.allowed(7300, price=400)


def test_osm_breaker_when_the_price_rises_then_it_does_not_look() -> None:
    exchange = Exchange(OsmBreaker())
    exchange.run(0, 60)

    assert exchange.publish(60, price=1_000_000)
    assert exchange.allowed(60, price=1_000_000)


def test_funding_cap_when_the_rate_is_over_it_then_holds_while_it_is_so_and_sees_no_index() -> None:
    exchange = Exchange(FundingCap({BTC: 0.02}))

    assert exchange.publish(0, funding_rate=Decimal("-0.02"), funding_index=Decimal(20_000))
    assert exchange.publish(5, funding_rate=Decimal("0.01"), funding_index=Decimal(0))
    assert exchange.allowed(6, funding_index=0)
    assert not exchange.publish(10, funding_rate=Decimal("0.0201"))
    assert not exchange.allowed(11)
    assert exchange.publish(15, funding_rate=Decimal("0.01"))
    assert exchange.allowed(16)


def test_growth_cap_when_the_index_rises_faster_than_its_cap_then_holds_and_a_fall_it_does_not_see() -> None:
    exchange = Exchange(GrowthCap())
    cap = 50 + PRICE * 0.0968 * 7 / 365
    exchange.publish(0, funding_index=Decimal(50))

    assert exchange.allowed(1, funding_index=cap - 0.001)
    assert not exchange.allowed(1, funding_index=cap + 0.001)
    assert not exchange.publish(5, funding_index=Decimal(100))
    assert exchange.publish(10, funding_index=Decimal(0))
    assert exchange.allowed(11, funding_index=0)


def test_closure_volume_cap_when_5_million_are_closed_then_the_market_waits_140_minutes() -> None:
    exchange = Exchange(ClosureVolumeCap())

    assert exchange.allowed(0, size=-4_000)
    assert exchange.allowed(1, size=1_000)
    assert not exchange.allowed(2, size=-0.1)
    assert exchange.peer.halted(BTC)
    assert exchange.allowed(2, LTC, size=-5_000)
    assert not exchange.allowed(140 * 60 - 1, size=-0.1)

    assert exchange.allowed(140 * 60, size=-4_000)
    assert not exchange.peer.halted(BTC)
