"""The floor: a grpc.aio server that parses the same requests and answers as much, and decides nothing.

    python -m benchmarks.load.floor

Prints where it listens.
"""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

import asyncio
import sys
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from circuit_guard.runtime.app import SWITCH_S
from circuit_guard.v1 import liquidation_pb2, liquidation_pb2_grpc, types_pb2

SECONDS_MAX = 7_200
"""It ends by itself, whatever becomes of whoever started it."""


def answer(check: liquidation_pb2.LiquidationCheck) -> liquidation_pb2.LiquidationDecision:
    """Return what an ALLOW of the guard looks like."""
    return liquidation_pb2.LiquidationDecision(
        decision_id="18c1f3e8a9b7c6d5-f4240",
        request_id=check.request_id,
        account_id=check.account_id,
        market=check.market,
        kind=liquidation_pb2.CHECK_KIND_LIQUIDATION,
        verdict=types_pb2.VERDICT_ALLOW,
        shadow_verdict=types_pb2.VERDICT_ALLOW,
        explanation=f"ALLOW {check.market}",
        phase=types_pb2.PHASE_OPEN,
        breaker=types_pb2.BREAKER_STATE_CLOSED,
        policy_revision="0123456789ab",
        decided_at=Timestamp(seconds=1_768_800_000, nanos=123_456_789),
    )


class Floor(liquidation_pb2_grpc.LiquidationGuardServiceServicer):
    """Answers ALLOW to everything."""

    async def CheckLiquidation(
        self, request: liquidation_pb2.CheckLiquidationRequest, context: aio.ServicerContext[Any, Any]
    ) -> liquidation_pb2.CheckLiquidationResponse:
        """Answer one."""
        return liquidation_pb2.CheckLiquidationResponse(decision=answer(request.check))

    async def CheckLiquidations(
        self, request: liquidation_pb2.CheckLiquidationsRequest, context: aio.ServicerContext[Any, Any]
    ) -> liquidation_pb2.CheckLiquidationsResponse:
        """Answer a batch."""
        response = liquidation_pb2.CheckLiquidationsResponse()
        for check in request.checks:
            response.results.append(liquidation_pb2.LiquidationResult(decision=answer(check)))
        return response

    async def CheckLiquidationStream(self, request_iterator: Any, context: aio.ServicerContext[Any, Any]) -> None:
        """Answer one after another."""
        while (request := await context.read()) is not aio.EOF:
            result = liquidation_pb2.LiquidationResult(decision=answer(request.check))
            await context.write(
                liquidation_pb2.CheckLiquidationStreamResponse(request_id=request.check.request_id, result=result)
            )


async def serve() -> None:
    """Answer until the process ends."""
    server = aio.server()
    liquidation_pb2_grpc.add_LiquidationGuardServiceServicer_to_server(Floor(), server)
    print(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", flush=True)
    await server.start()
    await server.wait_for_termination(SECONDS_MAX)


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_S)  # as the guard has it
    asyncio.run(serve())
