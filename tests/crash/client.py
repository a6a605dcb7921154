"""Short ways to talk to a guard over gRPC, and what a status says in terms of what must survive."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from circuit_guard.core.types import GLOBAL_SCOPE
from circuit_guard.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    liquidation_pb2,
    liquidation_pb2_grpc,
    market_data_pb2,
    market_data_pb2_grpc,
    status_pb2,
    types_pb2,
)

PRICE = "92610.0"
INDEX = "20511.934207715"
VENUES = ("binance", "bybit", "okx")
RPC_TIMEOUT_S = 20
STARTING = [(f"grpc.{which}_reconnect_backoff_ms", 100) for which in ("initial", "min", "max")]
"""Options of a channel to a guard that is just starting: grpc itself waits for up to two minutes to try again."""

Promise = tuple[str, str]
"""What a guard answers for: `halt`, `latch`, `phase` or `policy`, and the scope."""


class Client:
    """The three services that the tests use, behind one channel."""

    def __init__(self, channel: aio.Channel) -> None:
        self.channel = channel
        self.admin: Any = admin_pb2_grpc.AdminServiceStub(channel)
        self.market_data: Any = market_data_pb2_grpc.MarketDataServiceStub(channel)
        self.liquidation: Any = liquidation_pb2_grpc.LiquidationGuardServiceStub(channel)

    async def status(self) -> status_pb2.GuardStatus:
        """Return the status, waiting for the guard to start."""
        request = admin_pb2.GetStatusRequest()
        response = await self.admin.GetStatus(request, timeout=RPC_TIMEOUT_S, wait_for_ready=True)
        status: status_pb2.GuardStatus = response.status
        return status

    async def refer(self, markets: Sequence[str]) -> None:
        """Publish an honest price of every venue for the markets."""
        references = [
            market_data_pb2.Reference(market=market, source=venue, event_time=now(), price=PRICE)
            for market in markets
            for venue in VENUES
        ]
        request = market_data_pb2.PublishReferencesRequest(references=references)
        await self.market_data.PublishReferences(request, timeout=RPC_TIMEOUT_S)

    async def observe(self, *observations: market_data_pb2.Observation) -> list[market_data_pb2.PublishResult]:
        """Publish observations and return the answers."""
        request = market_data_pb2.PublishObservationsRequest(observations=observations)
        response = await self.market_data.PublishObservations(request, timeout=RPC_TIMEOUT_S)
        return list(response.results)

    async def check(self, market: str, request_id: str) -> liquidation_pb2.LiquidationDecision:
        """Ask about a closure computed with the honest values."""
        check = liquidation_pb2.LiquidationCheck(
            request_id=request_id,
            account_id="account-1",
            market=market,
            size="-0.5",
            execution_price=PRICE,
            basis=liquidation_pb2.Basis(mark_price=PRICE, funding_index=INDEX),
        )
        request = liquidation_pb2.CheckLiquidationRequest(check=check)
        response = await self.liquidation.CheckLiquidation(request, timeout=RPC_TIMEOUT_S)
        decision: liquidation_pb2.LiquidationDecision = response.decision
        return decision

    async def halt(self, scope: str, reason: str) -> None:
        """Halt a scope."""
        request = admin_pb2.HaltRequest(scopes=[scope], actor="operator", reason=reason)
        await self.admin.Halt(request, timeout=RPC_TIMEOUT_S)


def observation(market: str, sequence: int, **values: str) -> market_data_pb2.Observation:
    """Return an observation of now with honest values, or with those given."""
    fields = {"mark_price": PRICE, "index_price": PRICE, "funding_index": INDEX} | values
    return market_data_pb2.Observation(
        market=market, source="exchange", epoch=1, feed_sequence=sequence, event_time=now(), **fields
    )


def now() -> Timestamp:
    """Return the time by the clock that the guard has too."""
    stamp = Timestamp()
    stamp.FromNanoseconds(time.time_ns())
    return stamp


def latched(result: market_data_pb2.PublishResult) -> bool:
    """Return whether the answer to an observation says that it latched its market."""
    return any(found.severity == types_pb2.SEVERITY_LATCH and not found.shadow for found in result.findings)


def shown(status: status_pb2.GuardStatus) -> dict[Promise, str]:
    """Return what a status says of everything that must survive."""
    found = {
        ("policy", ""): status.policy_revision,
        ("halt", GLOBAL_SCOPE): status.global_halt.reason,
        ("latch", GLOBAL_SCOPE): str(status.global_breaker.latched),
    }
    for market in status.markets:
        found["halt", market.market] = market.halt.reason
        found["latch", market.market] = str(market.breaker.latched)
        found["phase", market.market] = types_pb2.Phase.Name(market.commanded_phase)
    return found
