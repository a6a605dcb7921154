"""When the guard shows itself: to who looks, and not so often that it costs closures and market data too much."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import count, pairwise

import pytest

from circuit_guard.core.types import SECOND_NS
from circuit_guard.runtime.descriptors import DescriptorWatch
from circuit_guard.runtime.status_refresh import MARKETS_PER_TURN, StatusRefresh
from circuit_guard.telemetry.logging import LogPipeline
from circuit_guard.telemetry.metrics import Metrics
from circuit_guard.web.history import AT_REST_NS, SAMPLE_NS, History
from tests.driver import BTC, ETH, PRICE, START_NS, Driver, policy_of


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
    await refresh.refresh(None, serving=True)
    assert refresh.due(), "0.01 s of 0.3 s is less than a twentieth"

    clock.next = [200.0, 200.5, 209.9, 210.1]
    await refresh.refresh(None, serving=True)
    assert not refresh.due(), "0.5 s of 9.9 s is more than a twentieth"
    assert refresh.due()


async def test_refresh_when_others_had_their_turn_meanwhile_then_that_does_not_count(clock: Readings) -> None:
    refresh = refresh_of(MARKETS_PER_TURN * 2 + 1, clock)
    turns = [100.01, 101.0, 101.01, 102.0]
    clock.next = [100.0, *turns, 102.03, 102.9]
    await refresh.refresh(None, serving=True)
    assert not refresh.due(), "0.05 s of 0.92 s is more than a twentieth"
    clock.next = [103.1]
    assert refresh.due(), "though 2 s have passed, 0.05 s were its own"


async def test_ask_when_somebody_has_just_asked_then_the_next_gets_the_same(clock: Readings) -> None:
    refresh, shown = refresh_of(1, clock), count()

    async def show() -> None:
        next(shown)
        await refresh.refresh(None, serving=True)

    clock.next = [100.0, 100.0, 100.1]
    await refresh.ask(show)
    clock.next = [100.4]
    await refresh.ask(show)
    assert next(shown) == 1, "0.1 s of 0.4 s is more than a fifth"
    clock.next = [100.6, 100.6, 100.7]
    await refresh.ask(show)
    assert next(shown) == 3


class Unwatched:
    """A driven engine whose page nobody has open."""

    def __init__(self) -> None:
        policy = policy_of(BTC, ETH)
        metrics, self.history = Metrics(policy, "1.2.3", START_NS), History(policy.markets)
        self.driver = Driver(policy, [metrics, self.history])
        log = LogPipeline("error", "json", io.StringIO())
        self.refresh = StatusRefresh(self.driver.engine, metrics, log, self.history, DescriptorWatch())

    async def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.driver.run(1, BTC, ETH)
            self.driver.engine.tick()
            await self.refresh.go_on()

    def times(self, market: str) -> list[float]:
        return [sample.at_s for sample in self.history.of(market).ring.samples()]


def steps(times: list[float]) -> set[float]:
    return {after - before for before, after in pairwise(times)}


async def test_charts_when_nobody_looks_then_they_go_on_with_few_samples() -> None:
    guard = Unwatched()
    await guard.run(100)
    settled = guard.times(BTC)[-6:]

    assert steps(settled) == {AT_REST_NS / SECOND_NS}
    last = guard.history.of(BTC).ring.samples()[-1]
    status = guard.driver.engine.market_status(BTC)
    assert status.hull is not None
    assert status.mark_limits is not None
    assert (last.hull_low, last.limit_high) == (float(status.hull.low), float(status.mark_limits.high))


async def test_charts_when_a_market_is_in_trouble_then_it_has_as_many_samples_as_with_somebody_looking() -> None:
    guard = Unwatched()
    await guard.run(60)
    guard.driver.observe(BTC, mark_price=PRICE * 3)
    tripped_s = guard.driver.engine.now_ns() / SECOND_NS
    await guard.run(10)

    in_trouble = [at_s for at_s in guard.times(BTC) if at_s >= tripped_s]
    assert SAMPLE_NS / SECOND_NS <= max(steps(in_trouble)) <= 2
    assert len(guard.times(ETH)) < len(guard.times(BTC))
