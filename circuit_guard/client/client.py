"""The two clients. All that they share is in `base`; awaiting, cancelling and the errors of a closed channel differ."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import grpc
from grpc import aio

from circuit_guard.client import failures
from circuit_guard.client.answers import Answer, OrderAnswer
from circuit_guard.client.base import BaseClient, Call, Result
from circuit_guard.client.questions import Closure, Order
from circuit_guard.client.stream import AsyncCheckStream, CheckStream


class GuardClient(BaseClient):
    """Asks from threads: make one and share it between them. Use it in `with`, or close it. Arguments: `BaseClient`.

    A process that forks keeps it in parent and child, unless GRPC_ENABLE_FORK_SUPPORT is off: see `forking`.
    """

    _library = grpc
    _stream_kind = CheckStream

    def check(self, closure: Closure, *, deadline_s: float | None = None) -> Answer:
        """Ask about one closure. `deadline_s` in place of the client's own."""
        return self._ask(self._check(closure, deadline_s))[0]

    def check_many(self, closures: Sequence[Closure], *, deadline_s: float | None = None) -> tuple[Answer, ...]:
        """Ask about 1 to 1,000 closures. Each has its own answer, in order.

        They go in one call, or in several one after the other where one message would not take them or their answers.
        """
        asking = self._check_many(closures, deadline_s)
        call = next(asking)
        while True:
            try:
                call = asking.send(self._response(call))
            except StopIteration as answered:
                answers: tuple[Answer, ...] = answered.value
                return answers

    def check_orders(self, orders: Sequence[Order], *, deadline_s: float | None = None) -> tuple[OrderAnswer, ...]:
        """Ask about 1 to 1,000 orders at one instant. Each has its own answer, in order; none ever fails open."""
        return self._ask(self._check_orders(orders, deadline_s))

    def close(self) -> None:
        """End the connection. Running and later questions are denied."""
        for channel in self._end():
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, call: Call[Result]) -> tuple[Result, ...]:
        return self._answers(call, self._response(call))

    def _response(self, call: Call[Result]) -> Any:
        """Return the response, or the Failure that came in its place."""
        if (unusable := self._unusable()) is not None:
            return unusable
        try:
            return call.method(call.request, timeout=call.timeout_s, metadata=self._metadata, wait_for_ready=False)
        except ValueError:  # what gRPC raises where the channel was closed meanwhile
            return failures.closed(self._address)
        except grpc.RpcError as error:
            if self._closed:
                return failures.closed(self._address)
            return failures.of_call(error, self._address, call.deadline_s)


class AsyncGuardClient(BaseClient):
    """GuardClient for asyncio, with the same arguments and answers. Make it in the event loop that uses it,
    and after a fork.

    Cancelling a task that asks cancels the question, and CancelledError passes through.
    """

    _library = aio
    _stream_kind = AsyncCheckStream

    async def check(self, closure: Closure, *, deadline_s: float | None = None) -> Answer:
        return (await self._ask(self._check(closure, deadline_s)))[0]

    async def check_many(self, closures: Sequence[Closure], *, deadline_s: float | None = None) -> tuple[Answer, ...]:
        asking = self._check_many(closures, deadline_s)
        call = next(asking)
        while True:
            try:
                call = asking.send(await self._response(call))
            except StopIteration as answered:
                answers: tuple[Answer, ...] = answered.value
                return answers

    async def check_orders(
        self, orders: Sequence[Order], *, deadline_s: float | None = None
    ) -> tuple[OrderAnswer, ...]:
        return await self._ask(self._check_orders(orders, deadline_s))

    async def close(self) -> None:
        for channel in self._end():
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, call: Call[Result]) -> tuple[Result, ...]:
        return self._answers(call, await self._response(call))

    async def _response(self, call: Call[Result]) -> Any:
        if (unusable := self._unusable()) is not None:
            return unusable
        try:
            return await call.method(
                call.request, timeout=call.timeout_s, metadata=self._metadata, wait_for_ready=False
            )
        except aio.UsageError:
            return failures.closed(self._address)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and (task is None or not task.cancelling()):
                return failures.closed(self._address)
            raise
        except grpc.RpcError as error:
            return failures.of_call(error, self._address, call.deadline_s)
