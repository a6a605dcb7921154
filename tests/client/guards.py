"""Guards that answer, guards that do not, and what comes back from things that are no guard."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import grpc

from circuit_guard.client import Basis, Closure, Order, OrderAction, Outcome, Side
from circuit_guard.client.testing import FakeGuard
from circuit_guard.v1 import liquidation_pb2, order_pb2, types_pb2

BTC = "BTC-USD-PERP"
ETH = "ETH-USD-PERP"
PATIENT_S = 10.0
"""The deadline of questions that are answered: a busy machine must not fail a test."""
DEADLINE_S = 0.2
"""The deadline of questions that are not."""
SLOW_S = 5.0
"""How long a slow guard takes: a client that waits for it is far over its deadline, also on a busy machine."""

Answering = Callable[[str, bytes, grpc.ServicerContext], bytes]


def closure(**changes: Any) -> Closure:
    """Return a closure to ask about, changed."""
    fields: dict[str, Any] = {
        "market": BTC,
        "account_id": "account-1",
        "size": Decimal("-0.5"),
        "basis": Basis(mark_price=Decimal("92610.0"), funding_index=Decimal("20511.934207715")),
        "execution_price": Decimal("92610.0"),
    }
    return Closure(**(fields | changes))


def order(**changes: Any) -> Order:
    """Return an order to ask about, changed."""
    fields: dict[str, Any] = {
        "order_id": "order-1",
        "market": BTC,
        "side": Side.BUY,
        "action": OrderAction.NEW,
        "price": Decimal("92600"),
    }
    return Order(**(fields | changes))


@contextmanager
def raw_guard(answering: Answering) -> Iterator[str]:
    """Run a server that answers every method as the test chooses, in bytes, and give its address."""

    class Anything(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            method = handler_call_details.method
            return grpc.unary_unary_rpc_method_handler(lambda request, context: answering(method, request, context))

    server = grpc.server(ThreadPoolExecutor(2), handlers=[Anything()], options=[("grpc.so_reuseport", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def never_started() -> Iterator[str]:
    """Give an address at which nobody listens, and nobody else will meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def killed() -> Iterator[str]:
    """Give the address of a guard that has been killed."""
    with FakeGuard() as guard:
        guard.allow()
        guard.kill()
        yield guard.address


@contextmanager
def hanging() -> Iterator[str]:
    """Give the address of a listener that accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def slow() -> Iterator[str]:
    """Give the address of a guard that would allow, too late."""
    with FakeGuard() as guard:
        guard.allow()
        guard.delay(SLOW_S)
        yield guard.address


@contextmanager
def garbage() -> Iterator[str]:
    """Give the address of something that answers bytes which are no message."""
    with raw_guard(lambda method, request, context: b"\xff\xff\xff no protobuf") as address:
        yield address


@contextmanager
def unknown_verdict() -> Iterator[str]:
    """Give the address of a guard whose verdict is none that this client knows."""
    with raw_guard(lambda method, request, context: verdict_of(method, request, 3)) as address:
        yield address


@contextmanager
def no_verdict() -> Iterator[str]:
    """Give the address of a guard that leaves everything at its default, as an empty message does."""
    with raw_guard(lambda method, request, context: b"") as address:
        yield address


def verdict_of(method: str, request: bytes, verdict: int) -> bytes:
    """Return the answer to any request with that verdict, good or not, as bytes."""
    chosen: Any = verdict
    if method.endswith("/CheckLiquidation"):
        check = liquidation_pb2.CheckLiquidationRequest.FromString(request).check
        return liquidation_pb2.CheckLiquidationResponse(decision=decision(check, verdict=chosen)).SerializeToString()
    if method.endswith("/CheckLiquidationStream"):
        check = liquidation_pb2.CheckLiquidationStreamRequest.FromString(request).check
        return streamed(check, decision=decision(check, verdict=chosen)).SerializeToString()
    if method.endswith("/CheckLiquidations"):
        checks = liquidation_pb2.CheckLiquidationsRequest.FromString(request).checks
        results = [liquidation_pb2.LiquidationResult(decision=decision(check, verdict=chosen)) for check in checks]
        return liquidation_pb2.CheckLiquidationsResponse(results=results).SerializeToString()
    orders = order_pb2.CheckOrdersRequest.FromString(request).orders
    judgements = [order_pb2.OrderJudgement(order_id=o.order_id, market=o.market, verdict=chosen) for o in orders]
    judged = [order_pb2.OrderResult(judgement=judgement) for judgement in judgements]
    return order_pb2.CheckOrdersResponse(results=judged).SerializeToString()


def streamed(check: liquidation_pb2.LiquidationCheck, **result: Any) -> liquidation_pb2.CheckLiquidationStreamResponse:
    """Return the response of a stream to a check: a decision, an error, or neither."""
    found = liquidation_pb2.LiquidationResult(**result)
    return liquidation_pb2.CheckLiquidationStreamResponse(request_id=check.request_id, result=found)


def decision(check: liquidation_pb2.LiquidationCheck, **changes: Any) -> liquidation_pb2.LiquidationDecision:
    """Return the decision that allows what was asked, changed."""
    fields: dict[str, Any] = {
        "request_id": check.request_id,
        "account_id": check.account_id,
        "market": check.market,
        "verdict": types_pb2.VERDICT_ALLOW,
    }
    return liquidation_pb2.LiquidationDecision(**(fields | changes))


@dataclass(frozen=True)
class Death:
    """A way for a guard to give no answer: how to get one, and what a client must say of it."""

    run: Callable[[], AbstractContextManager[str]]
    outcome: Outcome
    words: str


DEATHS = {
    "never started": Death(never_started, Outcome.UNAVAILABLE, "no guard answers at {address}"),
    "killed": Death(killed, Outcome.UNAVAILABLE, "no guard answers at {address}"),
    "hanging": Death(hanging, Outcome.DEADLINE, "the guard at {address} did not answer within 0.2 s"),
    "slow": Death(slow, Outcome.DEADLINE, "the guard at {address} did not answer within 0.2 s"),
    "garbage": Death(garbage, Outcome.ERROR, "{address}"),
    "unknown verdict": Death(unknown_verdict, Outcome.ERROR, "its verdict was 3, expected 1 (ALLOW) or 2 (DENY)"),
    "no verdict": Death(no_verdict, Outcome.ERROR, "the response from {address} is not an answer: "),
}
