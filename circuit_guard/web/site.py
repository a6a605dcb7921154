"""The sites: the status page with the metrics, and the metrics alone, on the event loop of the guard."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from circuit_guard.web import protection
from circuit_guard.web.board import Board, StreamLimits, Streams
from circuit_guard.web.history import History
from circuit_guard.web.pages import Pages

ASSETS = {"app.css": "text/css", "app.js": "text/javascript", "icon.svg": "image/svg+xml"}
KEEPALIVE_S = 15.0
DRAIN_S = 1.0
"""How long requests that are being answered may take when the guard stops; live updates end at once."""
COMPRESSION_LEVEL = 1
"""The fastest: a scrape comes every few seconds and stays on this machine."""
SCRAPES_MAX = 8
"""Answered at a time where there are only metrics; one thread writes them, one after the other."""


class MetricsSite:
    """`/metrics` and nothing else, for a Prometheus elsewhere: no page and no account leaves the machine.

    Writing the series takes long with a thousand markets, so one thread does it, one scrape after the other.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")
        self._runner: web.AppRunner | None = None

    def application(self, _listen_host: str) -> web.Application:
        """Return the application for one address."""
        app = web.Application(middlewares=[protection.only_reads, protection.Bounded(SCRAPES_MAX).middleware])
        app.on_response_prepare.append(protection.add_headers)
        app.router.add_get("/metrics", self._scrape)
        return app

    async def start(self, listen: str) -> str:
        """Serve at host:port until `stop`; return where, with the port that was bound. Raise OSError."""
        host, _, port = listen.rpartition(":")
        self._runner = web.AppRunner(
            self.application(host),
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=DRAIN_S,
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host.strip("[]"), int(port)).start()
        except OSError:
            await self.stop()
            raise
        return f"{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Answer nothing more: live updates end, what is being answered is finished."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._writer.shutdown()

    async def _scrape(self, request: web.Request) -> web.Response:
        """Return all series, or those that `name[]` names, in the format that the scraper asks for."""
        names = request.query.getall("name[]", [])
        compressed = "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "")
        work = (request.headers.get(hdrs.ACCEPT, ""), names, compressed)
        body, content_type = await asyncio.get_running_loop().run_in_executor(self._writer, self._written, *work)
        headers = {hdrs.CONTENT_TYPE: content_type, hdrs.VARY: "Accept, Accept-Encoding"}
        if compressed:
            headers[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(body=body, headers=headers)

    def _written(self, accepted: str, names: list[str], compressed: bool) -> tuple[bytes, str]:  # noqa: FBT001  # by position
        encode, content_type = choose_encoder(accepted)
        text = encode(self._registry.restricted_registry(names) if names else self._registry)
        return gzip.compress(text, COMPRESSION_LEVEL) if compressed else text, content_type


class Site(MetricsSite):
    """The status page and the metrics of one guard."""

    def __init__(
        self,
        board: Board,
        history: History,
        registry: CollectorRegistry,
        authorizing: Sequence[Middleware] = (),
        limits: StreamLimits = StreamLimits(),  # noqa: B008  # it is frozen
    ) -> None:
        """Let the middlewares in `authorizing` see every request that is not refused already, before its handler."""
        super().__init__(registry)
        self._board = board
        self._pages = Pages(board, history)
        self.streams = Streams(board, limits)
        """Who is connected for live updates."""
        self._authorizing = authorizing
        self._assets = {name: (files("circuit_guard.web") / "static" / name).read_bytes() for name in ASSETS}

    def application(self, listen_host: str) -> web.Application:
        """Return the application for one address; `listen_host` may be named in the Host header."""
        app = web.Application(
            middlewares=[
                protection.explaining(self._pages.problem),
                protection.known_host(listen_host),
                protection.same_site,
                protection.only_reads,
                protection.Bounded().middleware,
                *self._authorizing,
            ]
        )
        app.on_response_prepare.append(protection.add_headers)
        app.router.add_get("/", self._pages.overview)
        app.router.add_get("/markets/{market:.+}", self._pages.market)
        app.router.add_get("/decisions", self._pages.decisions)
        app.router.add_get("/api/status", self._pages.status)
        app.router.add_get("/events/status", self._overview_events)
        app.router.add_get("/events/markets/{market:.+}", self._market_events)
        app.router.add_get("/metrics", self._scrape)
        app.router.add_get("/healthz", _alive)
        app.router.add_get("/static/{name}", self._asset)
        app.on_shutdown.append(self._end_streams)
        return app

    async def _overview_events(self, request: web.Request) -> web.StreamResponse:
        return await self.streams.serve(request, lambda: 0)

    async def _market_events(self, request: web.Request) -> web.StreamResponse:
        return await self.streams.serve(request, self._pages.progress_of(request.match_info["market"]))

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in ASSETS:
            raise web.HTTPNotFound(text=f"There is no file {name[:80]!r}.")
        return web.Response(body=self._assets[name], content_type=ASSETS[name], charset="utf-8")

    async def _end_streams(self, _app: web.Application) -> None:
        self._board.close()


async def _alive(_request: web.Request) -> web.Response:
    """Answer that the process runs its loop, whatever the data say. Whether it judges is /api/status' `ready`."""
    return web.Response(text="ok\n")
