"""A guard whose markets are warm and OPEN, behind a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.driver import BTC, ETH, Driver, policy_of
from tests.recording.recorded_guard import RecordedGuard
from tests.server.harness import Harness

Start = Callable[..., Awaitable[Harness]]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Return a way to start servers; all of them are drained at the end."""
    started: list[Harness] = []

    async def start_one(
        driver: Driver, listen: str = "127.0.0.1:0", directory: Path | None = None, **limits: Any
    ) -> Harness:
        harness = Harness(driver, listen, directory, **limits)
        started.append(harness)
        await harness.server.start()
        return harness

    yield start_one
    for harness in started:
        await harness.channel.close()
        await harness.server.drain(grace_s=0)


@pytest_asyncio.fixture
async def guard(start: Start) -> Harness:
    """Return a guard with two warm markets in phase OPEN."""
    driver = Driver(policy_of(BTC, ETH))
    driver.run(40, BTC, ETH)
    return await start(driver)


@pytest_asyncio.fixture
async def recorded(start: Start, tmp_path: Path) -> AsyncIterator[Harness]:
    """Return a guard with two warm markets in phase OPEN that keeps a journal."""
    async with RecordedGuard(tmp_path, policy_of(BTC, ETH)) as driver:
        driver.run(40, BTC, ETH)
        yield await start(driver, directory=tmp_path)
