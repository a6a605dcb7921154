"""OrderGuardService: may this order enter the book, or stay in it?"""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

from circuit_guard.core.facts import OrderJudged
from circuit_guard.core.inputs import OrdersCheck
from circuit_guard.engine.engine import Engine
from circuit_guard.errors import WireError
from circuit_guard.server.convert import answers, requests
from circuit_guard.server.security.access import Context
from circuit_guard.v1 import order_pb2, order_pb2_grpc


class OrderGuardService(order_pb2_grpc.OrderGuardServiceServicer):
    """Judges orders. Every item of a batch has its own judgement or its own error."""

    def __init__(self, engine: Engine, batch_max: int) -> None:
        self._engine = engine
        self._batch_max = batch_max

    async def CheckOrders(
        self, request: order_pb2.CheckOrdersRequest, context: Context
    ) -> order_pb2.CheckOrdersResponse:
        requests.batch(request.orders, "orders", self._batch_max)
        requests.once((order.order_id for order in request.orders), "", "orders", "order_id")
        response = order_pb2.CheckOrdersResponse()
        orders, places = [], []
        for number, message in enumerate(request.orders):
            result = response.results.add()
            try:
                orders.append(requests.order(message, f"orders[{number}]"))
                places.append(result)
            except WireError as error:
                result.error.CopyFrom(answers.request_error(error))
        await self._engine.room()
        facts = self._engine.decide_orders(OrdersCheck(self._engine.now_ns(), tuple(orders)))
        judged = (fact for fact in facts if isinstance(fact, OrderJudged))
        for result, fact in zip(places, judged, strict=True):
            result.judgement.CopyFrom(answers.judgement(fact))
        return response
