"""Plays a recording to a running guard over gRPC: as the exchange that publishes, and the engine that liquidates."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

import grpc

from circuit_guard.cli import wire
from circuit_guard.cli.demo_clock import StoryClock
from circuit_guard.cli.demo_score import Score
from circuit_guard.cli.demo_story import Narrator
from circuit_guard.core.inputs import Basis, Check, Observation, PhaseCommand, Reference
from circuit_guard.core.types import SECOND_NS
from circuit_guard.recording.format import Entry, Fault, LabelledCheck
from circuit_guard.recording.replay import RETRY_FOR_S, RETRY_INTERVAL_NS
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

DEADLINE_S = 10.0
ACTOR = "demo exchange"
_RETRIES_MAX = RETRY_FOR_S * SECOND_NS // RETRY_INTERVAL_NS


class _Due(NamedTuple):
    """A denied closure that is asked about again."""

    at_ns: int
    asked: LabelledCheck
    retries: int


class Player:
    """Sends what was recorded when it was recorded, one after the other, and asks again as an engine would."""

    def __init__(self, clock: StoryClock, channel: grpc.aio.Channel, narrator: Narrator, score: Score) -> None:
        self._clock = clock
        self._narrator = narrator
        self._score = score
        self._data = market_data_pb2_grpc.MarketDataServiceStub(channel)
        self._liquidations = liquidation_pb2_grpc.LiquidationGuardServiceStub(channel)
        self._admin = admin_pb2_grpc.AdminServiceStub(channel)
        self._due: deque[_Due] = deque()
        self._marks: dict[str, Decimal | None] = {}
        self._funding_indices: dict[str, Decimal | None] = {}
        """What the exchange published last, trusted or not: what its engine would compute with."""

    async def play(self, entries: Iterable[Entry]) -> None:
        """Play the recording to its end, and the retries after it."""
        for (at_ns, kind), group in groupby(entries, key=lambda entry: (entry.at_ns, type(entry))):
            await self._ask_due(before_ns=at_ns)
            await self._reach(at_ns)
            self._narrator.reach(at_ns)
            await self._send(kind, list(group))
        while self._due:
            await self._ask_again(self._due.popleft())

    async def status(self) -> status_pb2.GuardStatus:
        """Return the state of the guard."""
        response: admin_pb2.GetStatusResponse = await self._admin.GetStatus(
            admin_pb2.GetStatusRequest(), timeout=DEADLINE_S
        )
        return response.status

    async def narrate(self, watching: asyncio.Event) -> None:
        """Have the guard's events told for as long as the guard runs; `watching` is set once none can be missed."""
        stream = self._admin.WatchEvents(admin_pb2.WatchEventsRequest())
        await stream.initial_metadata()
        watching.set()
        async for response in stream:
            self._narrator.event(response.event)

    async def _reach(self, at_ns: int) -> None:
        self._clock.allow(at_ns)
        await asyncio.sleep(self._clock.machine_s_until(at_ns))

    async def _send(self, kind: type, group: list[Entry]) -> None:
        if kind is Reference:
            await self._refer([entry for entry in group if isinstance(entry, Reference)])
        elif kind is Observation:
            await self._observe([entry for entry in group if isinstance(entry, Observation)])
        for entry in group:
            match entry:
                case PhaseCommand():
                    self._narrator.phase(entry)
                    await self._admin.SetPhase(wire.phase(entry, ACTOR), timeout=DEADLINE_S)
                case Fault():
                    self._narrator.fault(entry)
                    self._score.add_fault(entry, halted_before=await self._halted(entry))
                case LabelledCheck():
                    await self._ask(entry, entry.check, retries=0)

    async def _refer(self, references: list[Reference]) -> None:
        request = market_data_pb2.PublishReferencesRequest(references=map(wire.reference, references))
        await self._data.PublishReferences(request, timeout=DEADLINE_S)

    async def _observe(self, observations: list[Observation]) -> None:
        request = market_data_pb2.PublishObservationsRequest(observations=map(wire.observation, observations))
        for observed in observations:
            self._narrator.observation(observed)
            self._marks[observed.market] = observed.mark_price
            self._funding_indices[observed.market] = observed.funding_index
        response: market_data_pb2.PublishObservationsResponse = await self._data.PublishObservations(
            request, timeout=DEADLINE_S
        )
        for observed, result in zip(observations, response.results, strict=True):
            rejected = result.status != market_data_pb2.PUBLISH_STATUS_ACCEPTED
            self._score.add_observation(observed, rejected=rejected)

    async def _halted(self, fault: Fault) -> bool:
        """Tell whether the markets of a fault that begins are denied by their breakers already."""
        markets = [market for market in (await self.status()).markets if market.market in fault.markets]
        return all(market.breaker.state == types_pb2.BREAKER_STATE_OPEN for market in markets)

    async def _ask(self, asked: LabelledCheck, check: Check, retries: int) -> None:
        self._score.add_question(check.market, check.at_ns)
        request = liquidation_pb2.CheckLiquidationRequest(check=wire.check(check))
        response: liquidation_pb2.CheckLiquidationResponse = await self._liquidations.CheckLiquidation(
            request, timeout=DEADLINE_S
        )
        allowed = response.decision.verdict == types_pb2.VERDICT_ALLOW
        if not retries:
            self._narrator.answer(asked, response.decision)
        if allowed or retries == _RETRIES_MAX:
            self._score.add_outcome(asked, allowed=allowed, retries=retries)
        else:
            self._due.append(_Due(check.at_ns + RETRY_INTERVAL_NS, asked, retries + 1))

    async def _ask_due(self, before_ns: int) -> None:
        while self._due and self._due[0].at_ns < before_ns:
            await self._ask_again(self._due.popleft())

    async def _ask_again(self, due: _Due) -> None:
        """Ask once more, as a new question with what is published now."""
        await self._reach(due.at_ns)
        check = due.asked.check
        mark_price = self._marks.get(check.market)
        again = replace(
            check,
            at_ns=due.at_ns,
            request_id=f"{check.request_id}#retry-{due.retries}",
            execution_price=mark_price,
            basis=Basis(mark_price, self._funding_indices.get(check.market)),
        )
        await self._ask(due.asked, again, due.retries)
