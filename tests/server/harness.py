"""A real server on loopback over a real engine whose clock is moved by hand, and valid messages to start from."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from circuit_guard.config.security import LimitSettings, SecuritySettings
from circuit_guard.config.settings import GrpcSettings, JournalSettings, Settings
from circuit_guard.core.facts import Fact
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import SECOND_NS
from circuit_guard.journal.reader import JournalReader
from circuit_guard.server.build import GuardServer, create_server
from circuit_guard.telemetry.admission import AdmissionMetrics
from circuit_guard.telemetry.families import Families
from circuit_guard.v1 import (
    admin_pb2_grpc,
    liquidation_pb2,
    liquidation_pb2_grpc,
    maintenance_pb2_grpc,
    market_data_pb2,
    market_data_pb2_grpc,
    order_pb2,
    order_pb2_grpc,
)
from tests.driver import BTC, Driver

BATCH_MAX = 100
NEXT_SEQUENCE = 41
"""The feed sequence after the 40 observations of a warm market."""


class Harness:
    """The server, its engine under a driver, and a stub a service."""

    def __init__(
        self,
        driver: Driver,
        listen: str = "127.0.0.1:0",
        directory: Path | None = None,
        security: SecuritySettings | None = None,
        per_client: LimitSettings | None = None,
        **limits: int,
    ) -> None:
        self.driver = driver
        self.engine = driver.engine
        self.directory = directory
        self.policy_problem: Exception | None = None
        grpc_settings = GrpcSettings(listen=listen, batch_max=BATCH_MAX, **limits)  # type: ignore[arg-type]
        journal = JournalSettings() if directory is None else JournalSettings(directory=directory)
        settings = Settings(
            grpc=grpc_settings,
            journal=journal,
            security=security or SecuritySettings(),
            limits=per_client or LimitSettings(),
        )
        self.registry = CollectorRegistry()
        metrics = AdmissionMetrics(Families(self.registry))
        self.server: GuardServer = create_server(self.engine, settings, self.reload_policy, metrics)
        self.channel = aio.insecure_channel(self.server.address)
        self.liquidations = liquidation_pb2_grpc.LiquidationGuardServiceStub(self.channel)
        self.orders = order_pb2_grpc.OrderGuardServiceStub(self.channel)
        self.market_data = market_data_pb2_grpc.MarketDataServiceStub(self.channel)
        self.admin = admin_pb2_grpc.AdminServiceStub(self.channel)
        self.maintenance = maintenance_pb2_grpc.MaintenanceServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)

    async def reload_policy(self) -> Sequence[Fact]:
        """Put the policy the test has chosen into force, or fail as the test has chosen."""
        if self.policy_problem is not None:
            raise self.policy_problem
        return self.engine.reload(self.next_policy())

    def next_policy(self) -> Any:
        """Return the policy that a reload finds: the one in force unless a test replaces this."""
        return self.engine.policy

    def state(self) -> GuardState:
        """Return a copy of all that the guard remembers, to compare with later."""
        return copy.deepcopy(self.engine.state)

    def journal_reader(self) -> JournalReader:
        """Return a reader of the journal, where the guard keeps one."""
        assert self.directory is not None
        return JournalReader(self.directory)

    async def serving(self, service: str = "") -> int:
        """Return the health of a service."""
        response = await self.health.Check(health_pb2.HealthCheckRequest(service=service))
        return int(response.status)

    async def decide(self, check: liquidation_pb2.LiquidationCheck) -> liquidation_pb2.LiquidationDecision:
        """Ask about one closure."""
        response: liquidation_pb2.CheckLiquidationResponse = await self.liquidations.CheckLiquidation(
            liquidation_pb2.CheckLiquidationRequest(check=check)
        )
        return response.decision

    async def observe(self, *observations: market_data_pb2.Observation) -> list[market_data_pb2.PublishResult]:
        """Publish observations."""
        request = market_data_pb2.PublishObservationsRequest(observations=observations)
        return list((await self.market_data.PublishObservations(request)).results)

    async def refer(self, *references: market_data_pb2.Reference) -> list[market_data_pb2.PublishResult]:
        """Publish references."""
        request = market_data_pb2.PublishReferencesRequest(references=references)
        return list((await self.market_data.PublishReferences(request)).results)

    async def judge(self, *orders: order_pb2.Order) -> list[order_pb2.OrderResult]:
        """Ask about orders."""
        return list((await self.orders.CheckOrders(order_pb2.CheckOrdersRequest(orders=orders))).results)

    def time(self, ahead_s: float = 0) -> Timestamp:
        """Return the engine's time, or one that far ahead of it."""
        at_ns = self.engine.now_ns() + int(ahead_s * SECOND_NS)
        return Timestamp(seconds=at_ns // SECOND_NS, nanos=at_ns % SECOND_NS)

    def observation(self, **changes: Any) -> market_data_pb2.Observation:
        """Return the next honest observation of a warm market, changed; a change to None leaves the field out."""
        fields: dict[str, Any] = {
            "market": BTC,
            "source": "exchange",
            "epoch": 1,
            "feed_sequence": NEXT_SEQUENCE,
            "event_time": self.time(),
            "mark_price": "92600",
            "index_price": "92600",
            "funding_index": "20511",
        }
        return market_data_pb2.Observation(**(fields | changes))

    def reference(self, **changes: Any) -> market_data_pb2.Reference:
        """Return an honest reference, changed; a change to None leaves the field out."""
        fields: dict[str, Any] = {"market": BTC, "source": "binance", "event_time": self.time(), "price": "92600"}
        return market_data_pb2.Reference(**(fields | changes))


def check(**changes: Any) -> liquidation_pb2.LiquidationCheck:
    """Return a genuine question about a warm market, changed."""
    fields: dict[str, Any] = {
        "request_id": "request-1",
        "account_id": "account-1",
        "market": BTC,
        "size": "-0.5",
        "execution_price": "92600",
        "basis": basis(),
        "account": account(),
    }
    return liquidation_pb2.LiquidationCheck(**(fields | changes))


def basis(**changes: Any) -> liquidation_pb2.Basis:
    """Return the values of an honest caller, changed."""
    return liquidation_pb2.Basis(**({"mark_price": "92600", "funding_index": "20511"} | changes))


def account(*positions: liquidation_pb2.Position, **changes: Any) -> liquidation_pb2.Account:
    """Return an account with one position, or with these, changed."""
    return liquidation_pb2.Account(**({"collateral": "1000", "positions": positions or (position(),)} | changes))


def position(**changes: Any) -> liquidation_pb2.Position:
    """Return a long position, changed."""
    fields: dict[str, Any] = {
        "market": BTC,
        "size": "0.5",
        "entry_price": "94000",
        "cached_funding_index": "20500",
        "maintenance_margin_fraction": "0.01",
    }
    return liquidation_pb2.Position(**(fields | changes))


def order(**changes: Any) -> order_pb2.Order:
    """Return a new buy order at the reference price, changed."""
    fields: dict[str, Any] = {
        "order_id": "order-1",
        "market": BTC,
        "side": order_pb2.ORDER_SIDE_BUY,
        "action": order_pb2.ORDER_ACTION_NEW,
        "price": "92600",
        "post_only": True,
    }
    return order_pb2.Order(**(fields | changes))


async def refused(call: Any) -> tuple[grpc.StatusCode, ErrorInfo, str]:
    """Await a call that must fail, and return its code, its ErrorInfo and its message."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    error, info = caught.value, ErrorInfo()
    status = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    assert (status.code, status.message) == (error.code().value[0], error.details())
    assert status.details[0].Unpack(info)
    assert info.domain == "circuit_guard"
    return error.code(), info, status.message


async def no_reload() -> Sequence[Fact]:
    """Reload nothing."""
    return ()
