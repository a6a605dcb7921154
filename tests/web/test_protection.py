"""What every request passes and every answer carries: nobody but a person on this machine reads the page."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web as aiohttp_web
from aiohttp.test_utils import make_mocked_request
from aiohttp.typedefs import Handler

from circuit_guard.web.protection import REQUESTS_MAX, Bounded, is_known
from tests.driver import BTC
from tests.web.harness import web

PATHS = ("/", f"/markets/{BTC}", "/decisions", "/api/status", "/metrics", "/healthz", "/static/app.css", "/nothing")


@pytest.mark.parametrize("path", PATHS)
async def test_answer_when_given_then_it_lets_a_browser_load_nothing_from_elsewhere(path: str) -> None:
    async with web() as guard:
        page = await guard.get(path)

    policy = dict(part.split(maxsplit=1) for part in page.headers["Content-Security-Policy"].split("; "))
    assert policy.pop("default-src") == "'none'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert {policy[kind] for kind in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Server"] == "circuit-guard", "and no versions of libraries"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/", "/metrics", "/api/status", "/nothing"])
async def test_request_when_it_could_change_something_then_it_is_refused(method: str, path: str) -> None:
    async with web() as guard, guard.client.request(method, path) as response:
        text = await response.text()

    assert response.status == 405
    assert response.headers["Allow"] == "GET,HEAD"
    assert f"The method was {method}, expected GET or HEAD: this page only reads." in text


@pytest.mark.parametrize("path", PATHS[:-1])
async def test_head_when_asked_then_it_has_the_headers_and_no_body(path: str) -> None:
    async with web() as guard, guard.client.head(path) as response:
        assert response.status == 200
        assert await response.read() == b""


@pytest.mark.parametrize(
    ("given", "listen", "known"),
    [
        ("127.0.0.1:9464", "127.0.0.1", True),
        ("127.8.0.1", "127.0.0.1", True),
        ("localhost:8080", "127.0.0.1", True),
        ("LOCALHOST", "127.0.0.1", True),
        ("[::1]:9464", "127.0.0.1", True),
        ("10.1.2.3:9464", "10.1.2.3", True),
        ("10.1.2.3:9464", "0.0.0.0", True),  # noqa: S104  # an address cannot be pointed elsewhere, a name can
        ("rebound.example:9464", "0.0.0.0", False),  # noqa: S104
        ("10.1.2.3:9464", "127.0.0.1", False),
        ("rebound.example:9464", "127.0.0.1", False),
        ("localhost.rebound.example", "127.0.0.1", False),
        ("127.0.0.1.rebound.example", "127.0.0.1", False),
        ("", "127.0.0.1", False),
        ("[", "127.0.0.1", False),
    ],
)
def test_host_when_it_could_have_been_pointed_here_then_it_is_not_known(given: str, listen: str, known: bool) -> None:
    assert is_known(given, listen) is known


@pytest.mark.parametrize("path", ["/", "/metrics", "/api/status"])
async def test_request_when_its_host_is_a_name_of_somebody_else_then_it_is_misdirected(path: str) -> None:
    async with web() as guard:
        page = await guard.get(path, Host="rebound.example:9464")

    assert page.status == 421
    assert "The Host was 'rebound.example:9464', expected localhost, a loopback address or 127.0.0.1" in page


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("cross-site", "no-cors", 403),
        ("same-site", "cors", 403),
        ("cross-site", "navigate", 200),
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
    ],
)
async def test_request_when_another_sites_page_sends_it_then_it_is_refused(site: str, mode: str, status: int) -> None:
    async with web() as guard:
        path = "/events/status" if status == 403 else "/"
        page = await guard.get(path, **{"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode})

    assert page.status == status


async def test_requests_when_too_many_run_then_further_ones_are_told_to_come_again() -> None:
    bounded, release = Bounded(requests_max=2), asyncio.Event()

    async def slow(_request: aiohttp_web.Request) -> aiohttp_web.StreamResponse:
        await release.wait()
        return aiohttp_web.Response()

    request = make_mocked_request("GET", "/")
    running = [asyncio.ensure_future(bounded.middleware(request, slow)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(aiohttp_web.HTTPServiceUnavailable) as refused:
        await bounded.middleware(request, slow)
    assert refused.value.text == "2 requests are running, and the limit is 2. Try again."
    release.set()
    await asyncio.gather(*running)

    assert (await bounded.middleware(request, slow)).status == 200
    assert REQUESTS_MAX == 32


async def test_handler_when_it_fails_then_people_are_told_where_to_look(caplog: pytest.LogCaptureFixture) -> None:
    async with web() as guard:
        await guard.tick()
        guard.board.view.status.markets[0].headroom["staleness"] = "poisoned"  # type: ignore[union-attr, assignment]
        page = await guard.get(f"/markets/{guard.board.view.status.markets[0].market}")  # type: ignore[union-attr]

    assert page.status == 500
    assert "Checks are still judged: run circuit-guard status." in page


async def test_site_when_given_a_middleware_that_authorizes_then_it_sees_every_handler() -> None:
    seen = []

    @aiohttp_web.middleware
    async def viewers_only(request: aiohttp_web.Request, handler: Handler) -> aiohttp_web.StreamResponse:
        seen.append(request.path)
        if "Authorization" not in request.headers:
            raise aiohttp_web.HTTPUnauthorized(text="A bearer token of a viewer was not given.")
        return await handler(request)

    async with web(authorizing=(viewers_only,)) as guard:
        refused = [(await guard.get(path)).status for path in (*PATHS, "/events/status")]
        allowed = await guard.get("/", Authorization="Bearer token")

    assert set(refused) == {401}
    assert seen == [*PATHS, "/events/status", "/"]
    assert allowed.status == 200


async def test_answer_when_nothing_is_there_then_a_sentence_says_so_in_the_form_that_was_asked() -> None:
    async with web() as guard:
        page, api = await guard.get("/nothing"), await guard.get("/api/nothing")

    assert (page.status, api.status) == (404, 404)
    assert "There is nothing at '/nothing'." in page
    assert api.html == '{"error": "There is nothing at \'/api/nothing\'."}'
