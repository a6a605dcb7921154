"""Live updates: an event at each change, bounded in number, and nobody is waited for."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from aiohttp import ClientResponse

from circuit_guard.core.inputs import Tick
from circuit_guard.engine.engine import EngineFailed
from circuit_guard.web.board import StreamLimits
from tests.driver import BTC, ETH
from tests.web.harness import Web, web

NEVER_S = 3600.0


async def event(stream: ClientResponse) -> int:
    """Return the version that the next event tells of."""
    lines: list[str] = []
    while (line := (await stream.content.readline()).decode().rstrip("\n")) or not lines:
        assert line or not stream.content.at_eof(), "the stream has ended"
        lines.append(line)
    kind, data = lines
    assert kind == "event: view"
    version: int = json.loads(data.removeprefix("data: "))["version"]
    return version


async def clients_left(guard: Web) -> int:
    """Return how many clients there are once those that are gone have been noticed."""
    while guard.streams.clients:
        await guard.get("/healthz")
    return guard.streams.clients


async def test_stream_when_a_state_changes_then_an_event_comes_and_without_a_change_none() -> None:
    async with web(limits=StreamLimits(interval_s=NEVER_S)) as guard:
        await guard.run(40, BTC, ETH)
        async with guard.client.get("/events/status") as stream:
            assert stream.headers["Content-Type"] == "text/event-stream"
            first = await event(stream)
            await guard.run(3, BTC, ETH)
            guard.halt(BTC)
            await guard.tick()
            assert await event(stream) == first + 4, "three views without a change have no event"


@pytest.mark.parametrize("change", ["breaker", "engine"])
async def test_stream_when_it_matters_then_an_event_comes(change: str) -> None:
    async with web(limits=StreamLimits(interval_s=NEVER_S)) as guard:
        await guard.run(40, BTC, ETH)
        async with guard.client.get("/events/status") as stream:
            await event(stream)
            if change == "breaker":
                guard.driver.observe(BTC, epoch=0)
            else:
                with pytest.raises(EngineFailed):
                    guard.driver.engine.step(Tick(0))
            await guard.show()
            await event(stream)


async def test_stream_of_a_market_when_it_has_a_new_sample_then_an_event_comes() -> None:
    async with web(limits=StreamLimits(interval_s=NEVER_S)) as guard:
        await guard.run(41, BTC, ETH)
        async with guard.client.get(f"/events/markets/{BTC}") as stream:
            first = await event(stream)
            await guard.run(2, BTC, ETH)
            assert await event(stream) > first


async def test_stream_when_nothing_changes_for_long_then_events_show_that_it_is_alive() -> None:
    async with web(limits=StreamLimits(interval_s=0.02)) as guard:
        await guard.tick()
        async with guard.client.get("/events/status") as stream:
            assert [await event(stream) for _ in range(3)] == [1, 1, 1]


async def test_stream_when_the_market_is_unknown_then_it_is_refused() -> None:
    async with web() as guard:
        assert (await guard.get("/events/markets/NOPE-USD-PERP")).status == 404


async def test_stream_when_its_market_leaves_the_policy_then_it_goes_on() -> None:
    async with web(limits=StreamLimits(interval_s=NEVER_S)) as guard:
        await guard.run(2, BTC, ETH)
        async with guard.client.get(f"/events/markets/{ETH}") as stream:
            await event(stream)
            guard.driver.engine.reload(guard.policy_without(ETH))
            await guard.show()
            await event(stream)
        assert (await guard.get(f"/markets/{ETH}")).status == 404


async def test_streams_when_there_are_too_many_then_the_next_is_told_so_and_one_that_left_makes_room() -> None:
    async with web(limits=StreamLimits(clients_max=2)) as guard:
        first = await guard.client.get("/events/status")
        async with guard.client.get("/events/status"):
            refused = await guard.get("/events/status")
            first.close()
            while guard.streams.clients == 2:
                await guard.get("/healthz")
            async with guard.client.get("/events/status") as third:
                assert third.status == 200
        assert await clients_left(guard) == 0

    assert refused.status == 503
    assert "2 pages are live, the limit is 2. Reload to refresh." in refused.html


async def test_stream_when_a_client_does_not_read_then_it_is_dropped() -> None:
    limits = StreamLimits(interval_s=0.0, write_timeout_s=0.1, buffer_bytes=1024)
    async with web(limits=limits) as guard:
        await guard.tick()
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, ("127.0.0.1", guard.client.port))
            await loop.sock_sendall(slow, b"GET /events/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while not guard.streams.clients:
                await guard.get("/healthz")
            assert await clients_left(guard) == 0


async def test_streams_when_the_guard_stops_then_they_end_at_once() -> None:
    async with web(limits=StreamLimits(interval_s=NEVER_S)) as guard, guard.client.get("/events/status") as stream:
        await event(stream)
        guard.board.close()
        assert await stream.content.read() == b""
