"""The pages, and what each shows. A handler reads the board and the history, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from circuit_guard.core.status import GuardStatus, MarketStatus
from circuit_guard.core.types import GLOBAL_SCOPE
from circuit_guard.web import api, chart, details, words
from circuit_guard.web.board import Board, View
from circuit_guard.web.explain import explain_global
from circuit_guard.web.history import History
from circuit_guard.web.paging import page_of
from circuit_guard.web.rows import ranked, rooms_of, row_of, summary
from circuit_guard.web.slices import joined, mapped

TEMPLATES = ("base.html", "parts.html", "figure.html", "overview.html", "market.html", "decisions.html", "problem.html")

FEW = 20
"""So many markets are found without a filter."""


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
        page = page_of(await ranked(status.markets), request.query.get("q", ""), request.query.get("page", ""))
        maintenance = status.maintenance is not None
        rows = await mapped(lambda market: row_of(market, view.at_ns, in_maintenance=maintenance), page.markets)
        return await self._page("overview.html", view, rows=rows, page=page, everything=explain_global(status))

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
            row=row_of(market, view.at_ns, in_maintenance=view.status.maintenance is not None),
            market=market,
            everything=explain_global(view.status),
            rooms=rooms_of(market),
            values=details.values(market),
            figures=details.figures(kept, whole),
            timeline=details.timeline(kept, whole),
            answers=details.answers(kept.decisions()),
        )

    async def decisions(self, _request: web.Request) -> web.Response:
        """Return the last decisions over all markets."""
        return await self._page("decisions.html", self._board.view, answers=details.answers(self._history.latest()))

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
                text=f"The policy names no market {name[:80]!r}. The overview has all that it names."
            )
        return self._board.market(name)

    async def _page(self, template: str, view: View, status_code: int = 200, **values: Any) -> web.Response:
        shared = {"view": view, "status": view.status, "headline": _headline(view.status), "notes": _notes(view.status)}
        text = await joined(self._templates[template].generate(**shared, **values))
        return web.Response(text=text, content_type="text/html", status=status_code)


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
    environment.globals |= {"words": words, "chart": chart, "FEW": FEW}
    return {name: environment.get_template(name) for name in TEMPLATES}


def _headline(status: GuardStatus | None) -> str:
    return "" if status is None else summary(status)


def _notes(status: GuardStatus | None) -> list[str]:
    """Return what holds for the whole guard and is not as usual, one line each."""
    if status is None:
        return []
    notes = []
    if status.shadow:
        notes.append("SHADOW: whatever is denied below goes through, except for operators' halts.")
    if (running := status.maintenance) is not None:
        when = f"since {words.instant(running.since_ns)}, for {words.lasting(status.at_ns - running.since_ns)}"
        notes.append(f"MAINTENANCE {when}, by {running.actor}: {running.reason}; checkpoint {running.checkpoint}.")
    for asked in status.proposals:
        what = f"{asked.act} of {', '.join(asked.scopes[:6])}, proposed by {asked.actor}: {asked.reason}"
        until = words.instant(asked.expires_ns)
        notes.append(f"NOT IN EFFECT: {what}; somebody else has to ask for the same before {until}.")
    return notes
