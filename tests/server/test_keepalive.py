"""Clients that ping to keep their connection, as many are set up, keep it; those that ping without measure do not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc
import pytest

from circuit_guard.client.connection import OPTIONS
from circuit_guard.server import transport
from tests.driver import BTC, Driver, policy_of
from tests.server.harness import Harness

INTERVAL_S = 1
Start = Callable[..., Awaitable[Harness]]


def pinging(address: str, every_ms: int) -> tuple[grpc.Channel, list[str]]:
    """Return a channel that pings so often, and the states that it goes through."""
    options = [
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.keepalive_time_ms", every_ms),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    channel, states = grpc.insecure_channel(address, options), list[str]()
    channel.subscribe(lambda state: states.append(state.name), try_to_connect=True)
    return channel, states


async def lasts(states: list[str], seconds: float) -> bool:
    """Return whether a connection stands, and was never lost, for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ready = states.index("READY") if "READY" in states else len(states)
        if states[ready + 1 :]:
            return False
        await asyncio.sleep(0.05)
    return states[-1:] == ["READY"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a second in place of the 5 that are permitted, so that five pings do not take half a minute."""
    monkeypatch.setattr(transport, "PING_INTERVAL_MIN_S", INTERVAL_S)


@pytest.mark.parametrize("every_ms", [1_100, 1_500, 2_000])
async def test_client_when_it_pings_no_more_often_than_permitted_then_it_keeps_its_connection(
    start: Start, every_ms: int
) -> None:
    guard = await start(Driver(policy_of(BTC)), "127.0.0.1:0")
    channel, states = pinging(guard.server.address, every_ms)

    assert await lasts(states, 5 * every_ms / 1_000 + 1), states
    channel.close()


async def test_client_when_it_pings_more_often_than_permitted_then_it_is_cut_off(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "PING_INTERVAL_MIN_S", 30)
    guard = await start(Driver(policy_of(BTC)), "127.0.0.1:0")
    channel, states = pinging(guard.server.address, 1_100)

    assert not await lasts(states, 8), states
    channel.close()


def test_options_when_a_client_of_ours_is_made_then_it_pings_less_often_than_the_guard_permits() -> None:
    assert int(str(dict(OPTIONS)["grpc.keepalive_time_ms"])) >= 5_000
