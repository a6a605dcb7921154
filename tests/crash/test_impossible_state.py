"""A recovered state that this program cannot have reached: nobody can vouch for it, so nothing is answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from circuit_guard.config.settings import JournalSettings
from circuit_guard.core import guard
from circuit_guard.core.inputs import Tick
from circuit_guard.core.types import BreakerState
from circuit_guard.engine.engine import Engine, EngineFailed
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from circuit_guard.runtime.persistence import journal_session
from tests.driver import BTC, START_NS, Driver, policy_of


async def test_recovery_when_a_latched_breaker_is_closed_then_the_guard_refuses_and_says_why(tmp_path: Path) -> None:
    policy = policy_of(BTC)
    state = guard.new_state(policy, START_NS)
    state.markets[BTC].breaker.latched = True
    assert state.markets[BTC].breaker.state is BreakerState.CLOSED
    with Journal(tmp_path, START_NS, JournalOptions()) as journal:
        await journal.checkpoint(state, policy)

    engine = Engine(policy, Driver(policy).clock)
    async with journal_session(engine, JournalSettings(directory=tmp_path)):
        [reason] = engine.ready()
        assert f"the recovered state cannot be true: {BTC}: a latched breaker is OPEN" in reason
        with pytest.raises(EngineFailed, match="a latched breaker is OPEN"):
            engine.step(Tick(engine.now_ns()))
