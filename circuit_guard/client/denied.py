"""What the middleware has in common: from what it stands in front of to closures, and from denials to an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

import grpc
from grpc import aio

from circuit_guard.client.aio import AsyncGuardClient
from circuit_guard.client.answers import Answer, Source
from circuit_guard.client.arguments import ArgumentError
from circuit_guard.client.client import GuardClient
from circuit_guard.client.questions import Closure

Mapped: TypeAlias = Closure | Sequence[Closure] | None
"""What a mapping returns: the closures that are about to happen, or None where nothing is closed."""

RequestMapping: TypeAlias = Callable[[str, Any], Mapped]
"""Is given the method (`/package.Service/Method`) and the request of every call. What it raises stops the call."""

DETAILS_CHARACTERS_MAX = 2000


class ClosureDenied(aio.AioRpcError):
    """At least one of the closures that were asked about must not go ahead, so none of them does.

    It is the error of a gRPC call as well, for code around both kinds of channels: FAILED_PRECONDITION where the guard
    denied, UNAVAILABLE where it gave no answer. `answers` are all of them; `denied` those that denied.
    """

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = tuple(answers)
        self.denied = tuple(answer for answer in answers if not answer)
        by_guard = any(answer.source is Source.GUARD for answer in self.denied)
        code = grpc.StatusCode.FAILED_PRECONDITION if by_guard else grpc.StatusCode.UNAVAILABLE
        super().__init__(code, aio.Metadata(), aio.Metadata(), _details(self.denied, len(self.answers)))

    @property
    def ask_again_after(self) -> timedelta | None:
        """When asking again can help; None: not before somebody has acted."""
        waits = [answer.ask_again_after for answer in self.denied]
        known = [wait for wait in waits if wait is not None]
        return max(known) if len(known) == len(waits) else None

    def result(self, timeout: float | None = None) -> None:
        """Raise this error: interceptors outside of ours take it for a call that has ended."""
        raise self

    def __str__(self) -> str:
        return self.details() or ""

    def __reduce__(self) -> tuple[type[ClosureDenied], tuple[tuple[Answer, ...]]]:
        return type(self), (self.answers,)


def closures_of(mapped: object) -> tuple[Closure, ...]:
    """Return the closures that a mapping found; none where it returned None. Anything else raises ArgumentError."""
    if mapped is None:
        return ()
    if isinstance(mapped, Closure):
        return (mapped,)
    if isinstance(mapped, list | tuple) and mapped and all(isinstance(one, Closure) for one in mapped):
        return tuple(mapped)
    raise ArgumentError("the mapping's result", mapped, "a Closure, a list of them, or None where nothing is closed")


def require(client: GuardClient, mapped: object) -> None:
    """Ask about what a mapping found. Raise ClosureDenied unless every closure may go ahead."""
    closures = closures_of(mapped)
    if closures:
        _judge((client.check(closures[0]),) if len(closures) == 1 else client.check_many(closures))


async def require_async(client: AsyncGuardClient, mapped: object) -> None:
    """Ask about what a mapping found. Raise ClosureDenied unless every closure may go ahead."""
    closures = closures_of(mapped)
    if closures:
        _judge((await client.check(closures[0]),) if len(closures) == 1 else await client.check_many(closures))


def _judge(answers: Sequence[Answer]) -> None:
    if not all(answer.allowed for answer in answers):
        raise ClosureDenied(answers)


def _details(denied: Sequence[Answer], asked: int) -> str:
    """Return the first denial in ASCII, as a gRPC message holds it, and how many there are."""
    first = denied[0].explanation.encode("ascii", "backslashreplace").decode("ascii")
    cut = first if len(first) <= DETAILS_CHARACTERS_MAX else f"{first[:DETAILS_CHARACTERS_MAX]}..."
    return cut if asked == 1 else f"{len(denied)} of {asked} closures are denied, so none goes ahead; the first: {cut}"
