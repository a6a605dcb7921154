"""The sites: the status page with the metrics, and the metrics alone, on the event loop of the guard."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from operator import itemgetter
from typing import Any, TypeVar

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from circuit_guard.core import explain, formatting, sentences
from circuit_guard.core.status import MarketStatus
from circuit_guard.core.types import GLOBAL_SCOPE
from circuit_guard.web import api, chart, presentation, protection
from circuit_guard.web.board import Board, StreamLimits, Streams, View
from circuit_guard.web.history import History
from circuit_guard.web.listening import listening

Item = TypeVar("Item")
Result = TypeVar("Result")

TEMPLATES = ("base.html", "parts.html", "figure.html", "overview.html", "market.html", "decisions.html", "problem.html")
FEW = 20
"""Up to this many markets are found without a filter."""
SLICE_S = 0.001
"""An answer is built for this long before others get their turn."""
ASSETS = {"app.css": "text/css", "app.js": "text/javascript", "icon.svg": "image/svg+xml"}
KEEPALIVE_S = 15.0
DRAIN_S = 1.0
"""How long requests that are being answered may take when the guard stops; live updates end at once."""
COMPRESSION_LEVEL = 1
"""The fastest: a scrape comes every few seconds and stays on this machine."""
CONNECTIONS_MAX = 128
"""Connections to one address at a time; a further one is closed: they take descriptors, which the journal needs too."""
SCRAPES_MAX = 8
"""Answered at a time where there are only metrics; one thread writes them, one after the other."""


Fresh = Callable[[], Awaitable[None]]


async def as_it_is() -> None:
    """Leave what is shown as it is."""


class MetricsSite:
    """`/metrics` and nothing else, for a Prometheus elsewhere: no page and no account leaves the machine.

    Writing the series takes long with a thousand markets, so one thread does it, one scrape after the other.
    """

    def __init__(self, registry: CollectorRegistry, fresh: Fresh = as_it_is) -> None:
        self._registry = registry
        self.fresh = fresh
        """Awaited before anything is shown, to have it brought up to date."""
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")
        self._runner: web.AppRunner | None = None
        self._listening: list[asyncio.Server] = []

    def application(self, _listen_host: str) -> web.Application:
        """Return the application for one address."""
        app = web.Application(middlewares=[protection.only_reads, protection.Bounded(SCRAPES_MAX).middleware])
        app.on_response_prepare.append(protection.add_headers)
        app.router.add_get("/metrics", self._scrape)
        return app

    async def start(self, listen: str) -> str:
        """Serve at host:port until `stop`; return where, with the port that was bound. Raise OSError."""
        (host, _, port), loop = listen.rpartition(":"), asyncio.get_running_loop()
        self._runner = web.AppRunner(
            self.application(host),
            access_log=None,
            logger=protection.LIBRARY_LOG,
            handler_cancellation=True,
            keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=DRAIN_S,
        )
        await self._runner.setup()
        try:
            for one in listening(host, int(port)):
                self._listening.append(await loop.create_server(self._protocol, sock=one, backlog=CONNECTIONS_MAX))
        except OSError:
            await self.stop()
            raise
        return f"{host}:{self._listening[0].sockets[0].getsockname()[1]}"

    def _protocol(self) -> asyncio.BaseProtocol:
        """Return what answers a connection, or closes it at once where there are too many."""
        server = None if self._runner is None else self._runner.server
        return _Refusing() if server is None or len(server.connections) >= CONNECTIONS_MAX else server()

    async def stop(self) -> None:
        """Answer nothing more: live updates end, what is being answered is finished."""
        for one in self._listening:
            one.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._writer.shutdown()

    async def _scrape(self, request: web.Request) -> web.Response:
        """Return all series, or those that `name[]` names, in the format that the scraper asks for."""
        await self.fresh()
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


class _Refusing(asyncio.Protocol):
    """Closes its connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class Site(MetricsSite):
    """The status page and the metrics of one guard.

    A handler has the board brought up to date, reads it and the history, and changes nothing else.
    """

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
        self._history = history
        self._templates = _templates()
        self.streams = Streams(board, limits)
        """Who is connected for live updates."""
        self._authorizing = authorizing
        self._assets = {name: (files("circuit_guard.web") / "static" / name).read_bytes() for name in ASSETS}

    def application(self, listen_host: str) -> web.Application:
        """Return the application for one address; `listen_host` may be named in the Host header."""
        app = web.Application(
            middlewares=[
                protection.explaining(self._problem),
                protection.known_host(listen_host),
                protection.same_site,
                protection.only_reads,
                protection.Bounded().middleware,
                *self._authorizing,
            ]
        )
        app.on_response_prepare.append(protection.add_headers)
        app.router.add_get("/", self._overview)
        app.router.add_get("/markets/{market:.+}", self._market_page)
        app.router.add_get("/decisions", self._decisions)
        app.router.add_get("/api/status", self._status)
        app.router.add_get("/events/status", self._overview_events)
        app.router.add_get("/events/markets/{market:.+}", self._market_events)
        app.router.add_get("/metrics", self._scrape)
        app.router.add_get("/healthz", _alive)
        app.router.add_get("/static/{name}", self._asset)
        app.on_shutdown.append(self._end_streams)
        return app

    async def _overview(self, request: web.Request) -> web.Response:
        """Return all markets, those that are held first."""
        await self.fresh()
        view, status = self._board.view, self._board.view.status
        if status is None:
            return await self._page("overview.html", view)
        wanted, number = request.query.get("q", ""), request.query.get("page", "")
        page = presentation.page_of(await ranked(status.markets), wanted, number)
        maintenance = status.maintenance is not None
        rows = await mapped(lambda market: presentation.row_of(market, in_maintenance=maintenance), page.markets)
        return await self._page("overview.html", view, rows=rows, page=page, everything=explain.explain_global(status))

    async def _market_page(self, request: web.Request) -> web.Response:
        """Return one market: why it is held, its charts, its headroom, what happened and what was answered."""
        name = request.match_info["market"]
        self._market(name)
        await self.fresh()
        market, view = self._market(name), self._board.view
        if market is None or view.status is None:
            return await self._page("market.html", view, name=name, row=None)
        kept, whole = self._history.of(name), self._history.of(GLOBAL_SCOPE)
        return await self._page(
            "market.html",
            view,
            name=name,
            row=presentation.row_of(market, in_maintenance=view.status.maintenance is not None),
            market=market,
            everything=explain.explain_global(view.status),
            rooms=presentation.rooms_of(market),
            values=presentation.values(market),
            figures=presentation.figures(kept, whole),
            timeline=presentation.timeline(kept, whole),
            answers=kept.decisions(),
        )

    async def _decisions(self, _request: web.Request) -> web.Response:
        """Return the last decisions over all markets."""
        await self.fresh()
        return await self._page("decisions.html", self._board.view, answers=self._history.latest())

    async def _status(self, _request: web.Request) -> web.Response:
        """Return the status as JSON."""
        await self.fresh()
        view = self._board.view
        markets = await ranked(view.status.markets) if view.status else []
        return web.Response(text=await joined(api.document(view, markets)), content_type="application/json")

    async def _problem(self, request: web.Request, status: int, told: str) -> web.Response:
        """Return a refusal with the sentence that explains it: as a page, or as JSON or text where that was asked."""
        if request.path.startswith("/api/"):
            return web.json_response({"error": told}, status=status)
        if not request.path.startswith(("/markets/", "/decisions")) and request.path != "/" and status != 404:
            return web.Response(text=told + "\n", status=status)
        return await self._page("problem.html", self._board.view, status, told=told)

    async def _market_events(self, request: web.Request) -> web.StreamResponse:
        name, history = request.match_info["market"], self._history
        self._market(name)
        return await self.streams.serve(request, lambda: history.of(name).sampled_ns if history.knows(name) else -1)

    async def _overview_events(self, request: web.Request) -> web.StreamResponse:
        return await self.streams.serve(request, lambda: 0)

    def _market(self, name: str) -> MarketStatus | None:
        """Return what is known of a market, None where that is nothing. Raise 404 where the policy does not name it."""
        if not self._history.knows(name):
            raise web.HTTPNotFound(
                text=f"The policy names no market {name[:80]!r}. The overview lists the markets it names."
            )
        return self._board.market(name)

    async def _page(self, template: str, view: View, status_code: int = 200, **values: Any) -> web.Response:
        status = view.status
        headline, notes = ("", []) if status is None else (explain.headline(status), explain.notes(status))
        shared = {"view": view, "status": status, "headline": headline, "notes": notes}
        text = await joined(self._templates[template].generate(**shared, **values))
        return web.Response(text=text, content_type="text/html", status=status_code)

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


async def mapped(compute: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return the result for each item, letting the checks that wait go first again and again."""
    loop = asyncio.get_running_loop()
    results, turn_s = [], loop.time() + SLICE_S
    for item in items:
        results.append(compute(item))
        if loop.time() > turn_s:
            await asyncio.sleep(0)
            turn_s = loop.time() + SLICE_S
    return results


async def joined(pieces: Iterable[str]) -> str:
    """Return the pieces, which are built one by one, as one text."""
    return "".join(await mapped(str, pieces))


async def ranked(markets: Sequence[MarketStatus]) -> list[MarketStatus]:
    """Return the markets in the order of their ranks."""
    ranks = await mapped(presentation.rank, markets)
    return [market for _, market in sorted(zip(ranks, markets, strict=True), key=itemgetter(0))]


@cache
def _templates() -> dict[str, Template]:
    """Return the templates, read and compiled once a process."""
    environment = Environment(
        loader=PackageLoader("circuit_guard.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "formatting": formatting,
        "sentences": sentences,
        "shown": presentation,
        "chart": chart,
        "FEW": FEW,
    }
    return {name: environment.get_template(name) for name in TEMPLATES}
