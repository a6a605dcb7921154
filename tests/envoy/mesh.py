"""The committed example with real processes: a guard, Envoy in front of a liquidation service, all on free ports."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc

from circuit_guard.v1 import market_data_pb2, market_data_pb2_grpc
from tests.cli.running import INDEX, POLICY, PRICE, now
from tests.driver import BTC

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "envoy"
ENVOY_TIMEOUT_S = 0.25
"""What the example gives the guard."""
START_S = 30

NO_JSON_BODY, JSON_BODY = "# with_request_body:", "with_request_body:"


def example(name: str) -> ModuleType:
    """Return a program of the example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_port() -> int:
    """Return a port that nobody uses, out of the range that the kernel gives to others meanwhile."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def listening(port: int, process: subprocess.Popen[str]) -> None:
    """Return once somebody listens on a port; fail where the process that should has ended."""
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        assert process.poll() is None, f"it ended with {process.returncode}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on {port} after {START_S} s")


class GuardProcess:
    """`circuit-guard serve` on the example's settings, with variables of the environment over them."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        (folder / "policy.toml").write_text(POLICY)
        self.port = free_port()
        self._environ = {
            "CIRCUIT_GUARD_GRPC__LISTEN": f"127.0.0.1:{self.port}",
            "CIRCUIT_GUARD_HTTP__LISTEN": "127.0.0.1:0",
            "CIRCUIT_GUARD_POLICY__PATH": str(folder / "policy.toml"),
            "CIRCUIT_GUARD_LOG__LEVEL": "error",
            **environ,
        }
        self._popen = self._started()

    def kill(self) -> None:
        """Send SIGKILL, and return when it is gone."""
        self._popen.kill()
        self._popen.wait()

    def restart(self) -> None:
        """Start it again after it was killed, where it listened before. It has forgotten everything."""
        self._popen = self._started()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Have it hang for as long as the context lasts: connections stay, and nothing is answered."""
        self._popen.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._popen.send_signal(signal.SIGCONT)

    def warm(self) -> None:
        """Publish honest data until closures are judged by them."""
        epoch = time.time_ns()
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            stub: Any = market_data_pb2_grpc.MarketDataServiceStub(channel)
            for sequence in range(1, 5):
                stamp = now()
                references = [
                    market_data_pb2.Reference(market=BTC, source=source, event_time=stamp, price=PRICE)
                    for source in ("binance", "okx", "bybit")
                ]
                stub.PublishReferences(market_data_pb2.PublishReferencesRequest(references=references), timeout=10)
                values = {"mark_price": PRICE, "index_price": PRICE, "funding_index": INDEX}
                observation = market_data_pb2.Observation(
                    market=BTC, source="exchange", epoch=epoch, feed_sequence=sequence, event_time=stamp, **values
                )
                request = market_data_pb2.PublishObservationsRequest(observations=[observation])
                stub.PublishObservations(request, timeout=10)

    def _started(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "circuit_guard", "serve", "--settings", str(EXAMPLE / "settings.toml")]
        environ = {**os.environ, **self._environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, cwd=ROOT, env=environ, text=True)
        listening(self.port, process)
        return process


@contextmanager
def guard_process(folder: Path, **environ: str) -> Iterator[GuardProcess]:
    """Run a guard for as long as the context lasts."""
    guard = GuardProcess(folder, environ)
    try:
        yield guard
    finally:
        guard.kill()


@contextmanager
def envoy(folder: Path, guard_port: int, service_port: int, *, json_body: bool = False) -> Iterator[int]:
    """Run Envoy on the committed configuration, with other ports, and give the one it listens on."""
    port = free_port()
    text = (EXAMPLE / "envoy.yaml").read_text()
    for committed, chosen in (("10000", port), ("50051", guard_port), ("50061", service_port)):
        assert text.count(f"port_value: {committed}}}") == 1
        text = text.replace(f"port_value: {committed}}}", f"port_value: {chosen}}}")
    if json_body:
        assert text.count(NO_JSON_BODY) == 1
        text = text.replace(NO_JSON_BODY, JSON_BODY)
    config = folder / f"envoy-{port}.yaml"
    config.write_text(text)
    binary = Path(sys.executable).with_name("envoy")
    command: list[str | Path] = [binary, "-c", config, "--disable-hot-restart", "--concurrency", "1", "-l", "error"]
    process = subprocess.Popen(command, text=True)
    try:
        listening(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


def unique() -> str:
    """Return an id that no request had before."""
    return str(uuid.uuid4())
