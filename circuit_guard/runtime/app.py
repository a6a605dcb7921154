"""Builds everything and runs it. The only place where objects are put together."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress

import structlog

from circuit_guard import __version__
from circuit_guard.config.identities import IdentitiesWatch, SettingsFile
from circuit_guard.config.settings import Settings
from circuit_guard.config.watch import PolicyContent, PolicyWatch, read_content
from circuit_guard.core.facts import Fact
from circuit_guard.core.policy import Policy
from circuit_guard.engine.clock import Clock, SystemClock
from circuit_guard.engine.engine import Engine, EngineFailed
from circuit_guard.errors import DocumentError, PolicyError
from circuit_guard.journal.errors import StateDirectoryHeld
from circuit_guard.journal.journal import Journal
from circuit_guard.runtime.descriptors import DescriptorWatch
from circuit_guard.runtime.persistence import journal_session
from circuit_guard.runtime.signals import Signals
from circuit_guard.runtime.status_refresh import StatusRefresh
from circuit_guard.runtime.systemd import ServiceManager
from circuit_guard.server.admission import announce
from circuit_guard.server.build import GuardServer, create_server
from circuit_guard.server.security.access import Access
from circuit_guard.server.security.certificates import CertificateError
from circuit_guard.server.security.http import viewers_only
from circuit_guard.server.transport import ListenError
from circuit_guard.telemetry.fact_log import FactLog
from circuit_guard.telemetry.logging import LogPipeline
from circuit_guard.telemetry.metrics import Metrics
from circuit_guard.web.history import History
from circuit_guard.web.site import MetricsSite, Site

GARBAGE_THRESHOLDS = 2_000, 10, 100
"""A check leaves five values in a cycle. Looked for after 2,000 of them, they hold up the loop for 2 ms, after 50,000
for 100 ms. To look through all that lives takes 200 ms with a thousand markets: it is done as seldom as can be."""
ENDING_S = 0.5
"""How long streams that were cancelled have to end."""
SWITCH_S = 0.0005
"""How long the event loop keeps the interpreter from gRPC's thread, which hands over RPCs. Python's own is 5 ms."""

ENDS_AFTER_DRAIN_S = 5
"""What the end may take beyond grpc.drain_grace_s: the last checkpoint, what is queued for the disk, and the log."""

POLICY_FILE, SETTINGS_FILE = "policy", "settings"
"""What a refused file is known by."""

EXIT_NOT_STARTED = 1
EXIT_BAD_DOCUMENT = 2

_log = structlog.stdlib.get_logger(__name__)


class App:
    """One running guard. Make it with `build`, run it with `running` or `run`."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        policy: PolicyContent,
        metrics: Metrics,
        log: LogPipeline,
        status_refresh: StatusRefresh,
        site: Site,
        descriptors: DescriptorWatch,
        access: Access,
        file: SettingsFile | None,
    ) -> None:
        self.engine = engine
        self.grpc_address = ""
        """Where clients connect, with the port that was bound; empty before the start."""
        self.http_address = ""
        """Where the status page and the metrics are, with the port that was bound; empty before the start."""
        self.health_address = ""
        """Where probes are answered apart; empty without grpc.health_listen."""
        self.metrics_address = ""
        """Where metrics are scraped apart; empty without http.metrics_listen."""
        self.policy_watch = PolicyWatch(policy, self.take_policy)
        """What looks at the policy file."""
        self.identities_watch = IdentitiesWatch(file, settings, access.take, self._identities_judged)
        """What looks at the identities in the settings file."""
        self._access = access
        self._settings = settings
        self._metrics = metrics
        self._log_pipeline = log
        self._status_refresh = status_refresh
        self._site = site
        site.fresh = self._fresh
        self._descriptors = descriptors
        self._journal: Journal | None = None
        self._ticks: asyncio.Task[None] | None = None
        self._serving = self._started = False

    @property
    def log_stuck(self) -> bool:
        """Whether nobody takes what the log still has to write."""
        return self._log_pipeline.stuck

    async def reload_policy(self) -> list[Fact]:
        """Put the identities, then the policy file into force, each whole or not at all.

        Raise SettingsError or PolicyError; what was in force then stays.
        """
        await self.identities_watch.reload()
        return await self.policy_watch.reload()

    async def reload_on_signal(self) -> None:
        """Take both files as they are now, when no caller waits for an answer."""
        self.identities_watch.reload_soon()
        await self.policy_watch.reload_for("signal", "SIGHUP")

    def take_policy(self, judged: Policy | Exception) -> list[Fact]:
        """Put a policy into force. Where it could not be read, report why, raise that, and keep the one in force."""
        if isinstance(judged, Policy):
            facts = self.engine.reload(judged)
            self.engine.file_judged(POLICY_FILE, "")
            return facts
        self._metrics.reload_failed()
        problems = judged.problems if isinstance(judged, PolicyError) else [repr(judged)]
        brief = judged.in_brief() if isinstance(judged, PolicyError) else "The policy is refused, the log says why"
        self.engine.file_judged(POLICY_FILE, f"{brief}. Policy {self.engine.policy.revision} stays.")
        _log.error("policy_refused", in_force=self.engine.policy.revision, violations=[str(it) for it in problems])
        raise judged

    def _identities_judged(self, in_force: bool) -> None:  # noqa: FBT001  # as `IdentitiesWatch` tells it
        self.engine.file_judged(SETTINGS_FILE, self.identities_watch.problem)
        self._metrics.admission.identities(len(self._access.identities), in_force)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[App]:
        """Serve for as long as the context lasts, then drain. Raise ListenError where an address is not free."""
        with self._log_pipeline:
            http, metrics = self._settings.http, MetricsSite(self._metrics.registry, self._fresh)
            async with (
                _serving(self._site, "http.listen", http.listen) as self.http_address,
                _serving(metrics, "http.metrics_listen", http.metrics_listen) as self.metrics_address,
            ):
                server = create_server(
                    self.engine, self._settings, self.reload_policy, self._metrics.admission, self._access
                )
                self.grpc_address, self.health_address = server.address, server.health_address
                async with journal_session(self.engine, self._settings.journal) as self._journal:
                    await server.start()
                    await self._show()
                    force = self.engine.policy
                    in_force = {
                        "policy_revision": force.revision,
                        "markets": len(force.markets),
                        "shadow": force.shadow,
                    }
                    _log.info("started", version=__version__, **self._addresses(), **in_force)
                    announce(self._settings, server.address, self._metrics.admission)
                    self._ticks = asyncio.create_task(self._tick(server))
                    policy = self._settings.policy
                    watch = self.policy_watch.running(policy.watch_interval_ms / 1000)
                    try:
                        async with watch if policy.watch else nullcontext(), self.identities_watch.running():
                            yield self
                    finally:
                        await self._drain(server, self._ticks)

    async def run(self, signals: Signals) -> None:
        """Serve until SIGTERM or SIGINT, then drain. SIGHUP reloads policy and identities."""
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.set_exception_handler(self._descriptors.on_loop_error)
        reloads: set[asyncio.Task[None]] = set()

        def reload() -> None:
            task = asyncio.create_task(self.reload_on_signal())
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        signals.lead_to(lambda: _soon(loop, stop.set), lambda: _soon(loop, reload))
        stopped = asyncio.create_task(stop.wait())
        serving = asyncio.create_task(self._serve(stopped))
        await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not self._started:
            serving.cancel()  # a long recovery: there is nothing to drain
        try:
            await serving
        except asyncio.CancelledError:
            if not stop.is_set():
                raise
        finally:
            stopped.cancel()
            if others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(others, timeout=ENDING_S)  # cut off later, gRPC writes a traceback to stderr

    async def _serve(self, stopped: asyncio.Task[bool]) -> None:
        service = ServiceManager(os.environ, os.getpid())
        async with service.watching(self.engine.ready, self.engine.refused_files), self.running():
            # What is here now stays. Looking through it for garbage, as each checkpoint would cause, holds up the loop.
            gc.freeze()
            gc.set_threshold(*GARBAGE_THRESHOLDS)
            self._started = True
            service.ready()
            ticks = self._ticks
            await asyncio.wait([stopped, *([ticks] if ticks else [])], return_when=asyncio.FIRST_COMPLETED)
            service.stopping()

    async def _tick(self, server: GuardServer) -> None:
        """Let time take effect, report readiness, and show the state while a page is open, again and again."""
        interval_s = self._settings.engine.tick_interval_ms / 1000
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + interval_s
            await asyncio.sleep(interval_s)
            self._metrics.loop_late(max(loop.time() - due_s, 0.0))
            try:
                self.engine.tick()
            except EngineFailed:
                """Logged where it happened; `ready` says so from now on."""
            self._descriptors.look()
            await self._report_serving(server)
            if not self._site.streams.clients:
                await self._status_refresh.go_on()
            elif self._status_refresh.due():
                await self._show()

    async def _report_serving(self, server: GuardServer) -> None:
        reasons = self.engine.ready()
        if self._serving is bool(reasons):
            self._serving = not reasons
            await server.set_serving(self._serving)
            (_log.info if self._serving else _log.error)("serving" if self._serving else "not_serving", reasons=reasons)

    async def _show(self) -> None:
        journal = None if self._journal is None else self._journal.status()
        await self._status_refresh.refresh(journal, serving=self._serving)

    async def _fresh(self) -> None:
        """Have the metrics and the page show what is now, for somebody who looks at them."""
        await self._status_refresh.ask(self._show)

    def _addresses(self) -> dict[str, str]:
        """Return where the guard listens, without what is not set."""
        every = {
            "grpc": self.grpc_address,
            "health": self.health_address,
            "http": self.http_address,
            "metrics": self.metrics_address,
        }
        return {name: address for name, address in every.items() if address}

    async def _drain(self, server: GuardServer, ticks: asyncio.Task[None]) -> None:
        self._serving = False
        ticks.cancel()
        [outcome] = await asyncio.gather(ticks, return_exceptions=True)
        await self._show()
        _log.info("draining", grace_s=self._settings.grpc.drain_grace_s)
        await server.drain(self._settings.grpc.drain_grace_s)
        _log.info("stopped")
        if isinstance(outcome, Exception):
            raise outcome


def build(settings: Settings, clock: Clock | None = None, file: SettingsFile | None = None) -> App:
    """Put a guard together, on the system's clock unless another is given. Raise PolicyError for an invalid policy.

    `file` is where the settings came from; without it, identities stay as they are.
    """
    content, clock = read_content(settings.policy.path), clock or SystemClock()
    policy = content.policy()
    metrics, history = Metrics(policy, __version__, clock.wall_ns()), History(policy.markets)
    engine = Engine(
        policy,
        clock,
        observers=(metrics, FactLog(policy.markets), history),
        watchers_max=settings.grpc.watchers_max,
        watch_queue_max=settings.engine.watch_queue_max,
    )
    access = Access(settings.security)
    log = LogPipeline(settings.log.level, settings.log.format)
    descriptors = DescriptorWatch()
    status_refresh = StatusRefresh(engine, metrics, log, history, descriptors)
    site = Site(status_refresh.board, history, metrics.registry, authorizing=(viewers_only(settings, access),))
    return App(settings, engine, content, metrics, log, status_refresh, site, descriptors, access, file)


@asynccontextmanager
async def running_app(settings: Settings, file: SettingsFile | None = None) -> AsyncIterator[App]:
    """Run a guard inside this process for as long as the context lasts. Raise PolicyError or ListenError."""
    async with build(settings, file=file).running() as app:
        yield app


def serve(settings: Settings, file: SettingsFile | None = None) -> int:
    """Run a guard until a signal ends it, and return the exit code of the process."""
    sys.setswitchinterval(SWITCH_S)
    with Signals(settings.grpc.drain_grace_s + ENDS_AFTER_DRAIN_S) as signals:
        try:
            app = build(settings, file=file)
            asyncio.run(app.run(signals))
        except (DocumentError, ListenError, CertificateError, StateDirectoryHeld) as error:
            sys.stderr.write(f"circuit-guard: {error}\n")
            return EXIT_BAD_DOCUMENT if isinstance(error, DocumentError) else EXIT_NOT_STARTED
    if app.log_stuck:
        os._exit(0)  # the interpreter would wait for the stream that nobody reads
    return 0


@asynccontextmanager
async def _serving(site: Site | MetricsSite, setting: str, listen: str | None) -> AsyncIterator[str]:
    """Have a site answer for as long as the context lasts, and return where; without an address it does not."""
    if listen is None:
        yield ""
        return
    try:
        address = await site.start(listen)
    except OSError as error:
        expected = "an address of this machine, host:port, that no other process listens on"
        raise ListenError(f"{setting} was {listen}, expected {expected}: {error.strerror}") from error
    try:
        yield address
    finally:
        await site.stop()


def _soon(loop: asyncio.AbstractEventLoop, act: Callable[[], object]) -> None:
    """Have the event loop do something, from another thread."""
    with suppress(RuntimeError):  # it has ended
        loop.call_soon_threadsafe(act)
