"""What a guard leaves behind that ended well."""

from __future__ import annotations

from pathlib import Path

import pytest

from circuit_guard.core.types import Verdict
from tests.crash.conditions import ETH, HALT, running
from tests.crash.guard_process import MARKETS
from tests.driver import ManualClock


@pytest.fixture(name="clock")
def _clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(name="left")
async def _left(tmp_path: Path, clock: ManualClock) -> Path:
    """Return a folder in which a guard ran, had all markets warm and BTC halted, and ended well."""
    async with running(tmp_path, clock) as guard:
        for market in MARKETS:
            guard.publish(market, seconds=3)
        assert guard.asked(ETH) == (Verdict.ALLOW, set())
        await guard.halt(HALT)
    return tmp_path
