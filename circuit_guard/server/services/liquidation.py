"""LiquidationGuardService: may this forced closure go ahead?"""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from circuit_guard.core.facts import CheckRefused, DecisionMade
from circuit_guard.engine.engine import Engine
from circuit_guard.errors import WireError
from circuit_guard.journal.errors import JournalStalled
from circuit_guard.server import errors
from circuit_guard.server.batch_queue import Pace
from circuit_guard.server.convert import answers, requests
from circuit_guard.server.errors import RefusalError
from circuit_guard.server.interceptor import Questions
from circuit_guard.server.security.access import Context
from circuit_guard.v1 import liquidation_pb2, liquidation_pb2_grpc, types_pb2

ANSWER_BYTES_MAX = 4 * 1024 * 1024 - 256 * 1024
"""What the answers of a batch may take: gRPC clients of every language refuse 4 MiB unless they are told otherwise. The
rest is for the error of each check that is left out."""
FRAMING_BYTES = 6


def _number(message: Any, field: str) -> int:
    number: int = message.DESCRIPTOR.fields_by_name[field].number
    return number


_DECISION = _number(liquidation_pb2.CheckLiquidationResponse, "decision")
_RESULT = _number(liquidation_pb2.CheckLiquidationsResponse, "results")
_DECIDED = _number(liquidation_pb2.LiquidationResult, "decision")
_ASKED_ID = _number(liquidation_pb2.CheckLiquidationStreamResponse, "request_id")
_ASKED_RESULT = _number(liquidation_pb2.CheckLiquidationStreamResponse, "result")


def _error(error: types_pb2.RequestError) -> bytes:
    result: bytes = liquidation_pb2.LiquidationResult(error=error).SerializeToString()
    return result


def _left_out(checks: Sequence[liquidation_pb2.LiquidationCheck], first: int) -> list[bytes]:
    """Say of the first check that has no room for its answer what to do, and of all after it the same in short."""
    expected = f"a batch whose answer fits: ask checks[{first}] and those after it again, in another request"
    problem = answers.NoRoomError(f"checks[{first}]", "one too many for an answer of 4 MiB", expected)
    error = answers.request_error(problem)
    short = types_pb2.RequestError(reason=error.reason, message="see the first check that is left out: ask again")
    errors_left = [error, *[short] * (len(checks) - first - 1)]
    return [answers.delimited(_RESULT, _error(one)) for one in errors_left]


class Stream:
    """One stream of checks: it may be ended while it waits for the next one, and at no other time."""

    def __init__(self, task: asyncio.Task[Any] | None) -> None:
        self.reading = False
        self._task = task

    async def next(self, asked: Questions) -> Any:
        """Return the next request; None after the last."""
        self.reading = True
        request = await asked.next()
        self.reading = False
        return request

    def cancel_reading(self) -> None:
        """Cancel it if it waits for a request."""
        if self.reading and self._task is not None:
            self._task.cancel()

    def end(self) -> None:
        """Take the cancellation for an ordinary end."""
        if self._task is not None:
            self._task.uncancel()


class LiquidationGuardService(liquidation_pb2_grpc.LiquidationGuardServiceServicer):
    """Answers checks. Every item of a batch has its own decision or its own error."""

    def __init__(self, engine: Engine, batch_max: int) -> None:
        self._engine = engine
        self._batch_max = batch_max
        self._streams: set[Stream] = set()
        self._draining = False

    async def CheckLiquidation(
        self, request: liquidation_pb2.CheckLiquidationRequest, context: Context
    ) -> bytes | liquidation_pb2.CheckLiquidationResponse:
        if (allowed := self._allowed(request.check)) is not None:
            return answers.delimited(_DECISION, allowed)
        made = await self._decide(request.check, "check")
        return liquidation_pb2.CheckLiquidationResponse(decision=answers.decision(made))

    async def CheckLiquidations(self, request: liquidation_pb2.CheckLiquidationsRequest, context: Context) -> bytes:
        requests.batch(request.checks, "checks", self._batch_max)
        results: list[bytes] = []
        pace, taken, now_ns = Pace(), 0, self._engine.now_ns()
        for number, check in enumerate(request.checks):
            if pace.due():
                await pace.let_others_in()
                now_ns = self._engine.now_ns()
            if (allowed := self._allowed(check, now_ns)) is not None:
                result = answers.delimited(_DECIDED, allowed)
            else:
                result = (await self.result(check, f"checks[{number}]")).SerializeToString()
                now_ns = self._engine.now_ns()
            taken += len(result) + FRAMING_BYTES
            if taken > ANSWER_BYTES_MAX:
                results += _left_out(request.checks, number)
                break
            results.append(answers.delimited(_RESULT, result))
        return b"".join(results)

    async def CheckLiquidationStream(self, request_iterator: Questions, context: Context) -> None:
        asked, stream = request_iterator, Stream(asyncio.current_task())
        self._streams.add(stream)
        try:
            while not self._draining and (request := await stream.next(asked)) is not None:
                await context.write(await self._answer_one(asked, request))
        except asyncio.CancelledError:
            if not (self._draining and stream.reading):
                raise
            stream.end()
        finally:
            self._streams.discard(stream)

    def end_streams(self) -> None:
        """End every stream of checks, once what was read from it is answered."""
        self._draining = True
        for stream in self._streams:
            stream.cancel_reading()

    async def _answer_one(self, asked: Questions, request: liquidation_pb2.CheckLiquidationStreamRequest) -> bytes:
        """Answer one check of a stream; what concerns it alone is told in its place, and the stream goes on."""
        check = request.check
        try:
            asked.charge(request)
            if (allowed := self._allowed(check)) is not None:
                result = answers.delimited(_DECIDED, allowed)
            else:
                result = (await self.result(check, "check")).SerializeToString()
        except (RefusalError, JournalStalled) as error:
            refusal = errors.refusal(error)
            assert refusal is not None  # noqa: S101  # both have one
            asked.refused(refusal)
            result = _error(types_pb2.RequestError(reason=refusal.reason, message=refusal.message))
        return answers.delimited(_ASKED_ID, check.request_id.encode()) + answers.delimited(_ASKED_RESULT, result)

    def _allowed(self, check: liquidation_pb2.LiquidationCheck, now_ns: int | None = None) -> bytes | None:
        """Return the answer to a check that a permit allows, as bytes; None: it is to be judged by all rules."""
        asked = requests.asked(check)
        allowed = None if asked is None else self._engine.admit(asked, now_ns)
        return None if allowed is None else answers.allowed(allowed)

    async def result(self, check: liquidation_pb2.LiquidationCheck, path: str) -> liquidation_pb2.LiquidationResult:
        """Judge one closure: its decision, or the error of the first field that cannot be used, `path` before it."""
        try:
            return liquidation_pb2.LiquidationResult(decision=answers.decision(await self._decide(check, path)))
        except WireError as error:
            return liquidation_pb2.LiquidationResult(error=answers.request_error(error))

    async def _decide(self, check: liquidation_pb2.LiquidationCheck, path: str) -> DecisionMade:
        """Answer from memory; only an answer that comes with a breaker or a phase having moved waits for the disk.

        Raise WireError for the first field that cannot be used.
        """
        await self._engine.room()
        facts = self._engine.decide(requests.check(check, path, self._engine.now_ns()))
        await self._engine.settled(facts)
        answer = next(fact for fact in facts if isinstance(fact, DecisionMade | CheckRefused))
        if isinstance(answer, CheckRefused):
            expected = f"a new request_id, or the content first sent with it; it differs in {answer.differing}"
            raise answers.ConflictError(f"{path}.request_id", answer.request_id, expected)
        return answer
