"""What it means that there is no answer, in words that a person on call can act on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import grpc

from circuit_guard.client.answers import Outcome

DETAILS_KEY = "grpc-status-details-bin"
"""The trailing metadata that carry a google.rpc.Status: only somebody who answered can send them."""

ASK_AGAIN_AFTER = timedelta(seconds=1)
"""No sooner is a guard that was gone found again for certain: the longest wait between two attempts to connect."""

_REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.OUT_OF_RANGE)
_NOT_PERMITTED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer.

    `silent`: nobody answered in time. Only then may a fail policy open; somebody who said something else than ALLOW
    is no reason to let a closure through. `ask_again_after` None: asking again does not help before somebody has acted.
    """

    outcome: Outcome
    sentence: str
    silent: bool
    ask_again_after: timedelta | None


def of_call(error: grpc.RpcError, address: str, deadline_s: float) -> Failure:
    """Return why a call failed."""
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return Failure(Outcome.ERROR, f"asking the guard at {address} failed: {error!r}", False, ASK_AGAIN_AFTER)
    code, details = error.code(), error.details() or "no details"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        sentence = f"the guard at {address} did not answer within {deadline_s:g} s"
        return Failure(Outcome.DEADLINE, sentence, True, ASK_AGAIN_AFTER)
    if code is grpc.StatusCode.UNAVAILABLE:
        if any(key == DETAILS_KEY for key, _ in error.trailing_metadata() or ()):
            sentence = f"the guard at {address} decides nothing now: {details}"
            return Failure(Outcome.UNAVAILABLE, sentence, False, ASK_AGAIN_AFTER)
        sentence = f"no guard answers at {address} ({details})"
        return Failure(Outcome.UNAVAILABLE, sentence, True, ASK_AGAIN_AFTER)
    if code in _REFUSED:
        return refused(details)
    if code in _NOT_PERMITTED:
        sentence = f"the guard at {address} does not let this client ask ({code.name}): {details}"
        return Failure(Outcome.ERROR, sentence, False, None)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        sentence = f"what answers at {address} is no circuit_guard, or one of another version: {details}"
        return Failure(Outcome.ERROR, sentence, False, None)
    return Failure(
        Outcome.ERROR, f"the guard at {address} gave no answer ({code.name}): {details}", False, ASK_AGAIN_AFTER
    )


def malformed(address: str, problem: str) -> Failure:
    """Return the failure of something that came back and is no answer."""
    sentence = f"what came back from {address} is no answer: {problem}"
    return Failure(Outcome.ERROR, sentence, False, None)


def refused(message: str) -> Failure:
    """Return the failure of one item of a batch that the guard could not judge."""
    return Failure(
        Outcome.ERROR, f"the guard refused the question, and asking it again will not help: {message}", False, None
    )


def closed(address: str) -> Failure:
    """Return the failure of a question that was asked after, or while, the client was closed."""
    sentence = f"this client of the guard at {address} has been closed"
    return Failure(Outcome.ERROR, sentence, False, None)
