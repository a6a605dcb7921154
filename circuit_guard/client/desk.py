"""What both clients do alike: questions out, answers in, and a verdict where there is no answer."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from circuit_guard.client import arguments, failures, wire
from circuit_guard.client.answers import Answer, BaseAnswer, OrderAnswer, Outcome, Source, Verdict
from circuit_guard.client.arguments import ArgumentError
from circuit_guard.client.connection import Connection
from circuit_guard.client.fail_policy import FailOpen, FailPolicy
from circuit_guard.client.failures import Failure
from circuit_guard.client.questions import Closure, Order
from circuit_guard.client.wire import MalformedAnswer
from circuit_guard.v1 import liquidation_pb2, order_pb2

BATCH_MAX = 1000
DEADLINE_S = 0.1
DEADLINE_S_MAX = 30.0

Clock = Callable[[], float]
Question = TypeVar("Question", Closure, Order)

_log = logging.getLogger("circuit_guard.client")


class Observer(Protocol):
    """Is told what came of each call, in the thread or task that asked. What it raises reaches whoever asked."""

    def called(self, answers: Sequence[BaseAnswer], duration_s: float) -> None:
        """Take in the answers of one call, one a question, and how long the call took."""


@dataclass(frozen=True, slots=True)
class Asked(Generic[Question]):
    """Questions on their way: each with its id, when they were asked, and how long the guard has to answer."""

    questions: tuple[Question, ...]
    at: float
    deadline_s: float


class Desk:
    """Turns what the guard sends into answers, and what it does not send into what the fail policy says."""

    def __init__(
        self,
        connection: Connection,
        *,
        deadline_s: float = DEADLINE_S,
        fail_open: Mapping[str, FailOpen] | None = None,
        observer: Observer | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        arguments.seconds("deadline_s", deadline_s, DEADLINE_S_MAX)
        self.address = connection.address
        self._deadline_s = deadline_s
        self._policy = FailPolicy(fail_open or {})
        self._observer = observer
        self._clock = clock

    def closures(self, closures: Sequence[Closure], deadline_s: float | None) -> Asked[Closure]:
        """Begin to ask about closures: one without a request_id gets one of its own, for this call alone."""
        _batch("closures", closures, Closure)
        named = (one if one.request_id is not None else replace(one, request_id=str(uuid.uuid4())) for one in closures)
        return Asked(tuple(named), self._clock(), self._deadline(deadline_s))

    def orders(self, orders: Sequence[Order], deadline_s: float | None) -> Asked[Order]:
        """Begin to ask about orders."""
        _batch("orders", orders, Order)
        return Asked(tuple(orders), self._clock(), self._deadline(deadline_s))

    def decided(
        self, asked: Asked[Closure], response: liquidation_pb2.CheckLiquidationResponse | None
    ) -> tuple[Answer, ...]:
        """Return the answer about a single closure. None is a response that gRPC could not read."""
        if response is None:
            return self.undecided(asked, failures.malformed(self.address, "it cannot be read"))
        return self._answers(asked, [liquidation_pb2.LiquidationResult(decision=response.decision)])

    def decided_each(
        self, asked: Asked[Closure], response: liquidation_pb2.CheckLiquidationsResponse | None
    ) -> tuple[Answer, ...]:
        """Return the answers of a batch, in its order."""
        if response is None:
            return self.undecided(asked, failures.malformed(self.address, "it cannot be read"))
        return self._answers(asked, response.results)

    def _answers(
        self, asked: Asked[Closure], results: Sequence[liquidation_pb2.LiquidationResult]
    ) -> tuple[Answer, ...]:
        try:
            _one_each(asked.questions, results)
            answers = tuple(
                wire.answer(result.decision, closure)
                if result.WhichOneof("result") == "decision"
                else _unanswered(closure, _refusal(result))
                for closure, result in zip(asked.questions, results, strict=True)
            )
        except MalformedAnswer as error:
            return self.undecided(asked, failures.malformed(self.address, str(error)))
        self._policy.answered(answers, asked.at, self._clock())
        self._report(asked, answers)
        return answers

    def undecided(self, asked: Asked[Closure], failure: Failure) -> tuple[Answer, ...]:
        """Return what the fail policy says of closures that the guard did not answer."""
        now = self._clock()
        if not failure.silent:
            self._policy.failed_loudly(now)
        answers = tuple(self._by_policy(closure, failure, now) for closure in asked.questions)
        self._report(asked, answers)
        return answers

    def _by_policy(self, closure: Closure, failure: Failure, now: float) -> Answer:
        if not failure.silent:
            return _unanswered(closure, failure)
        why_closed = self._policy.why_closed(closure.market, now)
        if why_closed is not None:
            return _unanswered(closure, failure, why_closed)
        opened = f"FAIL-OPEN {closure.market}: {failure.sentence}, and nobody has judged this closure"
        _log.warning(
            "%s: account_id=%s size=%s kind=%s request_id=%s; the guard was last reached %.1f s ago",
            opened,
            closure.account_id,
            closure.size,
            closure.kind,
            closure.request_id,
            self._policy.silent_s(now),
        )
        answer = _unanswered(closure, failure)
        return replace(answer, verdict=Verdict.ALLOW, explanation=f"{opened}.", ask_again_after=None)

    def judged(self, asked: Asked[Order], response: order_pb2.CheckOrdersResponse | None) -> tuple[OrderAnswer, ...]:
        """Return the answers about orders, in their order."""
        if response is None:
            return self.unjudged(asked, failures.malformed(self.address, "it cannot be read"))
        try:
            _one_each(asked.questions, response.results)
            answers = tuple(
                wire.order_answer(result.judgement, order)
                if result.WhichOneof("result") == "judgement"
                else _unjudged(order, _refusal(result))
                for order, result in zip(asked.questions, response.results, strict=True)
            )
        except MalformedAnswer as error:
            return self.unjudged(asked, failures.malformed(self.address, str(error)))
        self._report(asked, answers)
        return answers

    def unjudged(self, asked: Asked[Order], failure: Failure) -> tuple[OrderAnswer, ...]:
        """Return the denials of orders that the guard did not answer; no order ever fails open."""
        answers = tuple(_unjudged(order, failure) for order in asked.questions)
        self._report(asked, answers)
        return answers

    def _deadline(self, deadline_s: float | None) -> float:
        if deadline_s is None:
            return self._deadline_s
        arguments.seconds("deadline_s", deadline_s, DEADLINE_S_MAX)
        return deadline_s

    def _report(self, asked: Asked[Question], answers: Sequence[BaseAnswer]) -> None:
        """Log what asking again will hardly change, and tell the observer of the call."""
        errors = [answer for answer in answers if answer.outcome is Outcome.ERROR]
        if errors:
            _log.warning("%d of %d questions have no answer: %s", len(errors), len(answers), errors[0].explanation)
        if self._observer is not None:
            self._observer.called(answers, self._clock() - asked.at)


def _batch(name: str, questions: Sequence[Question], kind: type[Question]) -> None:
    if not 0 < len(questions) <= BATCH_MAX:
        raise ArgumentError(name, f"{len(questions)} items", f"1 to {BATCH_MAX} items")
    for number, question in enumerate(questions):
        arguments.instance(f"{name}[{number}]", question, kind)


def _one_each(questions: Sequence[Question], results: Sequence[object]) -> None:
    if len(results) != len(questions):
        raise MalformedAnswer(f"it has {len(results)} results, expected {len(questions)}")


def _refusal(result: liquidation_pb2.LiquidationResult | order_pb2.OrderResult) -> Failure:
    if result.WhichOneof("result") is None:
        raise MalformedAnswer("one of its results is empty, expected an answer or an error")
    return failures.refused(result.error.message)


def _unanswered(closure: Closure, failure: Failure, why_closed: str | None = None) -> Answer:
    """Return the denial of a closure that the guard did not answer."""
    policy = "" if why_closed is None else f"; {why_closed}"
    return Answer(
        market=closure.market,
        verdict=Verdict.DENY,
        source=Source.NO_ANSWER,
        outcome=failure.outcome,
        explanation=f"DENY {closure.market}: {failure.sentence}{policy}.",
        ask_again_after=failure.ask_again_after,
        request_id=closure.request_id or "",
        account_id=closure.account_id,
        kind=closure.kind,
    )


def _unjudged(order: Order, failure: Failure) -> OrderAnswer:
    """Return the denial of an order that the guard did not answer."""
    return OrderAnswer(
        market=order.market,
        verdict=Verdict.DENY,
        source=Source.NO_ANSWER,
        outcome=failure.outcome,
        explanation=f"DENY {order.market}: {failure.sentence}.",
        ask_again_after=failure.ask_again_after,
        order_id=order.order_id,
    )
