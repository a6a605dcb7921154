"""How often the guard shows itself: at each tick, unless that would cost closures and market data too much."""

from __future__ import annotations

import io

from circuit_guard.showing import Showing
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


async def test_showing_when_it_took_long_then_it_rests_until_it_takes_a_fifth_of_the_time() -> None:
    policy, clock = policy_of(BTC), Readings()
    metrics, history = Metrics(policy, "1.2.3", START_NS), History(policy.markets)
    driver = Driver(policy, [metrics, history])
    showing = Showing(driver.engine, metrics, LogPipeline("error", "json", io.StringIO()), history, clock)

    clock.next = [99.0]
    assert showing.due(), "at the first tick"
    clock.next = [100.0, 100.1, 101.0]
    await showing.refresh(None, 0.0, serving=True)
    assert showing.due(), "0.1 s took less than a fifth of a tick"

    clock.next = [200.0, 200.5, 202.4, 202.6]
    await showing.refresh(None, 0.0, serving=True)
    assert not showing.due(), "0.5 s of 2.4 s is more than a fifth"
    assert showing.due()
