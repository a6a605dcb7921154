"""How often the guard shows itself: at each tick, unless that would cost closures and market data too much."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from circuit_guard.runtime.descriptors import DescriptorWatch
from circuit_guard.runtime.status_refresh import MARKETS_PER_TURN, StatusRefresh
from circuit_guard.telemetry.logging import LogPipeline
from circuit_guard.telemetry.metrics import Metrics
from circuit_guard.web.history import History
from tests.driver import BTC, START_NS, Driver, policy_of


class Readings:
    """A clock that is read as often as it has readings, seconds."""

    def __init__(self) -> None:
        self.next: list[float] = []

    def __call__(self) -> float:
        return self.next.pop(0)


@pytest.fixture(name="clock")
def _clock() -> Readings:
    return Readings()


def refresh_of(markets: int, clock: Readings) -> StatusRefresh:
    policy = policy_of(BTC)
    policy = replace(policy, markets={f"M{number:02d}-USD-PERP": policy.markets[BTC] for number in range(markets)})
    metrics, history = Metrics(policy, "1.2.3", START_NS), History(policy.markets)
    driver = Driver(policy, [metrics, history])
    return StatusRefresh(
        driver.engine, metrics, LogPipeline("error", "json", io.StringIO()), history, DescriptorWatch(), clock
    )


async def test_refresh_when_it_took_long_then_it_rests_until_it_takes_a_twentieth_of_the_time(
    clock: Readings,
) -> None:
    refresh = refresh_of(1, clock)
    clock.next = [99.0]
    assert refresh.due(), "at the first tick"
    clock.next = [100.0, 100.01, 100.3]
    await refresh.refresh(None, 0.0, serving=True)
    assert refresh.due(), "0.01 s of 0.3 s is less than a twentieth"

    clock.next = [200.0, 200.5, 209.9, 210.1]
    await refresh.refresh(None, 0.0, serving=True)
    assert not refresh.due(), "0.5 s of 9.9 s is more than a twentieth"
    assert refresh.due()


async def test_refresh_when_others_had_their_turn_meanwhile_then_that_does_not_count(clock: Readings) -> None:
    refresh = refresh_of(MARKETS_PER_TURN * 2 + 1, clock)
    turns = [100.01, 101.0, 101.01, 102.0]
    clock.next = [100.0, *turns, 102.03, 102.9]
    await refresh.refresh(None, 0.0, serving=True)
    assert not refresh.due(), "0.05 s of 0.92 s is more than a twentieth"
    clock.next = [103.1]
    assert refresh.due(), "though 2 s have passed, 0.05 s were its own"
