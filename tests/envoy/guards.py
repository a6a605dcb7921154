"""A guard with warm markets in this process that Envoy may ask."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from envoy.service.auth.v3.external_auth_pb2_grpc import AuthorizationStub
from grpc import aio

from circuit_guard.config.envoy import ExtAuthzSettings
from circuit_guard.config.settings import GrpcSettings, Settings
from circuit_guard.server.build import create_server
from tests.driver import BTC, ETH, Driver, policy_of
from tests.envoy.requests import HEADERS, request
from tests.server.harness import no_reload

ENABLED = ExtAuthzSettings(enabled=True)


class Asked:
    """A guard and the questions to it, as Envoy asks them."""

    def __init__(self, driver: Driver, channel: aio.Channel) -> None:
        self.driver = driver
        self.channel = channel
        self._stub = AuthorizationStub(channel)

    async def check(self, headers: dict[str, str] | None = None, body: object = b"", **options: Any) -> CheckResponse:
        """Ask about a request with honest headers, or with these."""
        return await self._stub.Check(request(HEADERS if headers is None else headers, body), **options)


@asynccontextmanager
async def asked(ext_authz: ExtAuthzSettings = ENABLED, guard: str = "", **tables: Any) -> AsyncIterator[Asked]:
    """Run a guard with two warm markets; `guard` are lines of the policy's `[guard]`."""
    driver = Driver(policy_of(BTC, ETH, guard=guard))
    driver.run(40, BTC, ETH)
    settings = Settings(grpc=GrpcSettings(listen="127.0.0.1:0"), ext_authz=ext_authz, **tables)
    server = create_server(driver.engine, settings, no_reload)
    await server.start()
    try:
        async with aio.insecure_channel(server.address) as channel:
            yield Asked(driver, channel)
    finally:
        await server.drain(grace_s=0)


def headers_of(options: Any) -> dict[str, str]:
    """Return the headers that Envoy is told to set."""
    return {option.header.key: option.header.value for option in options}


def denied(response: CheckResponse) -> tuple[int, dict[str, str], str]:
    """Return status, headers and body of a denial."""
    assert response.status.code == 7
    found = response.denied_response
    return found.status.code, headers_of(found.headers), found.body


def result(response: CheckResponse) -> dict[str, Any]:
    """Return the body of a denial to a plain HTTP request."""
    status, headers, body = denied(response)
    assert (status, headers["content-type"]) == (403, "application/json")
    found: dict[str, Any] = json.loads(body)
    return found
