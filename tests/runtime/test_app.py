"""The whole process: it starts or says why not, serves, reloads, and ends when told."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from circuit_guard import __version__
from circuit_guard.config.settings import Settings, load_settings
from circuit_guard.core.inputs import HaltCommand, Tick
from circuit_guard.engine.engine import EngineFailed
from circuit_guard.errors import PolicyError
from circuit_guard.runtime.app import App, running_app, serve
from circuit_guard.v1 import admin_pb2, admin_pb2_grpc

POLICY = """
[global_breaker]
latched_markets_min = 1
[classes.default]
required = false
[markets.BTC-USD-PERP]
"""
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
PROGRAM = """
import sys
from pathlib import Path
from circuit_guard.runtime.app import serve
from circuit_guard.config.settings import load_settings
sys.exit(serve(load_settings(Path(sys.argv[1]), {})))
"""


def write_settings(folder: Path, policy: str = POLICY, grpc: str = "127.0.0.1:0", http: str = "127.0.0.1:0") -> Path:
    (folder / "policy.toml").write_text(policy)
    path = folder / "settings.toml"
    path.write_text(
        f'grpc = {{ listen = "{grpc}", drain_grace_s = 5 }}\n'
        f'http = {{ listen = "{http}" }}\n'
        f'policy = {{ path = "{folder / "policy.toml"}" }}\n'
        "engine = { tick_interval_ms = 10 }\n"
    )
    return path


def settings_of(folder: Path, **lines: str) -> Settings:
    return load_settings(write_settings(folder, **lines), {})


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with running_app(settings_of(tmp_path)) as running:
        yield running


async def health_of(address: str, until: int) -> list[int]:
    """Return the health states that the guard went through until the one that is waited for."""
    states = []
    async with aio.insecure_channel(address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=10)
        async for answer in watch:
            states.append(answer.status)
            if answer.status == until:
                break
    return states


def read(address: str, path: str) -> str:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def scrape(address: str) -> dict[str, float]:
    text = read(address, "/metrics")
    samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {series: float(value) for series, _, value in samples}


async def scrape_until(address: str, series: str, value: float) -> dict[str, float]:
    while (samples := await asyncio.to_thread(scrape, address))[series] != value:
        continue
    return samples


# Running


async def test_app_when_it_runs_then_it_answers_grpc_and_is_scraped(app: App) -> None:
    await health_of(app.grpc_address, SERVING)

    samples = await scrape_until(app.http_address, "circuit_guard_ready", 1)

    assert samples[f'circuit_guard_build_info{{version="{__version__}"}}'] == 1
    assert samples['circuit_guard_phase{market="BTC-USD-PERP",phase="RECOVERING"}'] == 1
    assert samples["process_open_fds"] > 0


async def test_app_when_a_required_market_is_cold_then_it_is_not_serving_and_still_answers(tmp_path: Path) -> None:
    policy = POLICY.replace("required = false", "required = true")
    async with running_app(settings_of(tmp_path, policy=policy)) as app:
        assert await health_of(app.grpc_address, NOT_SERVING) == [NOT_SERVING]
        async with aio.insecure_channel(app.grpc_address) as channel:
            answer = await admin_pb2_grpc.AdminServiceStub(channel).GetStatus(admin_pb2.GetStatusRequest())

    assert "BTC-USD-PERP" in str(answer)


async def test_app_when_the_engine_fails_then_it_reports_not_serving_and_stays(app: App) -> None:
    await health_of(app.grpc_address, SERVING)
    with pytest.raises(EngineFailed):
        app.engine.step(Tick(0))

    await health_of(app.grpc_address, NOT_SERVING)
    await scrape_until(app.http_address, "circuit_guard_ready", 0)


async def test_app_when_the_state_cannot_be_shown_then_that_is_counted_and_it_serves_on(app: App) -> None:
    await health_of(app.grpc_address, SERVING)
    before = await asyncio.to_thread(scrape, app.http_address)
    app.engine.state.markets["BTC-USD-PERP"].trusted.mark_price = "poisoned"  # type: ignore[assignment]

    name = "circuit_guard_state_refresh_failures_total"
    while (await asyncio.to_thread(scrape, app.http_address))[name] == before[name]:
        continue

    assert await health_of(app.grpc_address, SERVING) == [SERVING]


async def test_app_when_a_market_left_the_policy_while_it_was_down_then_it_starts_again(tmp_path: Path) -> None:
    both = POLICY + "[markets.ETH-USD-PERP]\n"
    journal = f'journal = {{ directory = "{tmp_path / "state"}" }}\n'
    for policy in (both, POLICY, both):
        path = write_settings(tmp_path, policy=policy)
        path.write_text(path.read_text() + journal)
        async with running_app(load_settings(path, {})) as app:
            await health_of(app.grpc_address, SERVING)
            assert app.engine.failure is None
            samples = await asyncio.to_thread(scrape, app.http_address)
            assert ('circuit_guard_market_warm{market="ETH-USD-PERP"}' in samples) is (policy == both)


async def test_app_when_it_runs_then_people_read_its_status_page(app: App) -> None:
    page = await asyncio.to_thread(read, app.http_address, "/")

    assert "1 of 1 market denies closures" in page
    assert "/markets/BTC-USD-PERP" in page


@pytest.mark.parametrize("listen", ["http", "metrics"])
async def test_app_when_no_tick_has_come_then_who_looks_sees_what_is_now(tmp_path: Path, listen: str) -> None:
    path = write_settings(tmp_path)
    seldom = path.read_text().replace("tick_interval_ms = 10", "tick_interval_ms = 60000")
    path.write_text(seldom.replace("http = { listen", 'http = { metrics_listen = "127.0.0.1:0", listen'))
    async with running_app(load_settings(path, {})) as app:
        address = app.http_address if listen == "http" else app.metrics_address
        halted = 'circuit_guard_halted{scope="BTC-USD-PERP"}'
        before = await asyncio.to_thread(scrape, address)
        app.engine.step(HaltCommand(app.engine.now_ns(), ("BTC-USD-PERP",), "alice", "looking into it"))
        after = await scrape_until(address, halted, 1)
        page = await asyncio.to_thread(read, app.http_address, "/markets/BTC-USD-PERP")

    assert before[halted] == 0
    held = {series for series in after if series.startswith("circuit_guard_hold_since_timestamp_seconds{")}
    assert [series for series in held if 'lifted_by="OPERATOR",reason="operator_halt"' in series]
    assert "looking into it" in page


# Reload


async def test_reload_when_the_file_has_changed_then_the_new_policy_is_in_force(app: App, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(POLICY + "[markets.ETH-USD-PERP]\n")

    await app.reload_policy()

    assert set(app.engine.policy.markets) == {"BTC-USD-PERP", "ETH-USD-PERP"}
    samples = await asyncio.to_thread(scrape, app.http_address)
    assert samples['circuit_guard_policy_reloads_total{result="success"}'] == 1
    assert samples[f'circuit_guard_policy_info{{revision="{app.engine.policy.revision}"}}'] == 1


@pytest.mark.parametrize("content", ["[markets.BTC-USD-PERP]\ntypo = 1\n", "not toml", None])
async def test_reload_when_the_file_is_bad_then_the_old_policy_stays(
    app: App, tmp_path: Path, content: str | None
) -> None:
    policy = app.engine.policy
    if content is None:
        (tmp_path / "policy.toml").unlink()
    else:
        (tmp_path / "policy.toml").write_text(content)

    with pytest.raises(PolicyError, match=r"policy\.toml"):
        await app.reload_policy()

    assert app.engine.policy is policy
    samples = await asyncio.to_thread(scrape, app.http_address)
    assert samples["circuit_guard_policy_last_reload_successful"] == 0
    assert samples['circuit_guard_policy_reloads_total{result="failure"}'] == 1
    [shown] = app.engine.status().refused_files
    assert shown.startswith(f"{tmp_path / 'policy.toml'} is refused (")
    assert shown.endswith(f"). Policy {policy.revision} stays.")
    assert app.engine.ready() == []

    (tmp_path / "policy.toml").write_text(POLICY)
    await app.reload_policy()
    assert app.engine.status().refused_files == ()


# Not starting


@pytest.mark.parametrize("section", ["grpc", "http"])
def test_start_when_a_port_is_in_use_then_one_line_says_so(
    tmp_path: Path, section: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code = serve(settings_of(tmp_path, **{section: address}))

    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("circuit-guard: ")]
    assert code == 1
    assert [line.partition(", ")[0] for line in told] == [f"circuit-guard: {section}.listen was {address}"]


def test_start_when_the_policy_is_bad_then_every_violation_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = serve(settings_of(tmp_path, policy=POLICY + "typo = 1\nwarm_observations = 0\n"))

    told = capsys.readouterr().err
    assert code == 2
    assert told.startswith(f"circuit-guard: {tmp_path / 'policy.toml'}: the policy has 2 problems\n")
    assert "markets.BTC-USD-PERP.typo" in told
    assert "Traceback" not in told


# Ending


class Process:
    """A guard in a process of its own."""

    def __init__(self, settings: Path) -> None:
        self.popen = subprocess.Popen([sys.executable, "-c", PROGRAM, str(settings)], stderr=subprocess.PIPE, text=True)
        self.lines: list[dict[str, Any]] = []

    def read_until(self, event: str) -> dict[str, Any]:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self.lines.append(json.loads(line))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        pytest.fail(f"the process ended without {event}: {self.lines}")

    def rest(self) -> list[str]:
        _, told = self.popen.communicate(timeout=30)
        assert "Traceback" not in told, told
        return [json.loads(line)["event"] for line in told.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_when_a_client_watches_then_the_guard_drains_at_once_and_ends_with_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = Process(write_settings(tmp_path))
    address = process.read_until("started")["grpc"]
    process.read_until("serving")

    with grpc.insecure_channel(address) as channel:
        healths = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert next(healths).status == SERVING
        watch = admin_pb2_grpc.AdminServiceStub(channel).WatchEvents(admin_pb2.WatchEventsRequest(), timeout=20)
        watch.initial_metadata()
        process.popen.send_signal(number)
        assert next(healths).status == NOT_SERVING
        assert list(watch) == [], "the stream ends in good order"

    assert process.rest() == ["draining", "stopped"]
    assert process.popen.returncode == 0


@pytest.mark.system
def test_signal_when_it_comes_twice_then_the_process_ends_at_once(tmp_path: Path) -> None:
    process = Process(write_settings(tmp_path))
    address = process.read_until("started")["grpc"]
    process.read_until("serving")

    with grpc.insecure_channel(address) as channel:
        healths = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert next(healths).status == SERVING
        process.popen.send_signal(signal.SIGTERM)
        process.read_until("draining")
        process.popen.send_signal(signal.SIGTERM)

        assert process.popen.wait(timeout=4) == 128 + signal.SIGTERM, "the open stream would hold it for 5 s"
    process.popen.communicate()
