"""A clock that was stepped, while the guard ran or was down: nothing old becomes fresh, and nothing starts open."""

from __future__ import annotations

import shutil
from pathlib import Path

from circuit_guard.core.formatting import format_time
from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.core.types import SECOND_NS, Phase, Verdict
from circuit_guard.journal.reader import JournalReader
from tests.crash.conditions import BTC, ETH, HALT, INDEX, PRICE, refused_start, running
from tests.driver import ManualClock

HOUR_S, DAY_S = 3_600, 86_400
STALE = ("data_stale", "reference_missing", "band_center_missing")


def before_the_journal(clock: ManualClock, behind_s: int) -> str:
    """Return what is said of a clock that is so far behind the journal."""
    now_ns = clock.wall
    last = format_time(now_ns + behind_s * SECOND_NS)
    return (
        f"the clock says {format_time(now_ns)}, which is {behind_s}.0 s before the last record of the journal, "
        "expected at most 5 s. If the clock is wrong, set it right and restart the guard. If the clock was ahead when "
        f"that was recorded, restart the guard after {last}. To restart at once, use an earlier backup of the journal "
        "or an empty state directory, and halt again what was halted"
    )


async def test_start_when_the_clock_is_an_hour_behind_the_journal_then_it_refuses_until_it_is_right(
    left: Path, clock: ManualClock
) -> None:
    clock.advance(-HOUR_S)

    await refused_start(left, clock, before_the_journal(clock, HOUR_S))

    clock.advance(HOUR_S)
    async with running(left, clock) as guard:
        assert guard.halted() == HALT
        assert guard.denies_everything()


async def test_start_when_the_journal_was_written_by_a_clock_ahead_then_each_way_out_that_is_told_is_one(
    left: Path, clock: ManualClock
) -> None:
    shutil.copytree(left / "state", left / "backup")
    clock.advance(DAY_S)
    async with running(left, clock) as guard:
        await guard.halt("by the wrong clock", ETH)
    clock.advance(-DAY_S + 60)

    await refused_start(left, clock, before_the_journal(clock, DAY_S - 60))

    shutil.copytree(left / "state", left / "ahead")
    for way_out in ("backup", "empty", "ahead"):
        shutil.rmtree(left / "state")
        if way_out != "empty":
            shutil.copytree(left / way_out, left / "state")
        clock.advance(DAY_S if way_out == "ahead" else 1)
        async with running(left, clock) as guard:
            assert guard.engine.ready() == []
            assert guard.denies_everything()
            assert guard.halted(BTC) == ("" if way_out == "empty" else HALT)
            assert guard.halted(ETH) == ("by the wrong clock" if way_out == "ahead" else "")


async def test_start_when_the_clock_is_far_ahead_then_everything_is_denied_until_fresh_data_by_that_clock(
    left: Path, clock: ManualClock
) -> None:
    true_ns = clock.wall
    clock.advance(2 * DAY_S)
    async with running(left, clock) as guard:
        assert guard.halted() == HALT
        assert guard.engine.state.markets[ETH].phase.effective() is Phase.RECOVERING
        assert guard.asked(ETH) == (Verdict.DENY, {"warming", *STALE})
        for number in range(1, 5):
            now_ns, event_ns = guard.engine.now_ns(), true_ns + number * SECOND_NS
            for venue in ("binance", "bybit", "okx"):
                guard.engine.step(Reference(now_ns, ETH, venue, event_ns, PRICE))
            guard.engine.step(
                Observation(now_ns, ETH, "exchange", 1, event_ns // SECOND_NS, event_ns, PRICE, PRICE, INDEX)
            )
            clock.advance(1)
            assert guard.asked(ETH)[0] is Verdict.DENY, "what is right by the true clock is two days old by this one"
        guard.publish(ETH, seconds=3)
        assert guard.asked(ETH)[0] is Verdict.ALLOW


async def test_clock_when_stepped_back_while_running_then_nothing_changes_until_a_restart_refuses(
    left: Path, clock: ManualClock
) -> None:
    async with running(left, clock) as guard:
        guard.publish(ETH, seconds=3)
        clock.wall -= HOUR_S * SECOND_NS
        guard.publish(ETH, seconds=3)
        assert guard.asked(ETH)[0] is Verdict.ALLOW
        assert guard.asked(BTC)[0] is Verdict.DENY
        assert guard.engine.clock_offset_ns() == -HOUR_S * SECOND_NS, "which a metric shows"
    with JournalReader(left / "state") as reader:
        times = [record.at_ns for record in reader.records()]
    assert times == sorted(times)

    await refused_start(left, clock, before_the_journal(clock, HOUR_S))


async def test_clock_when_stepped_forward_while_running_then_nothing_changes_until_a_restart_denies(
    left: Path, clock: ManualClock
) -> None:
    async with running(left, clock) as guard:
        guard.publish(ETH, seconds=3)
        clock.wall += HOUR_S * SECOND_NS
        guard.publish(ETH, seconds=3)
        assert guard.asked(ETH)[0] is Verdict.ALLOW
        assert guard.engine.clock_offset_ns() == HOUR_S * SECOND_NS

    async with running(left, clock) as guard:
        assert guard.halted() == HALT
        assert guard.denies_everything()
        assert guard.asked(ETH) == (Verdict.DENY, {"warming", *STALE})
