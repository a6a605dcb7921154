"""What the two clients share: questions out, answers in, and a verdict where there is no answer."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message

from circuit_guard.client import arguments, failures, forking, wire
from circuit_guard.client.answers import Answer, BaseAnswer, OrderAnswer, Outcome, Source, Verdict
from circuit_guard.client.arguments import ArgumentError
from circuit_guard.client.connection import Connection, Tls
from circuit_guard.client.fail_policy import FailOpen, FailPolicy
from circuit_guard.client.failures import Failure
from circuit_guard.client.questions import Closure, Order
from circuit_guard.client.stream import AsyncCheckStream, CheckStream
from circuit_guard.client.wire import MalformedAnswer
from circuit_guard.v1 import liquidation_pb2, liquidation_pb2_grpc, order_pb2, order_pb2_grpc

BATCH_MAX = 1000
DEADLINE_S = 0.1
DEADLINE_S_MAX = 30.0
REQUEST_BYTES_MAX = 4 * 1024 * 1024
"""What a guard takes in one message, unless its grpc.message_bytes_max says otherwise: more is asked in several."""
FRAMING_BYTES = 6
"""What one check takes in a request beside itself, at most."""
SOON_S = 0.001
"""What is left for a call when the deadline is over: it is asked no more, and says so."""
NO_ROOM = "ANSWER_TOO_LARGE"
"""The reason for which a guard left out the rest of a batch: its answer has no room for it."""

Clock = Callable[[], float]
Question = TypeVar("Question", Closure, Order)
Result = TypeVar("Result", bound=BaseAnswer)

_log = logging.getLogger("circuit_guard.client")


class Observer(Protocol):
    """Is told the outcome of each call, in the thread or task that asked. Its errors reach that caller."""

    def called(self, answers: Sequence[BaseAnswer], duration_s: float) -> None:
        """Take in the answers of one call, one per question, and how long the call took."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One call of the guard: the method of the stub, its request, when it was asked, and how long the answer may take.

    `read` makes answers of a response and raises MalformedAnswer; `unanswered` makes them of a failure.
    """

    method: Callable[..., Any]
    request: Message
    at: float
    deadline_s: float
    timeout_s: float
    """What is left of the deadline where this is not the first call of a batch."""
    read: Callable[[Any], tuple[Result, ...]]
    unanswered: Callable[[Failure], tuple[Result, ...]]


class BaseClient:
    """A connection to one guard.

    Every question has an answer within its deadline: if the guard does not answer, that is a DENY that says why. The
    only error raised is ArgumentError, a ValueError, for a question that cannot be asked.

    `address` is host:port or unix:path; `deadline_s` more than 0 and at most 30 s. `fail_open` names the markets whose
    closures may go through for a while when the guard is silent; every other market stays closed. `observer` is told
    of each call; `clock` returns monotonic seconds.

    `stream`: `check` asks on one stream that all who use the client share, for less than a request each. Nothing else
    differs but one thing: no market fails open for an answer that came too late where other checks had theirs.
    """

    _library: Any
    """The part of gRPC that makes the channel."""
    _stream_kind: type[CheckStream | AsyncCheckStream]

    def __init__(
        self,
        address: str,
        *,
        deadline_s: float = DEADLINE_S,
        fail_open: Mapping[str, FailOpen] | None = None,
        tls: Tls | None = None,
        token: str | None = None,
        stream: bool = False,
        observer: Observer | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        connection = Connection(address, tls, token)
        arguments.seconds("deadline_s", deadline_s, DEADLINE_S_MAX)
        self._address = address
        self._deadline_s = deadline_s
        self._policy = FailPolicy(fail_open or {})
        self._observer = observer
        self._clock = clock
        self._metadata = connection.metadata()
        self._closed = False
        self._made_in = forking.begin(self._library)
        forked = forking.problem(self._library, self._made_in)
        opens = connection.opener(self._library)
        self._channel = forking.NoChannel() if forked else opens()
        self._liquidations = liquidation_pb2_grpc.LiquidationGuardServiceStub(self._channel)
        single: Callable[..., Any] = self._liquidations.CheckLiquidation
        self._stream = self._stream_kind(opens, single, address) if stream else None
        self._single = self._stream or single
        self._orders = order_pb2_grpc.OrderGuardServiceStub(self._channel)

    def _check(self, closure: Closure, deadline_s: float | None) -> Call[Answer]:
        closures = _identified((closure,))
        request = liquidation_pb2.CheckLiquidationRequest(check=wire.check(closures[0]))

        def read(
            response: liquidation_pb2.CheckLiquidationResponse | liquidation_pb2.LiquidationResult,
        ) -> tuple[Answer, ...]:
            return (wire.answer(response.decision, closures[0]),)

        return self._closures_call(self._single, request, closures, deadline_s, read)

    def _check_many(
        self, closures: Sequence[Closure], deadline_s: float | None
    ) -> Generator[Call[Answer], Any, tuple[Answer, ...]]:
        """Yield each call of a batch, take its response, and return the answers: more calls than one for many bytes."""
        closures, answers = _identified(closures), list[Answer]()
        until = self._clock() + self._deadline(deadline_s)
        checks = [wire.check(one) for one in closures]
        room = len(closures)
        while len(answers) < len(closures):
            first = len(answers)
            count = _fitting(checks[first : first + room])
            left_s = max(until - self._clock(), SOON_S) if first else None
            call = self._part(closures[first : first + count], checks[first : first + count], deadline_s, left_s)
            answered = self._answers(call, (yield call))
            answers += answered
            if len(answered) < count:
                room = len(answered)  # asked for more, the guard would judge what it then has no room to answer
        return tuple(answers)

    def _part(
        self,
        closures: Sequence[Closure],
        checks: Sequence[liquidation_pb2.LiquidationCheck],
        deadline_s: float | None,
        left_s: float | None,
    ) -> Call[Answer]:
        """Return the call for as many closures as one message takes; it may answer the first of them only."""
        request = liquidation_pb2.CheckLiquidationsRequest(checks=checks)

        def read(response: liquidation_pb2.CheckLiquidationsResponse) -> tuple[Answer, ...]:
            _one_each(closures, response.results)
            count = next((n for n, one in enumerate(response.results) if n and one.error.reason == NO_ROOM), None)
            return tuple(_each(closures[:count], response.results[:count], wire.answer, _unanswered))

        method = self._liquidations.CheckLiquidations
        return self._closures_call(method, request, closures, deadline_s, read, left_s)

    def _closures_call(
        self,
        method: Callable[..., Any],
        request: Message,
        closures: Sequence[Closure],
        deadline_s: float | None,
        read: Callable[[Any], tuple[Answer, ...]],
        left_s: float | None = None,
    ) -> Call[Answer]:
        at, whole_s = self._clock(), self._deadline(deadline_s)

        def answered(response: Any) -> tuple[Answer, ...]:
            answers = read(response)
            self._policy.answered(answers, at, self._clock())
            return answers

        unanswered = partial(self._by_policy, closures)
        return Call(method, request, at, whole_s, whole_s if left_s is None else left_s, answered, unanswered)

    def _check_orders(self, orders: Sequence[Order], deadline_s: float | None) -> Call[OrderAnswer]:
        _batch("orders", orders, Order)
        orders = tuple(orders)
        request = order_pb2.CheckOrdersRequest(orders=map(wire.order, orders))

        def read(response: order_pb2.CheckOrdersResponse) -> tuple[OrderAnswer, ...]:
            return tuple(_each(orders, response.results, wire.order_answer, _unjudged))

        def unanswered(failure: Failure) -> tuple[OrderAnswer, ...]:
            return tuple(_unjudged(order, failure) for order in orders)

        whole_s = self._deadline(deadline_s)
        return Call(self._orders.CheckOrders, request, self._clock(), whole_s, whole_s, read, unanswered)

    def _end(self) -> list[Any]:
        """Let nothing be asked any more; return the channels that are to be closed."""
        usable, self._closed = self._unusable() is None, True
        if not usable:
            return []
        if self._stream is None:
            return [self._channel]
        self._stream.close()
        return [one for one in (self._stream.channel, self._channel) if one is not None]

    def _unusable(self) -> Failure | None:
        """Return why nothing can be asked any more; None where it can."""
        if self._closed:
            return failures.closed(self._address)
        forked = forking.problem(self._library, self._made_in)
        return failures.forked(forked) if forked else None

    def _answers(self, call: Call[Result], response: Any) -> tuple[Result, ...]:
        """Return the answers of a call, from a response or a Failure; None is a response that gRPC could not read."""
        failure = response if isinstance(response, Failure) else None
        if response is None:
            failure = failures.malformed(self._address, "it cannot be read")
        try:
            answers = call.read(response) if failure is None else call.unanswered(failure)
        except MalformedAnswer as error:
            answers = call.unanswered(failures.malformed(self._address, str(error)))
        self._report(call, answers)
        return answers

    def _by_policy(self, closures: Sequence[Closure], failure: Failure) -> tuple[Answer, ...]:
        """Return what the fail policy says of closures that the guard did not answer."""
        now = self._clock()
        if not failure.silent:
            self._policy.failed_loudly(now)
            return tuple(_unanswered(closure, failure) for closure in closures)
        return tuple(self._in_silence(closure, failure, now) for closure in closures)

    def _in_silence(self, closure: Closure, failure: Failure, now: float) -> Answer:
        why_closed = self._policy.why_closed(closure.market, now)
        if why_closed is not None:
            return _unanswered(closure, failure, f"; {why_closed}")
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

    def _deadline(self, deadline_s: float | None) -> float:
        if deadline_s is None:
            return self._deadline_s
        arguments.seconds("deadline_s", deadline_s, DEADLINE_S_MAX)
        return deadline_s

    def _report(self, call: Call[Result], answers: Sequence[Result]) -> None:
        """Log errors, which asking again will hardly change, and tell the observer of the call."""
        errors = [answer for answer in answers if answer.outcome is Outcome.ERROR]
        if errors:
            _log.warning("%d of %d questions have no answer: %s", len(errors), len(answers), errors[0].explanation)
        if self._observer is not None:
            self._observer.called(answers, self._clock() - call.at)


def _identified(closures: Sequence[Closure]) -> tuple[Closure, ...]:
    """Return the closures; one without a request_id gets one of its own, for this call alone."""
    _batch("closures", closures, Closure)
    return tuple(one if one.request_id is not None else replace(one, request_id=str(uuid.uuid4())) for one in closures)


def _batch(name: str, questions: Sequence[Question], kind: type[Question]) -> None:
    if not 0 < len(questions) <= BATCH_MAX:
        raise ArgumentError(name, f"{len(questions)} items", f"1 to {BATCH_MAX} items")
    for number, question in enumerate(questions):
        arguments.instance(f"{name}[{number}]", question, kind)


def _each(
    questions: Sequence[Question],
    results: Sequence[Any],
    read: Callable[[Any, Question], Result],
    refused: Callable[[Question, Failure], Result],
) -> Iterator[Result]:
    """Yield the answer of each question from the result in its place: an answer, or why the guard refused it."""
    _one_each(questions, results)
    for question, result in zip(questions, results, strict=True):
        match result.WhichOneof("result"):
            case None:
                raise MalformedAnswer("one of its results is empty, expected an answer or an error")
            case "error":
                yield refused(question, failures.refused(result.error.message))
            case kind:
                yield read(getattr(result, kind), question)


def _one_each(questions: Sequence[Question], results: Sequence[Any]) -> None:
    if len(results) != len(questions):
        raise MalformedAnswer(f"it has {len(results)} results, expected {len(questions)}")


def _fitting(checks: Sequence[liquidation_pb2.LiquidationCheck]) -> int:
    """Return how many of the checks fit into one request: at least one."""
    taken = 0
    for number, check in enumerate(checks):
        taken += check.ByteSize() + FRAMING_BYTES
        if number and taken > REQUEST_BYTES_MAX:
            return number
    return len(checks)


def _unanswered(closure: Closure, failure: Failure, why_closed: str = "") -> Answer:
    return Answer(
        **_denial(closure, failure, why_closed),
        request_id=closure.request_id or "",
        account_id=closure.account_id,
        kind=closure.kind,
    )


def _unjudged(order: Order, failure: Failure) -> OrderAnswer:
    return OrderAnswer(**_denial(order, failure), order_id=order.order_id)


def _denial(question: Closure | Order, failure: Failure, why_closed: str = "") -> dict[str, Any]:
    """Return the fields of a denial that the guard did not give."""
    return {
        "market": question.market,
        "verdict": Verdict.DENY,
        "source": Source.NO_ANSWER,
        "outcome": failure.outcome,
        "explanation": f"DENY {question.market}: {failure.sentence}{why_closed}.",
        "ask_again_after": failure.ask_again_after,
    }
