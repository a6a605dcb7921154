"""LiquidationGuardService: may this forced closure go ahead?"""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

from circuit_guard.core.facts import CheckRefused, DecisionMade
from circuit_guard.engine.engine import Engine
from circuit_guard.errors import WireError
from circuit_guard.server.batch_queue import Pace
from circuit_guard.server.convert import answers, requests
from circuit_guard.server.security.access import Context
from circuit_guard.v1 import liquidation_pb2, liquidation_pb2_grpc


class LiquidationGuardService(liquidation_pb2_grpc.LiquidationGuardServiceServicer):
    """Answers checks. Every item of a batch has its own decision or its own error."""

    def __init__(self, engine: Engine, batch_max: int) -> None:
        self._engine = engine
        self._batch_max = batch_max

    async def CheckLiquidation(
        self, request: liquidation_pb2.CheckLiquidationRequest, context: Context
    ) -> liquidation_pb2.CheckLiquidationResponse:
        made = await self._decide(request.check, "check")
        return liquidation_pb2.CheckLiquidationResponse(decision=answers.decision(made))

    async def CheckLiquidations(
        self, request: liquidation_pb2.CheckLiquidationsRequest, context: Context
    ) -> liquidation_pb2.CheckLiquidationsResponse:
        requests.batch(request.checks, "checks", self._batch_max)
        response = liquidation_pb2.CheckLiquidationsResponse()
        pace = Pace()
        for number, check in enumerate(request.checks):
            if pace.due():
                await pace.let_others_in()
            response.results.append(await self.result(check, f"checks[{number}]"))
        return response

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
