"""MarketDataService: what the exchange publishes, and what independent venues say.

A batch is taken in one go: were others to get a turn in between, two batches of one feed could overtake each other.
"""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from circuit_guard.core.facts import Fact, ObservationJudged, ReferenceJudged
from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.engine.engine import Engine
from circuit_guard.errors import WireError
from circuit_guard.server.convert import answers, requests
from circuit_guard.server.security.access import Context, permit_sources
from circuit_guard.v1 import market_data_pb2, market_data_pb2_grpc

Message = TypeVar("Message", market_data_pb2.Observation, market_data_pb2.Reference)


class MarketDataService(market_data_pb2_grpc.MarketDataServiceServicer):
    """Takes market data. Every item of a batch has its own answer."""

    def __init__(self, engine: Engine, batch_max: int) -> None:
        self._engine = engine
        self._batch_max = batch_max

    async def PublishObservations(
        self, request: market_data_pb2.PublishObservationsRequest, context: Context
    ) -> market_data_pb2.PublishObservationsResponse:
        results = await self._publish(request.observations, "observations", requests.observation)
        return market_data_pb2.PublishObservationsResponse(results=results)

    async def PublishReferences(
        self, request: market_data_pb2.PublishReferencesRequest, context: Context
    ) -> market_data_pb2.PublishReferencesResponse:
        results = await self._publish(request.references, "references", requests.reference)
        return market_data_pb2.PublishReferencesResponse(results=results)

    async def _publish(
        self, messages: Sequence[Message], name: str, read: Callable[[Message, str, int], Observation | Reference]
    ) -> list[market_data_pb2.PublishResult]:
        """Take what was published, one answer per item, in order; `read` makes an input of a message."""
        requests.batch(messages, name, self._batch_max)
        permit_sources(message.source for message in messages)
        await self._engine.room()
        happened: list[Fact] = []
        results = []
        for number, message in enumerate(messages):
            try:
                item = read(message, f"{name}[{number}]", self._engine.now_ns())
            except WireError as error:
                results.append(answers.refused(error))
                continue
            facts = self._engine.step(item)
            happened += facts
            judged = next(fact for fact in facts if isinstance(fact, ObservationJudged | ReferenceJudged))
            results.append(answers.published(judged))
        await self._engine.settled(happened)
        return results
