"""The guard's memory across its own restart: the journal opened, the state recovered, checkpoints made.

What cannot be read or kept is never guessed: the guard then answers nothing, says why, and so everything is denied.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from circuit_guard import __version__
from circuit_guard.config.settings import JournalSettings
from circuit_guard.core.formatting import format_time
from circuit_guard.core.invariants import broken_in
from circuit_guard.core.types import SECOND_NS
from circuit_guard.engine.engine import Engine, EngineFailed
from circuit_guard.journal.errors import JournalUnusable, StateDirectoryHeld
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import MIB, JournalOptions, Overflow
from circuit_guard.journal.record import Start
from circuit_guard.journal.recovery import REMEDY, Rerun, recover
from circuit_guard.threads import apart

CLOCK_BEHIND_WAITED_S = 5
"""The guard waits for a clock that is this far behind the journal; one further behind was set wrong, now or before."""
CHECKPOINT_ITEMS_MAX = 50_000
"""After this many records the next checkpoint is due: a check makes two, and takes 0.2 ms to run again.

Market data in one record count each, for each is run again.
"""
CHECKPOINT_BYTES_MAX = 64 * MIB
"""So it is after records that take so much in memory: a check with 100 positions takes 20 ms to run again."""

CLOSES_WITHIN_S = 4.0
"""How long the last checkpoint and what is queued may take: then the process ends, as `kill -9` would end it."""

_log = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def journal_session(engine: Engine, settings: JournalSettings) -> AsyncIterator[Journal | None]:
    """Have the engine go on from its journal, and record what happens, for as long as the context lasts.

    Raise StateDirectoryHeld where another process has the state directory. Where the journal cannot be used otherwise,
    the engine refuses to answer.
    """
    if settings.directory is None:
        _log.warning("memory_only", remedy="set journal.directory: without it a restart forgets latches and halts")
        yield None
        return
    options = JournalOptions(
        overflow=Overflow(settings.overflow),
        bytes_max=settings.bytes_max,
        unwritten_max_ns=settings.unwritten_max_s * SECOND_NS,
    )
    directory, started_ns = settings.directory, engine.now_ns()
    try:
        journal = await apart(lambda: Journal(directory, started_ns, options))
    except StateDirectoryHeld:
        raise
    except JournalUnusable as error:
        engine.refuse(f"the journal cannot be used: {error}")
        yield None
        return
    try:
        await _go_on(engine, journal, settings)
        checkpoints = asyncio.create_task(_checkpoints(engine, journal, settings.checkpoint_interval_s))
        try:
            yield journal
        finally:
            checkpoints.cancel()
            await asyncio.gather(checkpoints, return_exceptions=True)
            await _last_checkpoint(engine, journal)
    finally:
        await _close(journal)


async def _last_checkpoint(engine: Engine, journal: Journal) -> None:
    """Spare the next start what there is to run again, where the disk takes a checkpoint in time."""
    if journal.stalled() is None:
        with suppress(EngineFailed, TimeoutError):  # it was told to everybody when it happened
            await asyncio.wait_for(engine.checkpoint(), CLOSES_WITHIN_S / 2)


async def _close(journal: Journal) -> None:
    if not await apart(lambda: journal.close(CLOSES_WITHIN_S / 2)):
        lost = journal.status().queued
        _log.critical("journal_not_closed", records_not_written=lost, means="the disk did not take them in time")


async def _go_on(engine: Engine, journal: Journal, settings: JournalSettings) -> None:
    """Recover, and let the engine begin; or let it refuse, with the reason."""
    assert settings.directory is not None  # noqa: S101  # a journal is open
    directory = settings.directory
    try:
        recovered = await apart(lambda: recover(directory))
    except JournalUnusable as error:
        engine.refuse(f"the journal cannot be used: {error}")
        return
    if recovered is not None and not await _clock_agrees(engine, recovered):
        return
    start = Start(engine.now_ns(), __version__, socket.gethostname(), os.getpid())
    with suppress(EngineFailed):  # the engine has logged it, and refuses from now on
        engine.begin(start, journal, recovered)
        if problems := broken_in(engine.state):
            engine.refuse(f"the recovered state cannot be true: {'; '.join(problems)}: {REMEDY}")
            return
        await engine.checkpoint()
    inputs = recovered.inputs if recovered is not None else 0
    _log.info(
        "remembering", directory=str(settings.directory), recovered=recovered is not None, inputs_run_again=inputs
    )


async def _clock_agrees(engine: Engine, recovered: Rerun) -> bool:
    """Return whether time goes on from where the journal ends, waiting where it nearly does."""
    now_ns, last_ns = engine.now_ns(), recovered.state.now_ns
    behind_s = (last_ns - now_ns) / SECOND_NS
    if behind_s > CLOCK_BEHIND_WAITED_S:
        engine.refuse(
            f"the clock says {format_time(now_ns)}, which is {behind_s:.1f} s before the last record of the journal, "
            f"expected at most {CLOCK_BEHIND_WAITED_S} s. If the clock is wrong, set it right and restart the guard. "
            f"If the clock was ahead when that was recorded, restart the guard after {format_time(last_ns)}. To "
            "restart at once, use an earlier backup of the journal or an empty state directory, and halt again "
            "what was halted"
        )
        return False
    if behind_s > 0:
        await asyncio.sleep(behind_s + 0.001)
    return True


async def _checkpoints(engine: Engine, journal: Journal, interval_s: int) -> None:
    """Make a checkpoint after each interval, or earlier where what was recorded since would take long to run again."""
    while True:
        covered = journal.status()
        for _ in range(interval_s):
            await asyncio.sleep(1)
            now = journal.status()
            if now.taken_items - covered.taken_items >= CHECKPOINT_ITEMS_MAX:
                break
            if now.taken_bytes - covered.taken_bytes >= CHECKPOINT_BYTES_MAX:
                break
        await engine.checkpoint()
