"""The site: its routes, what guards them, and its life on the event loop of the guard."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CollectorRegistry

from circuit_guard.web import protection
from circuit_guard.web.board import Board
from circuit_guard.web.exposition import Exposition
from circuit_guard.web.history import History
from circuit_guard.web.pages import Pages
from circuit_guard.web.streams import StreamLimits, Streams

ASSETS = {"app.css": "text/css", "app.js": "text/javascript", "icon.svg": "image/svg+xml"}
KEEPALIVE_S = 15.0
DRAIN_S = 1.0
"""How long requests that are being answered may take when the guard stops; live updates end at once."""


class Site:
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
        self._board = board
        self._pages = Pages(board, history)
        self.streams = Streams(board, limits)
        """Who is connected for live updates."""
        self._exposition = Exposition(registry)
        self._authorizing = authorizing
        self._runner: web.AppRunner | None = None
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
        app.router.add_get("/metrics", self._exposition.scrape)
        app.router.add_get("/healthz", _alive)
        app.router.add_get("/static/{name}", self._asset)
        app.on_shutdown.append(self._end_streams)
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
        self._exposition.close()

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
