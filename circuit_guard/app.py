"""Builds everything and runs it. The only place where objects are put together."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace

import structlog
from prometheus_client import CollectorRegistry, start_http_server

from circuit_guard import __version__
from circuit_guard.clock import Clock, SystemClock
from circuit_guard.core.facts import Fact
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import SECOND_NS
from circuit_guard.engine import Engine, EngineFailed
from circuit_guard.errors import DocumentError, PolicyError
from circuit_guard.journal.errors import StateDirectoryHeld
from circuit_guard.journal.journal import Journal
from circuit_guard.policy_watch import PolicyContent, PolicyWatch, read_content
from circuit_guard.remembering import remembering
from circuit_guard.server.build import GuardServer, ListenError, create_server
from circuit_guard.settings import Settings
from circuit_guard.telemetry.fact_log import FactLog
from circuit_guard.telemetry.logging import LogPipeline
from circuit_guard.telemetry.metrics import Metrics, Vitals

MARKETS_PER_TURN = 25
"""After the gauges of so many markets others get their turn, so that no check waits long behind them."""

EXIT_NOT_STARTED = 1
EXIT_BAD_DOCUMENT = 2

_log = structlog.stdlib.get_logger(__name__)


class App:
    """One running guard. Make it with `build`, run it with `running` or `run`."""

    def __init__(
        self, settings: Settings, engine: Engine, policy: PolicyContent, metrics: Metrics, log: LogPipeline
    ) -> None:
        self.engine = engine
        self.grpc_address = ""
        """Where clients connect, with the port that was bound; empty before the start."""
        self.metrics_address = ""
        """Where metrics are scraped, with the port that was bound; empty before the start."""
        self.policy_watch = PolicyWatch(policy, self.take_policy)
        """What looks at the policy file."""
        self._settings = settings
        self._metrics = metrics
        self._log_pipeline = log
        self._journal: Journal | None = None
        self._ticks: asyncio.Task[None] | None = None
        self._serving = False
        self._refresh_failed = False

    def reload_policy(self) -> list[Fact]:
        """Put the policy file into force, whole or not at all. Raise PolicyError; the old policy then stays."""
        return self.policy_watch.reload()

    def take_policy(self, judged: Policy | Exception) -> list[Fact]:
        """Put a policy into force. Where it could not be read, report why, raise that, and keep the one in force."""
        if isinstance(judged, Policy):
            return self.engine.reload(judged)
        self._metrics.reload_failed()
        problems = judged.violations if isinstance(judged, PolicyError) else [repr(judged)]
        _log.error("policy_refused", in_force=self.engine.policy.revision, violations=[str(it) for it in problems])
        raise judged

    @asynccontextmanager
    async def running(self) -> AsyncIterator[App]:
        """Serve for as long as the context lasts, then drain. Raise ListenError where an address cannot be had."""
        with self._log_pipeline, _serving_metrics(self._settings.metrics.listen, self._metrics.registry) as address:
            server = create_server(self.engine, self._settings, self.reload_policy)
            self.grpc_address, self.metrics_address = server.address, address
            async with remembering(self.engine, self._settings.journal) as self._journal:
                await server.start()
                await self._show_gauges(loop_lag_s=0.0)
                _log.info("started", version=__version__, grpc=server.address, metrics=address, **self._in_force())
                self._ticks = asyncio.create_task(self._tick(server))
                policy = self._settings.policy
                watch = self.policy_watch.running(policy.watch_interval_ms / 1000) if policy.watch else nullcontext()
                try:
                    async with watch:
                        yield self
                finally:
                    await self._drain(server, self._ticks)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain; a second ends the process at once. SIGHUP reloads the policy."""
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _stop_or_exit, stop, number)
        loop.add_signal_handler(signal.SIGHUP, self.policy_watch.reload_for, "signal", "SIGHUP")
        async with self.running():
            stopped = asyncio.create_task(stop.wait())
            ticks = self._ticks
            await asyncio.wait([stopped, *([ticks] if ticks else [])], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()

    async def _tick(self, server: GuardServer) -> None:
        """Let time take effect, report readiness and show the gauges, again and again."""
        interval_s = self._settings.engine.tick_interval_ms / 1000
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + interval_s
            await asyncio.sleep(interval_s)
            lag_s = max(loop.time() - due_s, 0.0)
            try:
                self.engine.tick()
            except EngineFailed:
                """Logged where it happened; `ready` says so from now on."""
            await self._report_serving(server)
            await self._show_gauges(lag_s)

    async def _report_serving(self, server: GuardServer) -> None:
        reasons = self.engine.ready()
        if self._serving is bool(reasons):
            self._serving = not reasons
            await server.set_serving(self._serving)
            (_log.info if self._serving else _log.error)("serving" if self._serving else "not_serving", reasons=reasons)

    async def _show_gauges(self, loop_lag_s: float) -> None:
        """Set the gauges. That they cannot be set is logged once and counted; it must not end the guard."""
        state, engine = self.engine.state, self.engine
        vitals = Vitals(
            ready=self._serving,
            shadow=engine.policy.shadow,
            watchers=engine.watchers,
            events_lost=engine.events_lost,
            log_lines_dropped=self._log_pipeline.dropped,
            clock_offset_s=engine.clock_offset_ns() / SECOND_NS,
            loop_lag_s=loop_lag_s,
        )
        if self._journal is not None:
            journal = self._journal.status()
            vitals = replace(
                vitals,
                journal_in_use=journal.failure is None,
                journal_queued=journal.queued,
                journal_dropped=journal.dropped,
                journal_over_budget_bytes=journal.over_budget_bytes,
            )
        try:
            self._metrics.show_guard(state.global_breaker, state.global_halt, vitals)
            self._metrics.show_state(state, engine.now_ns())
            for number, market in enumerate(tuple(engine.policy.markets)):
                if number and number % MARKETS_PER_TURN == 0:
                    await asyncio.sleep(0)
                if market in engine.policy.markets:
                    self._metrics.show_market(engine.market_status(market))
        except Exception:  # noqa: BLE001  # whatever it is, closures are still judged as before
            self._metrics.refresh_failed()
            if not self._refresh_failed:
                _log.critical("state_refresh_failed", exc_info=True)
            self._refresh_failed = True

    def _in_force(self) -> dict[str, object]:
        policy = self.engine.policy
        return {"policy_revision": policy.revision, "markets": len(policy.markets), "shadow": policy.shadow}

    async def _drain(self, server: GuardServer, ticks: asyncio.Task[None]) -> None:
        self._serving = False
        ticks.cancel()
        [outcome] = await asyncio.gather(ticks, return_exceptions=True)
        await self._show_gauges(loop_lag_s=0.0)
        _log.info("draining", grace_s=self._settings.grpc.drain_grace_s)
        await server.drain(self._settings.grpc.drain_grace_s)
        _log.info("stopped")
        if isinstance(outcome, Exception):
            raise outcome


def build(settings: Settings, clock: Clock | None = None) -> App:
    """Put a guard together, on the system's clock unless another is given. Raise PolicyError for an invalid policy."""
    content, clock = read_content(settings.policy.path), clock or SystemClock()
    policy = content.policy()
    metrics = Metrics(policy, __version__, clock.wall_ns())
    engine = Engine(
        policy,
        clock,
        observers=(metrics, FactLog(policy.markets)),
        watchers_max=settings.grpc.watchers_max,
        watch_queue_max=settings.engine.watch_queue_max,
    )
    return App(settings, engine, content, metrics, LogPipeline(settings.log.level, settings.log.format))


@asynccontextmanager
async def running_app(settings: Settings) -> AsyncIterator[App]:
    """Run a guard inside this process for as long as the context lasts. Raise PolicyError or ListenError."""
    async with build(settings).running() as app:
        yield app


def serve(settings: Settings) -> int:
    """Run a guard until a signal ends it, and return the exit code of the process."""
    try:
        asyncio.run(build(settings).run())
    except (DocumentError, ListenError, StateDirectoryHeld) as error:
        sys.stderr.write(f"circuit-guard: {error}\n")
        return EXIT_BAD_DOCUMENT if isinstance(error, DocumentError) else EXIT_NOT_STARTED
    return 0


@contextmanager
def _serving_metrics(listen: str, registry: CollectorRegistry) -> Iterator[str]:
    host, _, port = listen.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), registry)
    except OSError as error:
        expected = "an address of this machine, host:port, that no other process listens on"
        raise ListenError(f"metrics.listen was {listen}, expected {expected}: {error.strerror}") from error
    try:
        yield f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _stop_or_exit(stop: asyncio.Event, number: signal.Signals) -> None:
    if stop.is_set():
        os._exit(128 + number)
    stop.set()
