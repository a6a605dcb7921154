"""Live updates: server-sent events that say when a page has something new. The page then asks for it anew."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import hdrs, web

from circuit_guard.web.board import Board


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What bounds the live updates. The defaults are what runs; tests use smaller ones."""

    clients_max: int = 32
    write_timeout_s: float = 5.0
    """A client that has not read what was sent to it for so long is dropped."""
    interval_s: float = 5.0
    """Without a change there is an event this often: ages grow, and a client sees that it is still connected."""
    buffer_bytes: int = 16_384
    """What waits for a client that reads slowly."""


class Streams:
    """The clients that are connected for live updates."""

    def __init__(self, board: Board, limits: StreamLimits) -> None:
        self._board = board
        self._limits = limits
        self._clients = 0

    @property
    def clients(self) -> int:
        """How many there are."""
        return self._clients

    async def serve(self, request: web.Request, progress: Callable[[], int]) -> web.StreamResponse:
        """Send an event at each change, each progress, and now and then; until the client or the guard goes away.

        `progress` is a number that is another one when what the client looks at has changed.
        """
        if self._clients >= self._limits.clients_max:
            sentence = f"{self._clients} pages are live, the limit is {self._limits.clients_max}. Reload to refresh."
            raise web.HTTPServiceUnavailable(text=sentence)
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream"})
        self._clients += 1
        try:
            await response.prepare(request)
            if request.method == hdrs.METH_GET:
                await self._send_all(request, response, progress)
        except (TimeoutError, ConnectionResetError):
            _cut_off(request)
        finally:
            self._clients -= 1
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
        """Return once something has changed, or the time has come anyway, or the board is closed."""
        board, loop = self._board, asyncio.get_running_loop()
        while not board.closed and (board.changes, progress()) == seen and (left_s := due_s - loop.time()) > 0:
            await board.updated(left_s)


def _bound(request: web.Request, buffer_bytes: int) -> None:
    """Let no more than so much wait for the client here, and as much in the kernel."""
    if isinstance(request.transport, asyncio.WriteTransport):
        request.transport.set_write_buffer_limits(high=buffer_bytes)
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)


def _cut_off(request: web.Request) -> None:
    """Close the connection without waiting for what the client has not read."""
    if isinstance(request.transport, asyncio.WriteTransport):
        request.transport.abort()
