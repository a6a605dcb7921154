"""The middleware of the HTTP port: who may read, by the same tokens."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from circuit_guard.config.security import Role, SecuritySettings
from circuit_guard.config.settings import HttpSettings, Settings
from circuit_guard.server.security.http import viewers_only
from tests.security.identities import SECURITY, TOKENS

Ask = Callable[..., Any]


@pytest_asyncio.fixture
async def ask() -> AsyncIterator[Ask]:
    """Return a way to ask a page behind the middleware, and what it answers."""
    clients: list[Any] = []

    async def answered(
        path: str, header: str | None = None, security: SecuritySettings = SECURITY, listen: str = "127.0.0.1:0"
    ) -> tuple[int, str]:
        settings = Settings.model_construct(security=security, http=HttpSettings.model_construct(listen=listen))
        app = web.Application(middlewares=[viewers_only(settings)])
        for known in ("/", "/metrics", "/healthz"):
            app.router.add_get(known, page)
        client: Any = TestClient(TestServer(app))
        clients.append(client)
        await client.start_server()
        response = await client.get(path, headers={} if header is None else {"Authorization": header})
        return response.status, await response.text()

    yield answered
    for client in clients:
        await client.close()


async def page(request: web.Request) -> web.Response:
    return web.Response(text="what is halted")


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
@pytest.mark.parametrize("header", [lambda token: f"Bearer {token}", basic], ids=["bearer", "basic"])
async def test_page_when_a_viewer_asks_then_it_is_shown(ask: Ask, role: Role, header: Callable[[str], str]) -> None:
    assert await ask("/", header(TOKENS[role])) == (200, "what is halted")


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer cg_guessed", basic("cg_guessed"), basic(""), "Basic %%%", "Basic /w==", "Digest x"],
)
async def test_page_when_the_caller_is_not_known_then_it_is_401_and_browsers_ask_for_a_password(
    ask: Ask, header: str | None
) -> None:
    status, text = await ask("/", header)

    assert status == 401
    assert text.startswith("a token of a viewer is needed")


@pytest.mark.parametrize("role", [Role.LIQUIDATOR, Role.PUBLISHER])
async def test_page_when_the_role_is_another_then_it_is_403(ask: Ask, role: Role) -> None:
    status, text = await ask("/", f"Bearer {TOKENS[role]}")

    assert status == 403
    assert TOKENS[role] not in text


async def test_metrics_when_only_this_machine_reaches_them_then_they_need_no_token(ask: Ask) -> None:
    assert (await ask("/metrics"))[0] == 200
    assert (await ask("/healthz", listen="0.0.0.0:0"))[0] == 200
    assert (await ask("/metrics", listen="0.0.0.0:0"))[0] == 401
    assert (await ask("/metrics", f"Bearer {TOKENS[Role.VIEWER]}", listen="0.0.0.0:0"))[0] == 200


async def test_page_when_there_are_no_identities_then_it_is_for_everybody(ask: Ask) -> None:
    assert (await ask("/", security=SecuritySettings()))[0] == 200
