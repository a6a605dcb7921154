"""A driven engine with its page, served on a free port of this machine."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Middleware

from circuit_guard.core.inputs import HaltCommand
from circuit_guard.core.policy import Policy
from circuit_guard.runtime.descriptors import DescriptorWatch
from circuit_guard.runtime.status_refresh import StatusRefresh
from circuit_guard.telemetry.logging import LogPipeline
from circuit_guard.telemetry.metrics import Metrics
from circuit_guard.web.board import StreamLimits, Streams
from circuit_guard.web.history import History
from circuit_guard.web.site import Site
from tests.driver import BTC, ETH, START_NS, Driver, policy_of

LISTEN_HOST = "127.0.0.1"


class Page:
    """One answer, read."""

    def __init__(self, response: ClientResponse, text: str) -> None:
        self.status = response.status
        self.headers = response.headers
        self.html = text
        self.text = _text_of(text)

    def __contains__(self, words: str) -> bool:
        return words in self.text


class Web:
    """A driven engine, all that shows it, and a client of its page."""

    def __init__(
        self, policy: Policy | None = None, limits: StreamLimits | None = None, authorizing: tuple[Middleware, ...] = ()
    ) -> None:
        policy = policy or policy_of(BTC, ETH)
        self.history = History(policy.markets)
        self.metrics = Metrics(policy, "1.2.3", START_NS)
        self.driver = Driver(policy, [self.metrics, self.history])
        self.log_pipeline = LogPipeline("error", "json", io.StringIO())
        self.status_refresh = StatusRefresh(
            self.driver.engine, self.metrics, self.log_pipeline, self.history, DescriptorWatch()
        )
        self.board = self.status_refresh.board
        self.site = Site(self.board, self.history, self.metrics.registry, authorizing, limits or StreamLimits())
        self.client: TestClient[Any, Any] = TestClient(TestServer(self.site.application(LISTEN_HOST)))

    @property
    def streams(self) -> Streams:
        """The clients that are connected for live updates."""
        return self.site.streams

    def policy_without(self, market: str) -> Policy:
        """Return a policy with all other markets."""
        return policy_of(*(name for name in self.driver.engine.policy.markets if name != market))

    async def tick(self) -> None:
        """Let time take effect and show what is, as the app does once a second."""
        if self.driver.engine.failure is None:
            self.driver.engine.tick()
        await self.show()

    async def show(self) -> None:
        """Show what is."""
        await self.status_refresh.refresh(None, serving=not self.driver.engine.ready())

    async def run(self, seconds: int, *markets: str) -> None:
        """Let honest data arrive once a second, each followed by a tick."""
        for _ in range(seconds):
            self.driver.run(1, *markets)
            await self.tick()

    def halt(self, *markets: str, actor: str = "alice", reason: str = "looking into it") -> None:
        """Have an operator halt the markets, or everything where none is named."""
        engine = self.driver.engine
        engine.step(HaltCommand(engine.now_ns(), markets, actor, reason))

    async def get(self, path: str, **headers: str) -> Page:
        """Return a page."""
        async with self.client.get(path, headers=headers) as response:
            return Page(response, await response.text())


@asynccontextmanager
async def web(**options: Any) -> AsyncIterator[Web]:
    """Serve a page for as long as the context lasts."""
    served = Web(**options)
    with served.log_pipeline:
        async with served.client:
            yield served


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.parts.append(" " if tag in ("dd", "dt", "td", "th", "li") else "")

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def _text_of(html: str) -> str:
    """Return the text of a page as a person reads it, with single spaces."""
    parser = _Words()
    parser.feed(html)
    return re.sub(r"\s+", " ", "".join(parser.parts))
