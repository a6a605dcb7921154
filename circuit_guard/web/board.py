"""What pages show: the guard as it was at the last tick, the same for everybody; and who waits for the next.

Live updates are server-sent events that say when a page has something new. The page then asks for it anew.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import hdrs, web

from circuit_guard.core.status import GuardStatus, MarketStatus


@dataclass(frozen=True, slots=True)
class View:
    """One look at the guard. `status` is None where it has nothing to show, because it refuses or has just started."""

    at_ns: int
    not_ready: tuple[str, ...]
    """Why it is not ready, one sentence each; empty where it is."""
    failed: bool
    """Whether the engine answers nothing any more. What `status` says is then what was known when it stopped."""
    status: GuardStatus | None
    outdated: bool = False
    """Whether this could not be brought up to date, so that it is older than it should be."""


class Board:
    """The last view, and those who wait for the next."""

    def __init__(self, at_ns: int) -> None:
        self.view = View(at_ns, ("the guard is starting",), failed=False, status=None)
        self.version = 0
        """Counts the views."""
        self.changes = 0
        """Counts the views in which more than ages and prices differed from the one before."""
        self.closed = False
        self._state = _state_of(self.view)
        self._markets: dict[str, MarketStatus] = {}
        self._updated = asyncio.Event()

    def show(self, view: View) -> None:
        """Show a view to everybody, and wake those who wait."""
        self.view = view
        self.version += 1
        state = _state_of(view)
        self.changes += state != self._state
        self._state = state
        self._markets = {market.market: market for market in view.status.markets} if view.status else {}
        self._wake()

    def market(self, name: str) -> MarketStatus | None:
        """Return what is known of a market; None where the view has none of this name."""
        return self._markets.get(name)

    def close(self) -> None:
        """Wake those who wait for the last time: nothing will be shown any more."""
        self.closed = True
        self._wake()

    async def updated(self, timeout_s: float) -> None:
        """Return when there is a new view or the board is closed, after `timeout_s` at the latest."""
        waited = self._updated
        try:
            await asyncio.wait_for(waited.wait(), timeout_s)
        except TimeoutError:
            return

    def _wake(self) -> None:
        self._updated.set()
        self._updated = asyncio.Event()


def _state_of(view: View) -> object:
    """Return what people want to be told of at once: everything but ages, prices and headroom."""
    status = view.status
    if status is None:
        return (view.not_ready, view.failed)
    markets = tuple(
        (market.market, market.phase, market.breaker.generation, market.halts, tuple(f.reason for f in market.denying))
        for market in status.markets
    )
    whole = (status.policy_revision, status.shadow, status.global_breaker.generation, status.global_halts)
    notes = (status.maintenance, status.proposals, status.refused_files)
    return (view.not_ready, view.failed, view.outdated, *whole, *notes, markets)


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What bounds the live updates. The defaults are what runs; tests use smaller ones."""

    clients_max: int = 32
    write_timeout_s: float = 5.0
    """A client that has read nothing for this long is dropped."""
    interval_s: float = 5.0
    """Without a change there is an event this often: ages grow, and a client sees that it is still connected."""
    buffer_bytes: int = 16_384
    """What waits for a client that reads slowly."""


class Streams:
    """The clients that are connected for live updates."""

    def __init__(self, board: Board, limits: StreamLimits) -> None:
        self._board = board
        self._limits = limits
        self.clients = 0
        """How many there are."""

    async def serve(self, request: web.Request, progress: Callable[[], int]) -> web.StreamResponse:
        """Send an event at each change, each progress, and now and then; until the client or the guard goes away.

        `progress` is a number that is another one when what the client looks at has changed.
        """
        if self.clients >= self._limits.clients_max:
            sentence = f"{self.clients} pages are live, the limit is {self._limits.clients_max}. Reload to refresh."
            raise web.HTTPServiceUnavailable(text=sentence)
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream"})
        self.clients += 1
        try:
            await response.prepare(request)
            if request.method == hdrs.METH_GET:
                await self._send_all(request, response, progress)
        except (TimeoutError, ConnectionResetError):
            _cut_off(request)
        finally:
            self.clients -= 1
        return response

    async def _send_all(self, request: web.Request, response: web.StreamResponse, progress: Callable[[], int]) -> None:
        board, loop = self._board, asyncio.get_running_loop()
        _bound(request, self._limits.buffer_bytes)
        while not board.closed:
            seen, due_s = (board.changes, progress()), loop.time() + self._limits.interval_s
            async with asyncio.timeout(self._limits.write_timeout_s):
                await response.write(f'event: view\ndata: {{"version": {board.version}}}\n\n'.encode())
            await self._something_new(progress, seen, due_s)

    async def _something_new(self, progress: Callable[[], int], seen: tuple[int, int], due_s: float) -> None:
        """Return when something has changed, the event is due anyway, or the board is closed."""
        board, loop = self._board, asyncio.get_running_loop()
        while not board.closed and (board.changes, progress()) == seen and (left_s := due_s - loop.time()) > 0:
            await board.updated(left_s)


def _bound(request: web.Request, buffer_bytes: int) -> None:
    """Limit what waits for the client, here and in the kernel."""
    if isinstance(request.transport, asyncio.WriteTransport):
        request.transport.set_write_buffer_limits(high=buffer_bytes)
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)


def _cut_off(request: web.Request) -> None:
    """Close the connection without waiting for what the client has not read."""
    if isinstance(request.transport, asyncio.WriteTransport):
        request.transport.abort()
