"""What the guard shows of itself: the gauges of the metrics, and the board and the charts of the page.

It is worked out for who looks, when they look: at a scrape, for a page, and at each tick while a page is open. While
nobody does, only the charts go on, with few samples.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from circuit_guard.core.status import MarketStatus, status_with
from circuit_guard.core.types import SECOND_NS
from circuit_guard.engine.engine import Engine, EngineRefuses
from circuit_guard.journal.journal import JournalStatus
from circuit_guard.runtime.descriptors import DescriptorWatch
from circuit_guard.telemetry.logging import LogPipeline
from circuit_guard.telemetry.metrics import Metrics, Vitals
from circuit_guard.web.board import Board, View
from circuit_guard.web.history import History, limits_of

MARKETS_PER_TURN = 10
"""After this many markets other work gets its turn, so that no check waits long."""

SHARE_MAX = 0.05
"""How much of the time showing may take at ticks, without the turns of others. A thousand markets take 0.2 s, and so
are shown every 4 s: closures and market data are worth more than pages of this very second."""
ASKED_SHARE_MAX = 0.2
"""The same for who asks: what they get is of this moment, unless somebody asked just before."""
AT_REST_SHARE = 5
"""At each tick one market in so many has a sample for its chart at most, so that not all have one at once."""

_log = structlog.stdlib.get_logger(__name__)


class StatusRefresh:
    """Everything that is shown of one engine."""

    def __init__(
        self,
        engine: Engine,
        metrics: Metrics,
        log: LogPipeline,
        history: History,
        descriptors: DescriptorWatch,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now_s` is a clock that never goes back."""
        self.board = Board(engine.now_ns())
        """What pages show."""
        self._engine = engine
        self._metrics = metrics
        self._log_pipeline = log
        self._history = history
        self._descriptors = descriptors
        self._refresh_failed = False
        self._now_s = now_s
        self._due_s = self._asked_due_s = 0.0
        self._asked = asyncio.Lock()
        self._others_s = 0.0
        """The turns of others while markets are shown."""

    def due(self) -> bool:
        """Return whether it is time to show again; at each tick, unless the last time took long."""
        return self._now_s() >= self._due_s

    async def refresh(self, journal: JournalStatus | None, *, serving: bool) -> None:
        """Show the state. A failure to show it is counted and logged once; it must not end the guard."""
        self._others_s, started_s = 0.0, self._now_s()
        await self._refresh(journal, serving=serving)
        ended_s = self._now_s()
        own_s = ended_s - started_s - self._others_s
        self._due_s = ended_s + own_s * (1 / SHARE_MAX - 1)
        self._asked_due_s = ended_s + own_s * (1 / ASKED_SHARE_MAX - 1)

    async def ask(self, show: Callable[[], Awaitable[None]]) -> None:
        """Have the state shown for who looks now, at once for all who ask meanwhile, unless it has just been."""
        async with self._asked:
            if self._now_s() >= self._asked_due_s:
                await show()

    async def go_on(self) -> None:
        """Keep the charts going while nobody looks."""
        engine, history, taken = self._engine, self._history, 0
        if engine.failure is not None:
            return
        most = max(len(engine.policy.markets) // AT_REST_SHARE, MARKETS_PER_TURN)
        for market in tuple(engine.policy.markets):
            policy, now_ns = engine.policy.markets.get(market), engine.now_ns()
            state = engine.state.markets[market]
            if policy is None or not history.wants(state, now_ns):
                continue
            history.sample(limits_of(state, policy, now_ns), state, now_ns)
            taken += 1
            if taken == most:
                return
            if taken % MARKETS_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _refresh(self, journal: JournalStatus | None, *, serving: bool) -> None:
        engine = self._engine
        vitals = self._vitals(journal, serving=serving)
        if isinstance(engine.failure, EngineRefuses):
            self._metrics.show_vitals(vitals)
            self.board.show(View(engine.now_ns(), tuple(engine.ready()), failed=True, status=None))
            return
        try:
            self._metrics.show_guard(engine.state.global_breaker, engine.state.global_halts, vitals)
            self._metrics.show_state(engine.state, engine.now_ns())
            markets = await self._markets()
            now_ns = engine.now_ns()
            status = status_with(engine.state, engine.policy, markets, now_ns, engine.refused_files())
            failed = engine.failure is not None
            self.board.show(View(now_ns, tuple(engine.ready()), failed=failed, status=status))
        except Exception:  # noqa: BLE001  # whatever it is, closures are still judged as before
            self._metrics.refresh_failed()
            if not self._refresh_failed:
                _log.critical("state_refresh_failed", exc_info=True)
            self._refresh_failed = True
            failed = engine.failure is not None
            self.board.show(replace(self.board.view, not_ready=tuple(engine.ready()), failed=failed, outdated=True))

    async def _markets(self) -> tuple[MarketStatus, ...]:
        """Describe every market of the policy, and show each; a policy that changes meanwhile is followed."""
        engine, statuses = self._engine, {}
        for number, market in enumerate(sorted(engine.policy.markets)):
            if number and number % MARKETS_PER_TURN == 0:
                await self._others_turn()
            if market in engine.policy.markets:
                status = engine.market_status(market)
                self._metrics.show_market(status)
                self._history.sample(status, engine.state.markets[market], engine.now_ns())
                statuses[market] = status
        return tuple(status for market, status in statuses.items() if market in engine.policy.markets)

    async def _others_turn(self) -> None:
        paused_s = self._now_s()
        await asyncio.sleep(0)
        self._others_s += self._now_s() - paused_s

    def _vitals(self, journal: JournalStatus | None, *, serving: bool) -> Vitals:
        engine = self._engine
        return Vitals(
            ready=serving,
            shadow=engine.policy.shadow,
            watchers=engine.watchers,
            events_lost=engine.events_lost,
            descriptors_exhausted=self._descriptors.exhausted,
            log_lines_dropped=self._log_pipeline.dropped,
            clock_offset_s=engine.clock_offset_ns() / SECOND_NS,
            clock_error_s=(engine.state.clock.off_ns or 0) / SECOND_NS,
            journal_in_use=journal is not None and journal.failure is None,
            journal_queued=journal.queued if journal else 0,
            journal_dropped=journal.dropped if journal else 0,
            journal_over_budget_bytes=journal.over_budget_bytes if journal else 0,
            journal_unwritten_s=journal.unwritten_ns / SECOND_NS if journal else 0.0,
        )
