"""`/metrics`: the registry in the format that the scraper asks for, as prometheus_client writes it.

That takes long with a thousand markets, so one thread does it, one scrape after the other, beside the event loop.
"""

from __future__ import annotations

import asyncio
import gzip
from concurrent.futures import ThreadPoolExecutor

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

COMPRESSION_LEVEL = 1
"""The fastest: a scrape comes every few seconds and stays on this machine."""


class Exposition:
    """The handler of `/metrics`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")

    async def scrape(self, request: web.Request) -> web.Response:
        """Return all series, or those that `name[]` names."""
        names = request.query.getall("name[]", [])
        compressed = "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "")
        work = (request.headers.get(hdrs.ACCEPT, ""), names, compressed)
        body, content_type = await asyncio.get_running_loop().run_in_executor(self._writer, self._written, *work)
        headers = {hdrs.CONTENT_TYPE: content_type, hdrs.VARY: "Accept, Accept-Encoding"}
        if compressed:
            headers[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(body=body, headers=headers)

    def close(self) -> None:
        """End the thread."""
        self._writer.shutdown()

    def _written(self, accepted: str, names: list[str], compressed: bool) -> tuple[bytes, str]:  # noqa: FBT001  # by position
        encode, content_type = choose_encoder(accepted)
        text = encode(self._registry.restricted_registry(names) if names else self._registry)
        return gzip.compress(text, COMPRESSION_LEVEL) if compressed else text, content_type
