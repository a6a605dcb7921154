"""While the guard is not ready, that comes first; what nobody can vouch for is not shown as if somebody did."""

from __future__ import annotations

from math import isnan

import pytest
from prometheus_client import generate_latest

from circuit_guard.core.inputs import Tick
from circuit_guard.engine.engine import EngineFailed
from tests.driver import BTC, policy_of
from tests.web.harness import Web, web

PROBLEM = "the journal cannot be used: guard.sqlite is damaged"


def gauges(guard: Web, market_only: str = BTC) -> dict[str, float]:
    """Return the series that say where a market, or GLOBAL, stands; counters and those of the process left out."""
    text = generate_latest(guard.metrics.registry).decode().splitlines()
    counters = {line.split()[2] for line in text if line.startswith("# TYPE") and not line.endswith("gauge")}
    samples = (line.rpartition(" ") for line in text if f'"{market_only}"' in line and not line.startswith("#"))
    return {series: float(value) for series, _, value in samples if series.partition("{")[0] not in counters}


async def test_pages_when_a_required_market_is_cold_then_that_comes_first_and_the_state_follows() -> None:
    async with web() as guard:
        await guard.tick()
        page = await guard.get("/")

    assert f"\N{MULTIPLICATION X} NOT READY market {BTC} is required and still warming" in page
    assert page.html.index("NOT READY</h1>") < page.html.index("2 of 2 markets deny closures")
    assert "reference_missing" in page


@pytest.mark.parametrize("path", ["/", f"/markets/{BTC}"])
async def test_pages_when_the_engine_refuses_then_they_say_why_and_show_no_market_state(path: str) -> None:
    async with web() as guard:
        guard.driver.engine.refuse(PROBLEM)
        await guard.show()
        page = await guard.get(path)

    assert f"NOT READY {PROBLEM}" in page
    assert "Every check gets an error, and callers must treat it as a deny." in page
    assert "so it shows nothing" in page
    for cold in ("RECOVERING", "CLOSED", "warming", "markets deny", "Headroom"):
        assert cold not in page


async def test_metrics_when_the_engine_refuses_then_no_gauge_shows_a_cold_market() -> None:
    async with web() as guard:
        guard.driver.engine.refuse(PROBLEM)
        await guard.show()

        shown = gauges(guard) | gauges(guard, "GLOBAL")

        assert guard.metrics.registry.get_sample_value("circuit_guard_ready") == 0
    assert f'circuit_guard_breaker_state{{scope="{BTC}",state="CLOSED"}}' in shown
    assert 'circuit_guard_halted{scope="GLOBAL"}' in shown
    known = {series for series, value in shown.items() if not isnan(value)}
    assert {series for series in known if "held_closures" not in series and "held_shortfall" not in series} == set()


async def test_metrics_when_the_engine_answers_then_the_gauges_are_known() -> None:
    async with web(policy=policy_of(BTC)) as guard:
        await guard.run(40)

        assert [
            series for series, value in gauges(guard).items() if isnan(value) and "funding_rate" not in series
        ] == []


async def test_pages_when_the_engine_stopped_then_what_was_known_is_shown_as_vouched_for_by_nobody() -> None:
    async with web(policy=policy_of(BTC)) as guard:
        await guard.run(40)
        with pytest.raises(EngineFailed):
            guard.driver.engine.step(Tick(0))
        await guard.show()
        page = await guard.get("/")

    assert "NOT READY the engine stopped on InvariantViolated" in page
    assert "Below is what the guard knew when it stopped. It may be wrong now." in page
    assert "Closures go through" not in page.html.partition("</main>")[0].partition('<p class="note">')[0]
    assert BTC in page


async def test_pages_when_the_state_cannot_be_shown_then_they_say_since_when() -> None:
    async with web(policy=policy_of(BTC)) as guard:
        await guard.run(40)
        guard.driver.engine.state.markets[BTC].trusted.mark_price = "poisoned"  # type: ignore[assignment]
        guard.driver.clock.advance(5)
        await guard.show()
        page = await guard.get("/")

    assert "This page could not be updated. It is as of 2026-01-19 00:00:40Z" in page
    assert guard.metrics.registry.get_sample_value("circuit_guard_state_refresh_failures_total") == 1


async def test_pages_when_the_guard_has_just_started_then_they_say_so() -> None:
    async with web() as guard:
        assert "NOT READY the guard is starting" in await guard.get("/")
        assert "Nothing is known about this market now." in await guard.get(f"/markets/{BTC}")
