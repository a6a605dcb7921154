"""`/metrics`: what prometheus_client writes, in the format that was asked for."""

from __future__ import annotations

import gzip

import pytest

from tests.driver import BTC, policy_of
from tests.web.harness import web

SERIES = f'circuit_guard_breaker_state{{scope="{BTC}",state="CLOSED"}} 1.0'


@pytest.mark.parametrize(
    ("accept", "content_type", "end"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8", ""),
        (
            "application/openmetrics-text;version=1.0.0",
            "application/openmetrics-text; version=1.0.0;",
            "# EOF",
        ),
    ],
)
async def test_metrics_when_scraped_then_the_format_is_the_one_asked_for(
    accept: str, content_type: str, end: str
) -> None:
    async with web(policy=policy_of(BTC)) as guard:
        await guard.run(40)
        page = await guard.get("/metrics", Accept=accept)

    assert page.status == 200
    assert page.headers["Content-Type"].startswith(content_type)
    assert SERIES in page.html.splitlines()
    assert page.html.rstrip().endswith(end)


async def test_metrics_when_compression_is_accepted_then_they_are_compressed() -> None:
    async with web(policy=policy_of(BTC)) as guard:
        await guard.run(40)
        async with guard.client.get("/metrics", headers={"Accept-Encoding": "gzip"}, auto_decompress=False) as response:
            body = await response.read()

    assert response.headers["Content-Encoding"] == "gzip"
    assert SERIES in gzip.decompress(body).decode().splitlines()


async def test_metrics_when_names_are_given_then_only_those_come() -> None:
    async with web(policy=policy_of(BTC)) as guard:
        await guard.tick()
        page = await guard.get("/metrics?name[]=circuit_guard_ready")

    assert [line for line in page.html.splitlines() if not line.startswith("#")] == ["circuit_guard_ready 0.0"]
