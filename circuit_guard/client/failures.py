"""Why there is no answer, in words that a person on call can act on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import grpc

from circuit_guard.client.answers import Outcome

DETAILS_KEY = "grpc-status-details-bin"
"""The trailing metadata that carry a google.rpc.Status: only a server that answered can send them."""

ASK_AGAIN_AFTER = timedelta(seconds=1)
"""The longest wait between two attempts to connect: a guard that restarted may not be found any sooner."""

_REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.OUT_OF_RANGE)
_NO_ROOM_NOW = frozenset({"RATE_LIMITED", "OVERLOADED"})
_JOURNAL_STALLED = "JOURNAL_STALLED"
_NOT_PERMITTED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer.

    `silent`: nothing answered in time. Only then may a fail policy open: a server that said anything but ALLOW is no
    reason to let a closure through. `ask_again_after` None: asking again does not help until somebody has acted.
    """

    outcome: Outcome
    sentence: str
    silent: bool = False
    ask_again_after: timedelta | None = None


def of_call(error: grpc.RpcError, address: str, deadline_s: float) -> Failure:
    """Return why a call failed."""
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        sentence = f"asking the guard at {address} failed: {error!r}"
        return Failure(Outcome.ERROR, sentence, ask_again_after=ASK_AGAIN_AFTER)
    code, details = error.code(), error.details() or "no details"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return late(address, deadline_s, silent=True)
    if code is grpc.StatusCode.UNAVAILABLE:
        answered = any(key == DETAILS_KEY for key, _ in error.trailing_metadata() or ())
        sentence = _undecided(address, details) if answered else f"no guard answers at {address} ({details})"
        return Failure(Outcome.UNAVAILABLE, sentence, not answered, ASK_AGAIN_AFTER)
    if code in _REFUSED:
        return refused(details)
    if code in _NOT_PERMITTED:
        return Failure(Outcome.ERROR, f"the guard at {address} refuses this client ({code.name}): {details}")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        sentence = f"the server at {address} is not a circuit_guard, or is another version of it: {details}"
        return Failure(Outcome.ERROR, sentence)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
        remedy = "ask about fewer closures at a time, or raise grpc.message_bytes_max in the guard's settings"
        return Failure(Outcome.ERROR, f"the question or its answer is too large ({details}): {remedy}")
    return Failure(Outcome.ERROR, _no_answer(address, code.name, details), ask_again_after=ASK_AGAIN_AFTER)


def late(address: str, deadline_s: float, *, silent: bool) -> Failure:
    """Return the failure of a question without an answer in time; `silent`: nor had any other question one."""
    others = "" if silent else ", though it answers other questions"
    sentence = f"the guard at {address} did not answer within {deadline_s:g} s{others}"
    return Failure(Outcome.DEADLINE, sentence, silent, ASK_AGAIN_AFTER)


def ended(address: str) -> Failure:
    """Return the failure of a question whose stream the guard ended, as one does that stops."""
    sentence = f"the guard at {address} ended the stream of checks before it had answered"
    return Failure(Outcome.UNAVAILABLE, sentence, ask_again_after=ASK_AGAIN_AFTER)


def of_item(reason: str, message: str, address: str) -> Failure:
    """Return the failure of one question of a stream; `reason` is what ErrorInfo says where it is asked by itself."""
    if reason in _NO_ROOM_NOW:
        return Failure(Outcome.ERROR, _no_answer(address, reason, message), ask_again_after=ASK_AGAIN_AFTER)
    if reason == _JOURNAL_STALLED:
        return Failure(Outcome.UNAVAILABLE, _undecided(address, message), ask_again_after=ASK_AGAIN_AFTER)
    return refused(message)


def malformed(address: str, problem: str) -> Failure:
    """Return the failure of a response that is not an answer to the question."""
    return Failure(Outcome.ERROR, f"the response from {address} is not an answer: {problem}")


def refused(message: str) -> Failure:
    """Return the failure of a question that the guard could not judge."""
    return Failure(Outcome.ERROR, f"the guard refused the question, and asking again will not help: {message}")


def forked(problem: str) -> Failure:
    """Return the failure of a question in a process where gRPC does not run after a fork."""
    return Failure(Outcome.ERROR, problem)


def closed(address: str) -> Failure:
    """Return the failure of a question whose client is closed."""
    return Failure(Outcome.ERROR, f"this client of the guard at {address} has been closed")


def _undecided(address: str, details: str) -> str:
    return f"the guard at {address} cannot decide: {details}"


def _no_answer(address: str, why: str, details: str) -> str:
    return f"the guard at {address} gave no answer ({why}): {details}"
