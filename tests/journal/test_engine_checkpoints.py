"""Checkpoints that somebody asks the engine for: made under a name, and read back while the guard works."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from circuit_guard.core.inputs import HaltCommand, Tick
from circuit_guard.core.rules.funding_continuity import ContinuityParameters
from circuit_guard.core.types import BreakerState
from circuit_guard.engine.engine import Engine, EngineFailed
from circuit_guard.journal.checkpoint import Checkpoint
from circuit_guard.journal.errors import CheckpointGone, RecordBroken
from circuit_guard.journal.journal import Journal, prune
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.reader import JournalReader
from circuit_guard.journal.record import Start
from circuit_guard.journal.recovery import recover
from circuit_guard.journal.retention import CHECKPOINTS_LATEST
from tests.driver import BTC, PRICE, START_NS, Driver
from tests.journal.builders import tamper
from tests.recording.recorded_guard import FIRST, RecordedGuard


async def made(engine: Engine, name: str = "") -> Checkpoint:
    checkpoint = await engine.checkpoint(name)
    assert checkpoint is not None
    return checkpoint


async def test_checkpoint_when_made_under_a_name_then_it_is_read_back_with_the_state_of_that_instant(
    tmp_path: Path,
) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(3)
        guard.engine.step(HaltCommand(guard.engine.now_ns(), (BTC,), "alice", "before the upgrade"))
        written = await made(guard.engine, "maintenance-1")
        guard.run(3)
        found = await guard.engine.recorded_checkpoint(written.sequence)
    async with RecordedGuard(tmp_path, FIRST, after_s=60) as guard:
        again = await guard.engine.recorded_checkpoint(written.sequence)

    assert found is not None
    assert found == again
    assert found._replace(text=None) == written
    assert (written.name, written.at_ns) == ("maintenance-1", START_NS + 3 * 10**9)
    state = found.content().state
    assert state.now_ns == written.at_ns
    assert state.markets[BTC].halt is not None


async def test_checkpoint_when_there_is_none_of_that_sequence_then_there_is_no_answer(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(3)
        last = await made(guard.engine)

        assert await guard.engine.recorded_checkpoint(1) is None, "that is the START"
        assert await guard.engine.recorded_checkpoint(last.sequence + 1) is None


async def test_checkpoint_when_there_is_no_journal_then_that_is_said() -> None:
    engine = Driver(FIRST).engine

    assert await engine.checkpoint("maintenance-1") is None
    with pytest.raises(CheckpointGone) as gone:
        await engine.recorded_checkpoint(7)

    assert str(gone.value) == (
        "checkpoint 7 is not available: the guard keeps no journal; set journal.directory and restart the guard"
    )


async def test_checkpoint_when_retention_has_dropped_its_state_then_that_is_said_and_a_named_one_is_there(
    tmp_path: Path,
) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        named = await made(guard.engine, "maintenance-1")
        dropped = await made(guard.engine)
        for _ in range(CHECKPOINTS_LATEST):
            await guard.engine.checkpoint()
    prune(tmp_path, START_NS, START_NS, JournalOptions())

    async with RecordedGuard(tmp_path, FIRST, after_s=60) as guard:
        kept = await guard.engine.recorded_checkpoint(named.sequence)
        with pytest.raises(CheckpointGone) as gone:
            await guard.engine.recorded_checkpoint(dropped.sequence)

    assert kept is not None
    assert kept.digest == named.digest
    assert str(gone.value) == (
        f"checkpoint {dropped.sequence} is not available: its state was dropped by retention, which keeps the last "
        "ten, then one per hour, and named ones; name another one, of about that time"
    )


async def test_checkpoint_when_its_state_was_changed_then_the_record_is_named(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        written = await made(guard.engine, "maintenance-1")
        await guard.engine.checkpoint()
    tamper(tmp_path, "UPDATE checkpoint SET body = zeroblob(9) WHERE name = 'maintenance-1'")

    async with RecordedGuard(tmp_path, FIRST, after_s=60) as guard:
        with pytest.raises(RecordBroken, match=f"record {written.sequence} is a checkpoint, and its state was changed"):
            await guard.engine.recorded_checkpoint(written.sequence)


async def test_checkpoint_when_the_engine_has_failed_then_a_state_that_nobody_can_vouch_for_is_not_kept(
    tmp_path: Path,
) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(3)
        with pytest.raises(EngineFailed):
            guard.engine.step(Tick(0))
        with pytest.raises(EngineFailed, match="must come in time order"):
            await guard.engine.checkpoint()

    with JournalReader(tmp_path) as reader:
        assert len(reader.checkpoints()) == 1


async def test_start_when_a_rule_came_with_the_upgrade_then_it_is_on_record_and_a_crash_does_not_undo_what_it_denied(
    tmp_path: Path,
) -> None:
    """Its parameters are at their defaults, so the policy's revision is the same; what is enforced is not."""
    markets = {
        name: replace(
            one, groups={group: given for group, given in one.groups.items() if group is not ContinuityParameters}
        )
        for name, one in FIRST.markets.items()
    }
    before = replace(FIRST, markets=markets)
    async with RecordedGuard(tmp_path, before) as guard:
        guard.run(40)
        guard.observe(BTC, funding_index=Decimal(0))
        assert guard.engine.market_status(BTC).breaker.state is BreakerState.CLOSED

    upgraded, journal = Driver(FIRST), Journal(tmp_path, START_NS, JournalOptions())
    upgraded.clock.advance(60)
    engine = upgraded.engine = Engine(FIRST, upgraded.clock)
    engine.begin(Start(engine.now_ns(), "0.0.2", "host-1", 4712), journal, recover(tmp_path))
    upgraded.sequences = {BTC: 1000}
    upgraded.observe(BTC, funding_index=PRICE)
    latched = upgraded.engine.market_status(BTC).breaker.latched
    journal.close()

    recovered = recover(tmp_path)
    assert recovered is not None
    assert recovered.policy == FIRST
    assert (latched, recovered.state.markets[BTC].breaker.latched) == (True, True)
