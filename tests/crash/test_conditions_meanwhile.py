"""What changed while the guard was down, or who else wants its directory: what it knew still holds."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest
from grpc import aio

from circuit_guard.config.policy import parse_policy
from circuit_guard.core.types import BreakerState, Verdict
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from tests.crash.client import STARTING, Client
from tests.crash.conditions import ETH, HALT, running
from tests.crash.guard_process import GuardProcess, policy_text
from tests.driver import START_NS, ManualClock

# The directory


@pytest.mark.system
async def test_second_process_when_the_directory_is_held_then_it_ends_and_names_the_holder(tmp_path: Path) -> None:
    first, other = GuardProcess(tmp_path), tmp_path / "other"
    other.mkdir()
    try:
        async with aio.insecure_channel(first.address, STARTING) as channel:
            await Client(channel).status()
            (other / "state").symlink_to(tmp_path / "state")
            code, told = await asyncio.to_thread(GuardProcess(other).ended)
            assert code == 1
            held = f"circuit-guard: {other / 'state'}: another guard uses this state directory: "
            assert held + f'{{"pid": {first.pid}, "host": "' in told
            assert told.endswith("stop that process, or give each guard its own directory\n")
            assert "Traceback" not in told
            assert (await Client(channel).status()).ready, "the holder goes on"
    finally:
        first.remains()


# The exchange, while the guard is down


@pytest.mark.parametrize("down_s", [2, 600, 36_000])
async def test_funding_index_when_reset_while_the_guard_is_down_then_the_first_observation_latches(
    left: Path, clock: ManualClock, down_s: int
) -> None:
    clock.advance(down_s)
    async with running(left, clock) as guard:
        guard.publish(ETH, index=Decimal(0))
        breaker = guard.engine.state.markets[ETH].breaker
        assert (breaker.state, breaker.latched) == (BreakerState.OPEN, True)
        assert {finding.reason for finding in breaker.findings} == {"funding_jump"}
        guard.publish(ETH, seconds=60)
        assert guard.asked(ETH) == (Verdict.DENY, {"breaker_open"})


# The policy, while the guard is down


async def test_market_when_latched_removed_from_the_policy_and_back_then_it_is_latched_over_every_restart(
    left: Path, clock: ManualClock
) -> None:
    async with running(left, clock) as guard:
        guard.publish(ETH, seconds=3)
        guard.publish(ETH, index=Decimal(0))
        assert guard.engine.state.markets[ETH].breaker.latched
    policy = left / "policy.toml"
    policy.write_text(policy_text().replace(f"[markets.{ETH}]\n", "").replace("min = 3", "min = 2"))
    async with running(left, clock) as guard:
        assert ETH not in guard.engine.policy.markets
    policy.write_text(policy_text())
    async with running(left, clock) as guard:
        guard.publish(ETH, seconds=3)
        assert guard.asked(ETH) == (Verdict.DENY, {"breaker_open"})


async def test_start_when_the_crash_came_between_a_policy_and_its_command_then_its_new_market_is_known(
    left: Path, clock: ManualClock
) -> None:
    text = policy_text() + "[markets.SUI-USD-PERP]\n"
    (left / "policy.toml").write_text(text)
    with Journal(left / "state", START_NS, JournalOptions()) as journal:
        journal.policy(parse_policy(text, "policy.toml"), clock.wall)

    async with running(left, clock) as guard:
        assert guard.engine.ready() == []
        guard.publish("SUI-USD-PERP", seconds=3)
        assert guard.asked("SUI-USD-PERP")[0] is Verdict.ALLOW
        assert guard.halted() == HALT
