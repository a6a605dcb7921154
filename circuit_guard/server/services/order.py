"""OrderGuardService: may this order enter the book, or stay in it?"""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

from circuit_guard.core.facts import OrderJudged
from circuit_guard.core.inputs import Order, OrdersCheck
from circuit_guard.engine.engine import Engine
from circuit_guard.errors import WireError
from circuit_guard.server.convert import answers, requests
from circuit_guard.server.interceptor import Context
from circuit_guard.v1 import order_pb2, order_pb2_grpc


class OrderGuardService(order_pb2_grpc.OrderGuardServiceServicer):
    """Judges orders. Every item of a batch has its own judgement or its own error."""

    def __init__(self, engine: Engine, batch_max: int) -> None:
        self._engine = engine
        self._batch_max = batch_max

    async def CheckOrders(
        self, request: order_pb2.CheckOrdersRequest, context: Context
    ) -> order_pb2.CheckOrdersResponse:
        """Judge a batch at one instant, one result an order, in order."""
        requests.batch(request.orders, "orders", self._batch_max)
        requests.once((order.order_id for order in request.orders), "", "orders", "order_id")
        read = [_read(order, f"orders[{number}]") for number, order in enumerate(request.orders)]
        orders = tuple(order for order in read if isinstance(order, Order))
        await self._engine.room()
        facts = self._engine.decide_orders(OrdersCheck(self._engine.now_ns(), orders))
        judged = iter([fact for fact in facts if isinstance(fact, OrderJudged)])
        results = [_refused(item) if isinstance(item, WireError) else _judged(next(judged)) for item in read]
        return order_pb2.CheckOrdersResponse(results=results)


def _read(message: order_pb2.Order, path: str) -> Order | WireError:
    try:
        return requests.order(message, path)
    except WireError as error:
        return error


def _judged(fact: OrderJudged) -> order_pb2.OrderResult:
    return order_pb2.OrderResult(judgement=answers.judgement(fact))


def _refused(error: WireError) -> order_pb2.OrderResult:
    return order_pb2.OrderResult(error=answers.request_error(error, answers.MALFORMED_REQUEST))
