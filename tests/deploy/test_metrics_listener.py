"""The listener for a Prometheus elsewhere: the metrics, and nothing else of what the HTTP port has."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from circuit_guard.config.settings import Settings, load_settings
from circuit_guard.runtime.app import App, running_app, serve
from tests.cli.running import POLICY

ANY_PORT = "127.0.0.1:0"


def settings_of(folder: Path, **listen: str) -> Settings:
    (folder / "policy.toml").write_text(POLICY)
    environ = {"GRPC__LISTEN": ANY_PORT, "HTTP__LISTEN": ANY_PORT, "POLICY__PATH": str(folder / "policy.toml")} | listen
    return load_settings(None, {f"CIRCUIT_GUARD_{name}": value for name, value in environ.items()})


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with running_app(settings_of(tmp_path, HTTP__METRICS_LISTEN=ANY_PORT)) as running:
        yield running


async def get(address: str, path: str, method: str = "GET") -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.request(method, f"http://{address}{path}") as answer:
        return answer.status, await answer.text()


async def test_metrics_when_scraped_from_elsewhere_then_they_are_those_of_the_http_port(app: App) -> None:
    status, apart = await get(app.metrics_address, "/metrics")
    _, beside_the_page = await get(app.http_address, "/metrics")

    assert status == 200
    assert [line for line in apart.splitlines() if line.startswith("# TYPE circuit_guard")] == [
        line for line in beside_the_page.splitlines() if line.startswith("# TYPE circuit_guard")
    ]
    assert 'circuit_guard_market_warm{market="BTC-USD-PERP"} 0.0' in apart


@pytest.mark.parametrize("path", ["/", "/api/status", "/decisions", "/markets/BTC-USD-PERP", "/events/status"])
async def test_page_when_asked_for_from_elsewhere_then_it_is_not_there(app: App, path: str) -> None:
    assert (await get(app.metrics_address, path))[0] == 404


async def test_metrics_when_somebody_writes_then_that_is_refused(app: App) -> None:
    assert (await get(app.metrics_address, "/metrics", "POST"))[0] == 405


async def test_listener_when_none_is_set_then_there_is_none(tmp_path: Path) -> None:
    async with running_app(settings_of(tmp_path)) as app:
        assert app.metrics_address == ""
        assert (await get(app.http_address, "/metrics"))[0] == 200


def test_listener_when_its_address_is_taken_then_one_line_names_the_setting(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code = serve(settings_of(tmp_path, HTTP__METRICS_LISTEN=address))

    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("circuit-guard: ")]
    assert code == 1
    assert [line.partition(", ")[0] for line in told] == [f"circuit-guard: http.metrics_listen was {address}"]


@pytest.mark.parametrize("listen", ["0.0.0.0:9465", "[::]:9465", ANY_PORT])
def test_setting_when_the_address_is_any_then_it_is_taken(listen: str) -> None:
    assert load_settings(None, {"CIRCUIT_GUARD_HTTP__METRICS_LISTEN": listen}).http.metrics_listen == listen
