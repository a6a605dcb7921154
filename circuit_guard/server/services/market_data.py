"""MarketDataService: what the exchange publishes, and what independent venues say.

A batch is taken in one go: were others to get a turn in between, two batches of one feed could overtake each other.
"""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TypeVar

from circuit_guard.core.facts import Fact, ObservationJudged, ReferenceJudged
from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.engine.engine import Engine
from circuit_guard.errors import WireError
from circuit_guard.server.convert import answers, requests
from circuit_guard.server.security.access import Context, permit_sources
from circuit_guard.v1 import market_data_pb2, market_data_pb2_grpc

Message = TypeVar("Message", market_data_pb2.Observation, market_data_pb2.Reference)
Item = TypeVar("Item", Observation, Reference)


class MarketDataService(market_data_pb2_grpc.MarketDataServiceServicer):
    """Takes market data. Every item of a batch has its own answer."""

    def __init__(self, engine: Engine, batch_max: int) -> None:
        self._engine = engine
        self._batch_max = batch_max

    async def PublishObservations(self, request: market_data_pb2.PublishObservationsRequest, context: Context) -> bytes:
        return await self._publish(request.observations, "observations", requests.observation)

    async def PublishReferences(self, request: market_data_pb2.PublishReferencesRequest, context: Context) -> bytes:
        return await self._publish(request.references, "references", requests.reference)

    async def _publish(
        self, messages: Sequence[Message], name: str, read: Callable[[Message, str, int], Item]
    ) -> bytes:
        """Take what was published, and return the response: one result per item, in order.

        `read` makes an input of a message. All that came together has the same time.
        """
        requests.batch(messages, name, self._batch_max)
        permit_sources(message.source for message in messages)
        await self._engine.room()
        at_ns, items, results = self._engine.now_ns(), list[Item](), list[bytes]()
        for number, message in enumerate(messages):
            try:
                items.append(read(message, f"{name}[{number}]", at_ns))
                results.append(b"")
            except WireError as error:
                results.append(answers.publish_result(answers.refused(error)))
        happened = self._engine.publish(items)
        judgements = map(_judged, happened)
        whole = b"".join([result or answers.published(next(judgements)) for result in results])
        await self._engine.settled(list(chain.from_iterable(happened)))
        return whole


def _judged(facts: Sequence[Fact]) -> ObservationJudged | ReferenceJudged:
    """Return what was made of an item: nearly always its only fact."""
    if len(facts) == 1 and isinstance(fact := facts[0], ObservationJudged | ReferenceJudged):
        return fact
    return next(fact for fact in facts if isinstance(fact, ObservationJudged | ReferenceJudged))
