"""Guards that know who asks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.driver import BTC, ETH, Driver, policy_of
from tests.security.identities import SECURITY, Start
from tests.server.harness import Harness


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Return a way to start servers; all of them are drained at the end."""
    starting = Start()
    yield starting
    await starting.end()


@pytest_asyncio.fixture
async def guard(start: Start) -> Harness:
    """Return a guard with two warm markets that knows one identity a role by its token."""
    driver = Driver(policy_of(BTC, ETH))
    driver.run(40, BTC, ETH)
    return await start(driver, security=SECURITY)
