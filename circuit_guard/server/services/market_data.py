"""MarketDataService: what the exchange publishes, and what independent venues say.

A batch is taken in one go: were others to get a turn in between, two batches of one feed could overtake each other.
"""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

from circuit_guard.core.facts import Fact, ObservationJudged, ReferenceJudged
from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.engine.engine import Engine
from circuit_guard.errors import WireError
from circuit_guard.server.convert import answers, requests
from circuit_guard.server.interceptor import Context
from circuit_guard.server.security.access import permit_sources
from circuit_guard.v1 import market_data_pb2, market_data_pb2_grpc


class MarketDataService(market_data_pb2_grpc.MarketDataServiceServicer):
    """Takes market data. Every item of a batch has its own answer."""

    def __init__(self, engine: Engine, batch_max: int) -> None:
        self._engine = engine
        self._batch_max = batch_max

    async def PublishObservations(
        self, request: market_data_pb2.PublishObservationsRequest, context: Context
    ) -> market_data_pb2.PublishObservationsResponse:
        """Take published state, one answer an observation, in order."""
        requests.batch(request.observations, "observations", self._batch_max)
        permit_sources(observation.source for observation in request.observations)
        await self._engine.room()
        happened: list[Fact] = []
        results = [
            self._observe(observation, f"observations[{number}]", happened)
            for number, observation in enumerate(request.observations)
        ]
        await self._engine.settled(happened)
        return market_data_pb2.PublishObservationsResponse(results=results)

    async def PublishReferences(
        self, request: market_data_pb2.PublishReferencesRequest, context: Context
    ) -> market_data_pb2.PublishReferencesResponse:
        """Take independent prices, one answer a reference, in order."""
        requests.batch(request.references, "references", self._batch_max)
        permit_sources(reference.source for reference in request.references)
        await self._engine.room()
        happened: list[Fact] = []
        results = [
            self._refer(reference, f"references[{number}]", happened)
            for number, reference in enumerate(request.references)
        ]
        await self._engine.settled(happened)
        return market_data_pb2.PublishReferencesResponse(results=results)

    def _observe(
        self, message: market_data_pb2.Observation, path: str, happened: list[Fact]
    ) -> market_data_pb2.PublishResult:
        try:
            observation = requests.observation(message, path, self._engine.now_ns())
        except WireError as error:
            return answers.refused(error)
        return self._step(observation, happened)

    def _refer(
        self, message: market_data_pb2.Reference, path: str, happened: list[Fact]
    ) -> market_data_pb2.PublishResult:
        try:
            reference = requests.reference(message, path, self._engine.now_ns())
        except WireError as error:
            return answers.refused(error)
        return self._step(reference, happened)

    def _step(self, item: Observation | Reference, happened: list[Fact]) -> market_data_pb2.PublishResult:
        facts = self._engine.step(item)
        happened += facts
        judged = next(fact for fact in facts if isinstance(fact, ObservationJudged | ReferenceJudged))
        return answers.published(judged)
