"""A second address for a Prometheus elsewhere: `/metrics` and nothing else, so that no page and no account leaves."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CollectorRegistry

from circuit_guard.web import protection
from circuit_guard.web.exposition import Exposition

SCRAPES_MAX = 8
"""Answered at a time; one thread writes them, one after the other."""
KEEPALIVE_S = 15.0
DRAIN_S = 1.0


class MetricsSite:
    """The metrics of one guard, for whoever can connect."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._exposition: Exposition | None = None
        self._runner: web.AppRunner | None = None

    async def start(self, listen: str) -> str:
        """Serve at host:port until `stop`; return where, with the port that was bound. Raise OSError."""
        host, _, port = listen.rpartition(":")
        self._exposition = Exposition(self._registry)
        app = web.Application(middlewares=[protection.only_reads, protection.Bounded(SCRAPES_MAX).middleware])
        app.on_response_prepare.append(protection.add_headers)
        app.router.add_get("/metrics", self._exposition.scrape)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, keepalive_timeout=KEEPALIVE_S, shutdown_timeout=DRAIN_S
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host.strip("[]"), int(port)).start()
        except OSError:
            await self.stop()
            raise
        return f"{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Answer nothing more."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._exposition is not None:
            self._exposition.close()
