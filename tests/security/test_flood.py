"""A guard that is asked for five times what it can decide: market data and operators do not notice."""

from __future__ import annotations

import pytest

from benchmarks.flood import measure


@pytest.mark.slow
async def test_guard_when_it_is_flooded_with_checks_then_market_data_and_a_halt_get_through() -> None:
    able, seen, refused = await measure(seconds=6.0, multiple=5.0)

    calm_s = max(able.lags_s)
    assert max(seen.lags_s) < max(1.0, 3 * calm_s), "on a machine that is busy otherwise, no worse than it is anyway"
    assert seen.halt_s < max(1.0, 3 * calm_s)
    assert seen.allowed_after_halt == 0
    assert not seen.publish_errors
    assert seen.flood["OK"] > 0
    assert sum(refused.values()) > 0
    grown_mb = seen.rss_mb[-1] - seen.rss_mb[0]
    assert grown_mb < 128, "its queues, which are bounded, and the process that makes blocks, which has started"
