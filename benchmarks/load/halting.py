"""How soon a corrupt observation denies: checks of a market go on, one is published, the first denial is awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from grpc import aio

from benchmarks.load import market
from benchmarks.load.feeder import OBSERVE
from benchmarks.load.generator import DEADLINE_S, UNARY
from circuit_guard.v1 import liquidation_pb2, market_data_pb2, types_pb2

LEAD_S = 0.05
"""Checks go on for so long before the observation comes."""


@dataclass(frozen=True)
class Halted:
    """What came of one corrupt observation."""

    answered_ms: float
    """From when it was sent until its publisher had the answer."""
    denied_ms: float
    """From when it was sent until the first denial was there."""
    allowed_meanwhile: int
    """Checks sent after it, before its publisher had the answer, that were allowed: they were decided before it."""
    allowed_after: int
    """Checks sent after its publisher had the answer that were allowed. There must be none."""


@dataclass(frozen=True)
class _Asked:
    sent: float
    answered: float
    allowed: bool


async def halt(address: str, markets: Sequence[str]) -> list[Halted]:
    """Publish a funding index of zero in these markets, one after another, and return what came of each."""
    async with aio.insecure_channel(address) as publishing, aio.insecure_channel(address) as asking:
        return [await _halt(publishing, asking, name) for name in markets]


async def _halt(publishing: aio.Channel, asking: aio.Channel, name: str) -> Halted:
    asked: list[_Asked] = []
    checks = asyncio.create_task(_ask_until_denied(asking, name, asked))
    await asyncio.sleep(LEAD_S)
    corrupt = market.observations([name], time.time_ns(), Decimal(0))
    sent = time.perf_counter()
    observe: aio.UnaryUnaryMultiCallable[bytes, bytes] = publishing.unary_unary(OBSERVE)
    answer = await observe(corrupt, timeout=DEADLINE_S)
    answered = time.perf_counter()
    [result] = market_data_pb2.PublishObservationsResponse.FromString(answer).results
    if result.status != market_data_pb2.PUBLISH_STATUS_REJECTED:
        raise RuntimeError(f"a funding index of zero was not rejected: {result}")
    denied = await asyncio.wait_for(checks, DEADLINE_S)
    return Halted(
        answered_ms=(answered - sent) * 1e3,
        denied_ms=(denied.answered - sent) * 1e3,
        allowed_meanwhile=sum(one.allowed and sent <= one.sent < answered for one in asked),
        allowed_after=sum(one.allowed and one.sent >= answered for one in asked),
    )


async def _ask_until_denied(channel: aio.Channel, name: str, asked: list[_Asked]) -> _Asked:
    """Ask one check after another, and return the first that was denied."""
    questions = market.Questions([name], 1)
    method: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(UNARY)
    while True:
        sent = time.perf_counter()
        answer = await method(next(questions), timeout=DEADLINE_S)
        decision = liquidation_pb2.CheckLiquidationResponse.FromString(answer).decision
        one = _Asked(sent, time.perf_counter(), decision.verdict == types_pb2.VERDICT_ALLOW)
        asked.append(one)
        if not one.allowed:
            return one
