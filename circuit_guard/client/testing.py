"""A guard for the tests of code that asks one: a real gRPC server in this process that answers as it is told.

    with FakeGuard() as guard, GuardClient(guard.address) as client:
        guard.allow()
        ...
        guard.deny("breaker_open", market="BTC-USD-PERP")
        ...
        guard.kill()

It judges nothing and remembers no request_id: what a policy would decide only the real guard can say.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

import grpc

from circuit_guard.client import wire
from circuit_guard.client.answers import LiftedBy
from circuit_guard.client.connection import UNIX_PREFIX
from circuit_guard.client.questions import Closure, Order
from circuit_guard.v1 import liquidation_pb2, liquidation_pb2_grpc, order_pb2, order_pb2_grpc, types_pb2

WORKERS = 32


@dataclass(frozen=True, slots=True)
class _Denial:
    reason: str
    sentence: str
    lifted_by: LiftedBy
    ask_again_after: timedelta | None

    def finding(self) -> types_pb2.Finding:
        return types_pb2.Finding(
            reason=self.reason,
            rule="fake",
            severity=types_pb2.SEVERITY_DENY,
            sentence=self.sentence,
            lifted_by=wire.LIFTS[self.lifted_by],
            ask_again_after=self.ask_again_after,
        )


_UNTOLD = _Denial("warming", "this fake guard was not told to allow anything", LiftedBy.EVIDENCE, timedelta(seconds=1))


class FakeGuard(liquidation_pb2_grpc.LiquidationGuardServiceServicer, order_pb2_grpc.OrderGuardServiceServicer):
    """Answers from a thread pool of its own, so that tests with and without an event loop can use it. Use it in `with`.

    It denies everything until it is told to allow, as a real guard does that has seen no data. `closures` and `orders`
    are what it was asked, in order of arrival; `tokens` the `authorization` header of each call, or None.
    """

    def __init__(self, address: str = "127.0.0.1:0") -> None:
        self.closures: list[Closure] = []
        self.orders: list[Order] = []
        self.tokens: list[str | None] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Condition()
        self._default: _Denial | None = _UNTOLD
        self._markets: dict[str, _Denial | None] = {}
        self._failure: tuple[grpc.StatusCode, str] | None = None
        self._delay_s: float | None = 0.0
        self._waiting: set[threading.Event] = set()
        self._server: grpc.Server | None = None
        self.address = self._serve(address)

    def allow(self, market: str | None = None) -> None:
        """Allow everything from now on, or everything in one market."""
        self._tell(market, None)

    def deny(
        self,
        reason: str = "breaker_open",
        *,
        market: str | None = None,
        sentence: str = "a test told this fake guard to deny",
        lifted_by: LiftedBy = LiftedBy.FRESH_DATA,
        ask_again_after: timedelta | None = timedelta(seconds=1),
    ) -> None:
        """Deny everything from now on, or everything in one market, for one reason."""
        self._tell(market, _Denial(reason, sentence, lifted_by, ask_again_after))

    def fail(self, code: grpc.StatusCode, details: str = "a test told this fake guard to fail") -> None:
        """End every call with that status, until the guard is told to allow or deny."""
        self._failure = (code, details)

    def delay(self, seconds: float) -> None:
        """Answer each call no sooner than this long after it arrived; 0 is at once. Calls that hang are released."""
        self._delay_s = seconds
        with self._lock:
            waiting, self._waiting = self._waiting, set()
        for call in waiting:
            call.set()

    def hang(self) -> None:
        """Take calls and answer none, until `delay` or `kill`."""
        self._delay_s = None

    def wait_until_asked(self, calls: int = 1, timeout_s: float = 10.0) -> None:
        """Wait until this many calls have arrived in all. Raise TimeoutError if they do not."""
        with self._lock:
            if not self._lock.wait_for(lambda: len(self.tokens) >= calls, timeout_s):
                raise TimeoutError(f"{len(self.tokens)} calls arrived within {timeout_s:g} s, expected {calls}")

    def kill(self) -> None:
        """Stop at once: calls that run break off, and nothing listens at the address until `restart`."""
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None

    def restart(self) -> None:
        """Listen at the same address again."""
        self.kill()
        self._serve(self.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def CheckLiquidation(  # noqa: N802 - named as in the contract
        self, request: liquidation_pb2.CheckLiquidationRequest, context: grpc.ServicerContext
    ) -> liquidation_pb2.CheckLiquidationResponse:
        self._begin(context, closures=[wire.closure_of(request.check)])
        return liquidation_pb2.CheckLiquidationResponse(decision=self._decision(request.check))

    def CheckLiquidations(  # noqa: N802 - named as in the contract
        self, request: liquidation_pb2.CheckLiquidationsRequest, context: grpc.ServicerContext
    ) -> liquidation_pb2.CheckLiquidationsResponse:
        self._begin(context, closures=map(wire.closure_of, request.checks))
        results = [liquidation_pb2.LiquidationResult(decision=self._decision(check)) for check in request.checks]
        return liquidation_pb2.CheckLiquidationsResponse(results=results)

    def CheckLiquidationStream(  # noqa: N802 - named as in the contract
        self,
        request_iterator: Iterator[liquidation_pb2.CheckLiquidationStreamRequest],
        context: grpc.ServicerContext,
    ) -> Iterator[liquidation_pb2.CheckLiquidationStreamResponse]:
        for request in request_iterator:
            check = request.check
            self._begin(context, closures=[wire.closure_of(check)])
            result = liquidation_pb2.LiquidationResult(decision=self._decision(check))
            yield liquidation_pb2.CheckLiquidationStreamResponse(request_id=check.request_id, result=result)

    def CheckOrders(  # noqa: N802 - named as in the contract
        self, request: order_pb2.CheckOrdersRequest, context: grpc.ServicerContext
    ) -> order_pb2.CheckOrdersResponse:
        self._begin(context, orders=map(wire.order_of, request.orders))
        results = [order_pb2.OrderResult(judgement=self._judgement(order)) for order in request.orders]
        return order_pb2.CheckOrdersResponse(results=results)

    def _serve(self, address: str) -> str:
        options = (("grpc.so_reuseport", 0),)
        self._server = grpc.server(ThreadPoolExecutor(WORKERS, "fake-guard"), options=options)
        liquidation_pb2_grpc.add_LiquidationGuardServiceServicer_to_server(self, self._server)
        order_pb2_grpc.add_OrderGuardServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port(address)
        self._server.start()
        return address if address.startswith(UNIX_PREFIX) else f"{address.rpartition(':')[0]}:{port}"

    def _tell(self, market: str | None, denial: _Denial | None) -> None:
        self._failure = None
        if market is None:
            self._default, self._markets = denial, {}
        else:
            self._markets[market] = denial

    def _begin(
        self, context: grpc.ServicerContext, closures: Iterable[Closure] = (), orders: Iterable[Order] = ()
    ) -> None:
        """Take in a call: wait for as long as was told, then fail it if that was told."""
        token = dict(context.invocation_metadata()).get("authorization")
        with self._lock:
            self.closures.extend(closures)
            self.orders.extend(orders)
            self.tokens.append(token if isinstance(token, str) else None)
            self._lock.notify_all()
        if self._delay_s != 0:
            self._wait(context)
        if self._failure is not None:
            context.abort(*self._failure)

    def _wait(self, context: grpc.ServicerContext) -> None:
        """Wait, at most until the call has ended: its caller went away, or the guard was killed."""
        ended = threading.Event()
        with self._lock:
            self._waiting.add(ended)
        if context.add_callback(ended.set):
            ended.wait(self._delay_s)

    def _denial(self, market: str) -> _Denial | None:
        return self._markets.get(market, self._default)

    def _decision(self, check: liquidation_pb2.LiquidationCheck) -> liquidation_pb2.LiquidationDecision:
        denial = self._denial(check.market)
        decision = liquidation_pb2.LiquidationDecision(
            decision_id=f"fake-{next(self._numbers)}",
            request_id=check.request_id,
            account_id=check.account_id,
            market=check.market,
            kind=check.kind,
            phase=types_pb2.PHASE_OPEN,
            breaker=types_pb2.BREAKER_STATE_CLOSED,
            policy_revision="fake",
            decided_at=datetime.now(UTC),
        )
        _judge(decision, denial)
        decision.shadow_verdict = decision.verdict
        return decision

    def _judgement(self, order: order_pb2.Order) -> order_pb2.OrderJudgement:
        judgement = order_pb2.OrderJudgement(order_id=order.order_id, market=order.market, judged_at=datetime.now(UTC))
        _judge(judgement, self._denial(order.market))
        return judgement


def _judge(answer: liquidation_pb2.LiquidationDecision | order_pb2.OrderJudgement, denial: _Denial | None) -> None:
    """Write a verdict, and what explains it, into an answer."""
    if denial is None:
        answer.verdict = types_pb2.VERDICT_ALLOW
        answer.explanation = f"ALLOW {answer.market}"
        return
    answer.verdict = types_pb2.VERDICT_DENY
    answer.explanation = f"DENY {answer.market}: {denial.sentence}."
    answer.findings.append(denial.finding())
    answer.lifted_by = wire.LIFTS[denial.lifted_by]
    if denial.ask_again_after is not None:
        answer.ask_again_after.FromTimedelta(denial.ask_again_after)
