"""The pages, and what each shows. A handler reads the board and the history, and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, TypeVar

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from circuit_guard.core import explain, formatting, sentences
from circuit_guard.core.status import MarketStatus
from circuit_guard.core.types import GLOBAL_SCOPE
from circuit_guard.web import api, chart, presentation
from circuit_guard.web.board import Board, View
from circuit_guard.web.history import History

Item = TypeVar("Item")
Result = TypeVar("Result")

TEMPLATES = ("base.html", "parts.html", "figure.html", "overview.html", "market.html", "decisions.html", "problem.html")
FEW = 20
"""Up to this many markets are found without a filter."""
SLICE_S = 0.001
"""An answer is built for this long before others get their turn."""


class Pages:
    """The handlers of everything that people and their tools read."""

    def __init__(self, board: Board, history: History) -> None:
        self._board = board
        self._history = history
        self._templates = _templates()

    async def overview(self, request: web.Request) -> web.Response:
        """Return all markets, those that are held first."""
        view, status = self._board.view, self._board.view.status
        if status is None:
            return await self._page("overview.html", view)
        wanted, number = request.query.get("q", ""), request.query.get("page", "")
        page = presentation.page_of(await ranked(status.markets), wanted, number)
        maintenance = status.maintenance is not None
        rows = await mapped(lambda market: presentation.row_of(market, in_maintenance=maintenance), page.markets)
        return await self._page("overview.html", view, rows=rows, page=page, everything=explain.explain_global(status))

    async def market(self, request: web.Request) -> web.Response:
        """Return one market: why it is held, its charts, its headroom, what happened and what was answered."""
        name, view = request.match_info["market"], self._board.view
        market = self._market(name)
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

    async def decisions(self, _request: web.Request) -> web.Response:
        """Return the last decisions over all markets."""
        return await self._page("decisions.html", self._board.view, answers=self._history.latest())

    async def status(self, _request: web.Request) -> web.Response:
        """Return the status as JSON."""
        view = self._board.view
        markets = await ranked(view.status.markets) if view.status else []
        return web.Response(text=await joined(api.document(view, markets)), content_type="application/json")

    async def problem(self, request: web.Request, status: int, told: str) -> web.Response:
        """Return a refusal with the sentence that explains it: as a page, or as JSON or text where that was asked."""
        if request.path.startswith("/api/"):
            return web.json_response({"error": told}, status=status)
        if not request.path.startswith(("/markets/", "/decisions")) and request.path != "/" and status != 404:
            return web.Response(text=told + "\n", status=status)
        return await self._page("problem.html", self._board.view, status, told=told)

    def progress_of(self, market: str) -> Callable[[], int]:
        """Return what gives another number whenever there is something new of a market. Raise 404 for no market."""
        self._market(market)
        return lambda: self._history.of(market).sampled_ns if self._history.knows(market) else -1

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
