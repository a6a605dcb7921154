"""Checks on one stream: asked without waiting for the answers of others, each answered by its request_id.

To a client a stream is one more way to call `CheckLiquidation`: with its arguments, and a response or a Failure. It is
opened when a check needs it, and opened anew by the next one after it has ended.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any
from weakref import WeakSet

import grpc
from grpc import aio

from circuit_guard.client import failures
from circuit_guard.client.connection import Metadata
from circuit_guard.client.failures import Failure
from circuit_guard.v1 import liquidation_pb2, liquidation_pb2_grpc

IN_FLIGHT_MAX = 1000
"""Checks of one client that were sent and not answered; further ones wait for room, within their deadlines."""
CHECK_BYTES_MAX = 64 * 1024 - 1024
"""A larger check is asked by itself: one that is too large for a guard would end the stream of all others."""
RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
RETRY_S = 0.01
"""How a stream ends whose checks are asked once more, and after which pause; as where they are asked by themselves."""
STALLED_S = 1.0
"""A stream that has answered nothing for so long, and owes answers, is given up when a check on it had none in time."""
NOT_SENT = "Internal error from Core"
"""What grpc.aio says, in place of why the stream broke, where that is noticed by sending on it."""
FORK_S = 1.0
"""How long a fork waits at most for the threads of a stream to end; it takes milliseconds."""

Check = liquidation_pb2.CheckLiquidationRequest
Result = liquidation_pb2.LiquidationResult


class Ended:
    """A stream ended, or was given up, without an error and without an answer to the check."""


Told = Result | liquidation_pb2.CheckLiquidationResponse | Failure | grpc.RpcError | Ended
"""What a check is told: its result, or the response where it was asked by itself; why there is none; or how its stream
ended."""

ENDED, STALLED = Ended(), Ended()


@dataclass(slots=True, eq=False)
class Question:
    """One check on a stream. Nobody waits for one that was given up, and it is not sent if it was not yet."""

    check: liquidation_pb2.LiquidationCheck
    tell: Callable[[Told], None]
    given_up: bool = False


@dataclass(slots=True, eq=False)
class OpenStream:
    """One stream of a channel: the questions that it still owes an answer, those to be sent, and the call.

    A question that was given up stays among those owed until it is answered: its answer must not be taken for that of
    another question with the same request_id.
    """

    to_send: Any
    """A queue of questions; None after the last."""
    call: Any = None
    reading: asyncio.Task[None] | threading.Thread | None = None
    """What reads the answers."""
    owed: dict[str, Question] = field(default_factory=dict)
    owing_since: float = 0.0
    """When it last answered, or began to owe."""
    ended: bool = False

    def owes(self, request_id: str) -> bool:
        """Return whether an answer to that request_id is still to come."""
        return request_id in self.owed

    def add(self, question: Question, now: float) -> None:
        """Have a question sent."""
        if not self.owed:
            self.owing_since = now
        self.owed[question.check.request_id] = question
        self.to_send.put_nowait(question)


class BaseStream(ABC):
    """What both kinds of streams share: which check owes what, and what an answer or the end of a stream means.

    `opens` makes the channel of the streams, `unary` asks one check by itself. Times are monotonic seconds.
    """

    def __init__(self, opens: Callable[[], Any], unary: Callable[..., Any], address: str) -> None:
        self._opens = opens
        self._unary = unary
        self._address = address
        self._answered_at = 0.0
        self._begin()

    def close(self) -> None:
        """End the stream; what is open is denied."""
        self._closed = True
        stream = self._current
        if stream is not None:
            stream.call.cancel()

    def _begin(self) -> None:
        """Have no stream, nothing owed, and all room."""
        self._lock = threading.Lock()
        self._current: OpenStream | None = None
        self._closed = False
        self.channel: Any = None
        """Of streams alone, and open once there was one. It is for the client to close."""

    def _call(self, requests: Any, metadata: Metadata) -> Any:
        """Return the call of a new stream."""
        if self.channel is None:
            self.channel = self._opens()
        method: Any = liquidation_pb2_grpc.LiquidationGuardServiceStub(self.channel).CheckLiquidationStream
        return method(requests, metadata=metadata, wait_for_ready=False)

    @abstractmethod
    def _opened(self, metadata: Metadata) -> OpenStream:
        """Open a stream, and have its answers read."""

    @abstractmethod
    def _release(self) -> None:
        """Give back the room of a question."""

    def _sends(self, stream: OpenStream, question: Question) -> bool:
        """Return whether a question is sent now: not where nobody waits for it any more."""
        with self._lock:
            if not question.given_up:
                return True
            removed = stream.owed.pop(question.check.request_id, None)
        if removed is not None:
            self._release()
        return False

    def _answered(self, stream: OpenStream, response: Any) -> bool:
        """Take in a response; return False where it answers nothing that was asked, which ends the stream."""
        if response is None:
            return False
        with self._lock:
            question = stream.owed.pop(response.request_id, None)
            if question is None:
                return stream.ended
            stream.owing_since = self._answered_at = time.monotonic()
        self._release()
        question.tell(response.result)
        return True

    def _malformed(self) -> Failure:
        return failures.malformed(self._address, "it answers nothing that was asked on its stream")

    def _end(self, stream: OpenStream, told: Told) -> None:
        """Take in the end of a stream: everything that it owes is told."""
        with self._lock:
            stream.ended = True
            if self._current is stream:
                self._current = None
            owed = list(stream.owed.values())
            stream.owed.clear()
        stream.to_send.put_nowait(None)
        for question in owed:
            self._release()
            question.tell(failures.closed(self._address) if self._closed else told)

    def _taken(self, question: Question, metadata: Metadata) -> OpenStream | None:
        """Return the stream that a question, which has room, goes to, opened if there is none.

        None where its request_id is in flight: the answers to both could not be told apart.
        """
        try:
            with self._lock:
                stream = self._current or self._opened(metadata)
                if not stream.owes(question.check.request_id):
                    stream.add(question, time.monotonic())
                    return stream
        except BaseException:  # gRPC opens none on a channel that was closed
            self._release()
            raise
        self._release()
        return None

    def _give_up(self, stream: OpenStream, question: Question) -> None:
        """Wait for a question no more, and for its stream neither where that has stalled."""
        with self._lock:
            question.given_up = True
            stalled = stream.owed and time.monotonic() - stream.owing_since > STALLED_S
        if stalled:
            self._end(stream, STALLED)
            stream.call.cancel()

    def _said(self, told: Told | None, began: float, timeout: float) -> Any:
        """Return a decision or a Failure; None was told to a check whose deadline is over.

        A guard that answers other checks meanwhile is not silent: then no fail policy may open.
        """
        if told is None or told is STALLED:
            return failures.late(self._address, timeout, silent=self._answered_at <= began)
        match told:
            case grpc.RpcError():
                return failures.of_call(told, self._address, timeout)
            case Ended():
                return failures.ended(self._address)
            case Failure() | liquidation_pb2.CheckLiquidationResponse():
                return told
            case _:
                return _decision(told, self._address)


def _decision(result: Result, address: str) -> Result | Failure:
    match result.WhichOneof("result"):
        case None:
            return failures.malformed(address, "its result is empty, expected a decision or an error")
        case "error":
            return failures.of_item(result.error.reason, result.error.message, address)
        case _:
            return result


def _again(told: Told | None) -> bool:
    """Return whether a check may be asked once more: its stream has ended, and nobody refused it."""
    return isinstance(told, Ended) or (isinstance(told, grpc.Call | aio.AioRpcError) and told.code() in RETRIED)


def _left_s(until: float) -> float:
    return max(until - time.monotonic(), 0.0)


def _too_large(request: Check) -> bool:
    return request.ByteSize() > CHECK_BYTES_MAX


def _asked(question: Question) -> liquidation_pb2.CheckLiquidationStreamRequest:
    return liquidation_pb2.CheckLiquidationStreamRequest(check=question.check)


class CheckStream(BaseStream):
    """Asks from any number of threads on one stream; a thread of its own reads the answers."""

    def __init__(self, opens: Callable[[], Any], unary: Callable[..., Any], address: str) -> None:
        super().__init__(opens, unary, address)
        _streams.add(self)

    def _begin(self) -> None:
        super()._begin()
        self._room = threading.Semaphore(IN_FLIGHT_MAX)
        self._gate = threading.Lock()

    def __call__(self, request: Check, timeout: float, metadata: Metadata, *, wait_for_ready: bool = False) -> Any:
        """Return the decision about a check, or a Failure, within the seconds of `timeout`."""
        if _too_large(request):
            return self._unary(request, timeout=timeout, metadata=metadata, wait_for_ready=wait_for_ready)
        began = time.monotonic()
        until = began + timeout
        told = self._ask(request, until, metadata)
        if _again(told) and _left_s(until) > RETRY_S:
            time.sleep(RETRY_S)
            told = self._ask(request, until, metadata)
        return self._said(told, began, timeout)

    def before_fork(self) -> None:
        """End the stream, and open none until `after_fork`: gRPC can crash a child that is forked with an open one.

        What is open is asked once more on the next one.
        """
        self._gate.acquire()
        stream = self._current
        if stream is not None and isinstance(stream.reading, threading.Thread):
            self._end(stream, STALLED)
            stream.call.cancel()
            stream.reading.join(FORK_S)

    def after_fork(self, *, child: bool) -> None:
        """Go on; a child begins anew, on another channel: nobody waits there, and the old one is its parent's."""
        if child:
            _left_over.append(self.channel)
            self._begin()
        else:
            self._gate.release()

    def _release(self) -> None:
        self._room.release()

    def _ask(self, request: Check, until: float, metadata: Metadata) -> Told | None:
        """Ask once; return what was told, None where nothing was in time."""
        if not self._room.acquire(timeout=_left_s(until)):
            return None
        replies: queue.SimpleQueue[Told] = queue.SimpleQueue()
        question = Question(request.check, replies.put)
        with self._gate:
            stream = self._taken(question, metadata)
        if stream is None:
            response: Told = self._unary(request, timeout=_left_s(until), metadata=metadata, wait_for_ready=False)
            return response
        try:
            return replies.get(timeout=_left_s(until))
        except queue.Empty:
            self._give_up(stream, question)
            return None

    def _opened(self, metadata: Metadata) -> OpenStream:
        stream = OpenStream(queue.SimpleQueue[Question | None]())
        stream.call = self._call(self._sending(stream), metadata)
        stream.reading = threading.Thread(target=self._read, args=(stream,), name="circuit-guard-stream", daemon=True)
        stream.reading.start()
        self._current = stream
        _watch_forks()
        return stream

    def _sending(self, stream: OpenStream) -> Iterator[liquidation_pb2.CheckLiquidationStreamRequest]:
        """Yield what is to be sent; a thread of gRPC's takes it as fast as the guard does."""
        while (question := stream.to_send.get()) is not None:
            if self._sends(stream, question):
                yield _asked(question)

    def _read(self, stream: OpenStream) -> None:
        told: Told = ENDED
        try:
            for response in stream.call:
                if not self._answered(stream, response):
                    told = self._malformed()
                    stream.call.cancel()
                    break
        except grpc.RpcError as error:
            told = error
        self._end(stream, told)


class AsyncCheckStream(BaseStream):
    """Asks from any number of tasks of one event loop on one stream; a task of its own reads the answers."""

    def _begin(self) -> None:
        super()._begin()
        self._room = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def __call__(
        self,
        request: Check,
        timeout: float,  # noqa: ASYNC109 - named as in a method of a stub
        metadata: Metadata,
        *,
        wait_for_ready: bool = False,
    ) -> Any:
        if _too_large(request):
            return await self._unary(request, timeout=timeout, metadata=metadata, wait_for_ready=wait_for_ready)
        began = time.monotonic()
        until = began + timeout
        told = await self._ask(request, until, metadata)
        if _again(told) and _left_s(until) > RETRY_S:
            await asyncio.sleep(RETRY_S)
            told = await self._ask(request, until, metadata)
        return self._said(told, began, timeout)

    def _release(self) -> None:
        self._room.release()

    async def _ask(self, request: Check, until: float, metadata: Metadata) -> Told | None:
        reply: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        question = Question(request.check, lambda told: None if reply.done() else reply.set_result(told))
        stream = None
        try:
            async with asyncio.timeout(_left_s(until)):
                await self._room.acquire()
                stream = self._taken(question, metadata)
                if stream is not None:
                    return await reply
        except TimeoutError:
            return None
        finally:
            if stream is not None and (not reply.done() or reply.cancelled()):
                self._give_up(stream, question)
        response: Told = await self._unary(request, timeout=_left_s(until), metadata=metadata, wait_for_ready=False)
        return response

    def _opened(self, metadata: Metadata) -> OpenStream:
        stream = OpenStream(asyncio.Queue[Question | None]())
        stream.call = self._call(self._sending(stream), metadata)
        stream.reading = asyncio.get_running_loop().create_task(self._read(stream))
        self._current = stream
        return stream

    async def _sending(self, stream: OpenStream) -> AsyncIterator[liquidation_pb2.CheckLiquidationStreamRequest]:
        while (question := await stream.to_send.get()) is not None:
            if self._sends(stream, question):
                yield _asked(question)

    async def _read(self, stream: OpenStream) -> None:
        told: Told = ENDED
        try:
            async for response in stream.call:
                if not self._answered(stream, response):
                    told = self._malformed()
                    stream.call.cancel()
                    break
        except aio.AioRpcError as error:
            told = ENDED if error.details() == NOT_SENT else error
        finally:
            self._end(stream, told)


_streams: WeakSet[CheckStream] = WeakSet()
_held: list[CheckStream] = []
"""Those that open nothing while the process forks."""
_left_over: list[Any] = []
"""Channels of the parent: to end one in a child is to wait for threads that a fork does not copy."""


def _before_fork() -> None:
    _held[:] = _streams
    for stream in _held:
        stream.before_fork()


def _after_fork(*, child: bool) -> None:
    for stream in _held:
        stream.after_fork(child=child)
    _held.clear()


@cache
def _watch_forks() -> None:
    """Be told of forks, once there was a stream: what is registered after gRPC's own handlers runs before them."""
    in_parent, in_child = partial(_after_fork, child=False), partial(_after_fork, child=True)
    os.register_at_fork(before=_before_fork, after_in_parent=in_parent, after_in_child=in_child)
