"""GuardClient: asks a guard before each forced closure, from threads.

All that it shares with AsyncGuardClient is in `desk`; what differs (channel, awaiting, cancelling, errors of a closed
channel) is all that is left here and in `aio`, so both are written by hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

import grpc
from google.protobuf.message import Message

from circuit_guard.client import failures, wire
from circuit_guard.client.answers import Answer, OrderAnswer
from circuit_guard.client.connection import Connection, Tls
from circuit_guard.client.desk import DEADLINE_S, Asked, Clock, Desk, Observer
from circuit_guard.client.fail_policy import FailOpen
from circuit_guard.client.failures import Failure
from circuit_guard.client.questions import Closure, Order
from circuit_guard.v1 import liquidation_pb2, liquidation_pb2_grpc, order_pb2, order_pb2_grpc

Response = TypeVar("Response", bound=Message)


class GuardClient:
    """A connection to one guard; make one and share it between threads. Use it in `with`, or close it.

    Every question has an answer within its deadline: no answer of the guard is a DENY that says why. Nothing is raised
    but ArgumentError, a ValueError, for what cannot be asked.

    `address` is host:port or unix:path; `deadline_s` more than 0 and at most 30 s. `fail_open` names the markets whose
    closures may go through for a while when the guard is silent; every other market stays closed. `observer` is told
    of each call; `clock` returns monotonic seconds.
    """

    def __init__(
        self,
        address: str,
        *,
        deadline_s: float = DEADLINE_S,
        fail_open: Mapping[str, FailOpen] | None = None,
        tls: Tls | None = None,
        token: str | None = None,
        observer: Observer | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        connection = Connection(address, tls, token)
        self._desk = Desk(connection, deadline_s=deadline_s, fail_open=fail_open, observer=observer, clock=clock)
        self._metadata = connection.metadata()
        self._channel = _channel(connection)
        self._closed = False
        self._liquidations = liquidation_pb2_grpc.LiquidationGuardServiceStub(self._channel)
        self._orders = order_pb2_grpc.OrderGuardServiceStub(self._channel)

    def check(self, closure: Closure, *, deadline_s: float | None = None) -> Answer:
        """Ask about one closure. `deadline_s` in place of the client's own."""
        asked = self._desk.closures((closure,), deadline_s)
        request = liquidation_pb2.CheckLiquidationRequest(check=wire.check(asked.questions[0]))
        response = self._call(self._liquidations.CheckLiquidation, request, asked)
        if isinstance(response, Failure):
            return self._desk.undecided(asked, response)[0]
        return self._desk.decided(asked, response)[0]

    def check_many(self, closures: Sequence[Closure], *, deadline_s: float | None = None) -> tuple[Answer, ...]:
        """Ask about 1 to 1,000 closures in one call. Each has its own answer, in order."""
        asked = self._desk.closures(closures, deadline_s)
        request = liquidation_pb2.CheckLiquidationsRequest(checks=map(wire.check, asked.questions))
        response = self._call(self._liquidations.CheckLiquidations, request, asked)
        if isinstance(response, Failure):
            return self._desk.undecided(asked, response)
        return self._desk.decided_each(asked, response)

    def check_orders(self, orders: Sequence[Order], *, deadline_s: float | None = None) -> tuple[OrderAnswer, ...]:
        """Ask about 1 to 1,000 orders at one instant. Each has its own answer, in order; none ever fails open."""
        asked = self._desk.orders(orders, deadline_s)
        request = order_pb2.CheckOrdersRequest(orders=map(wire.order, asked.questions))
        response = self._call(self._orders.CheckOrders, request, asked)
        if isinstance(response, Failure):
            return self._desk.unjudged(asked, response)
        return self._desk.judged(asked, response)

    def close(self) -> None:
        """End the connection. What is being asked, and what is asked later, is denied."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(
        self, method: Callable[..., Response], request: Message, asked: Asked[Closure] | Asked[Order]
    ) -> Response | Failure:
        if self._closed:
            return failures.closed(self._desk.address)
        try:
            return method(request, timeout=asked.deadline_s, metadata=self._metadata, wait_for_ready=False)
        except ValueError:  # what gRPC raises where the channel was closed meanwhile
            return failures.closed(self._desk.address)
        except grpc.RpcError as error:
            if self._closed:
                return failures.closed(self._desk.address)
            return failures.of_call(error, self._desk.address, asked.deadline_s)


def _channel(connection: Connection) -> grpc.Channel:
    if connection.tls is None:
        return grpc.insecure_channel(connection.address, connection.options())
    return grpc.secure_channel(connection.address, connection.tls.credentials(), connection.options())
