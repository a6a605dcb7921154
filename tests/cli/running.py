"""A real guard on free ports, in a thread of its own, and the command line that talks to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from typer.testing import CliRunner, Result

from circuit_guard.cli.main import command_line
from circuit_guard.config.settings import Settings, load_settings
from circuit_guard.runtime.app import App, running_app
from circuit_guard.v1 import market_data_pb2, market_data_pb2_grpc

BTC = "BTC-USD-PERP"
ETH = "ETH-USD-PERP"
PAXG = "PAXG-USD-PERP"
PRICE = "92610.0"
INDEX = "20511.934207715"

STATE = "state"

POLICY = f"""
[classes.default]
[markets.{BTC}]
[markets.{ETH}]
[markets.{PAXG}]
"""


class Guard:
    """A guard that runs, and short ways to publish to it."""

    def __init__(self, app: App, folder: Path) -> None:
        self.address = app.grpc_address
        self.policy_path = folder / "policy.toml"
        self.state_directory = folder / STATE
        self._sequence = 0

    def observe(self, market: str = BTC, funding_index: str = INDEX, mark_price: str = PRICE, times: int = 1) -> None:
        """Publish observations, each with three references beside it."""
        with grpc.insecure_channel(self.address) as channel:
            stub = market_data_pb2_grpc.MarketDataServiceStub(channel)
            for _ in range(times):
                self._sequence += 1
                references = [
                    market_data_pb2.Reference(market=market, source=source, event_time=now(), price=PRICE)
                    for source in ("binance", "okx", "bybit")
                ]
                stub.PublishReferences(market_data_pb2.PublishReferencesRequest(references=references), timeout=5)
                observation = market_data_pb2.Observation(
                    market=market,
                    source="exchange",
                    epoch=1,
                    feed_sequence=self._sequence,
                    event_time=now(),
                    mark_price=mark_price,
                    index_price=PRICE,
                    funding_index=funding_index,
                )
                request = market_data_pb2.PublishObservationsRequest(observations=[observation])
                stub.PublishObservations(request, timeout=5)

    def latch(self, market: str = BTC) -> None:
        """Warm a market up, then have its funding index reset to zero."""
        self.observe(market, times=3)
        self.observe(market, funding_index="0")

    def run(self, *arguments: str, env: dict[str, str] | None = None) -> Result:
        """Run a command against this guard."""
        return run(*arguments, "--address", self.address, env=env)


def now() -> Timestamp:
    stamp = Timestamp()
    stamp.GetCurrentTime()
    return stamp


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    """Run a command in this process, as in a pipe. An error that no command explains fails the test."""
    return CliRunner().invoke(command_line(), list(arguments), env=env, catch_exceptions=False)


def settings_in(
    folder: Path, policy: str = POLICY, *, recorded: bool = False, settings: dict[str, str] | None = None
) -> Settings:
    """Return settings for free ports, with the policy written into the folder, and the journal if there is one."""
    (folder / "policy.toml").write_text(policy)
    environ = {
        "CIRCUIT_GUARD_GRPC__LISTEN": "127.0.0.1:0",
        "CIRCUIT_GUARD_HTTP__LISTEN": "127.0.0.1:0",
        "CIRCUIT_GUARD_POLICY__PATH": str(folder / "policy.toml"),
        "CIRCUIT_GUARD_LOG__LEVEL": "error",
    }
    if recorded:
        environ["CIRCUIT_GUARD_JOURNAL__DIRECTORY"] = str(folder / STATE)
    return load_settings(None, environ | (settings or {}))


@contextmanager
def running(
    folder: Path, policy: str = POLICY, *, recorded: bool = False, settings: dict[str, str] | None = None
) -> Iterator[Guard]:
    """Run a guard for as long as the context lasts, with a journal in the folder's `state` if it is to be recorded."""
    context = running_app(settings_in(folder, policy, recorded=recorded, settings=settings))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        app = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result(30)
        try:
            yield Guard(app, folder)
        finally:
            asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
