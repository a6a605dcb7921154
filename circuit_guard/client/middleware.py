"""What stands in front of code that closes positions: it asks first, and a denial is an error.

`@guarded` is for plain functions; the interceptors for gRPC are in `client_interceptor` and `server_interceptor`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, ParamSpec, TypeAlias, TypeVar

import grpc
from grpc import aio

from circuit_guard.client.answers import Answer, Source
from circuit_guard.client.arguments import ArgumentError
from circuit_guard.client.client import AsyncGuardClient, GuardClient
from circuit_guard.client.questions import Closure

P = ParamSpec("P")
R = TypeVar("R")

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
        """When asking again can help; None: not until an operator has acted."""
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
    """Return the closures that a mapping found; none where it returned None. Anything else raises ArgumentError.

    Each is judged anew: what is asked here goes ahead at once, whatever its request_id was told before.
    """
    if mapped is None:
        return ()
    if isinstance(mapped, Closure):
        return (replace(mapped, judge_anew=True),)
    if isinstance(mapped, list | tuple) and mapped and all(isinstance(one, Closure) for one in mapped):
        return tuple(replace(one, judge_anew=True) for one in mapped)
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


def guarded(
    client: GuardClient | AsyncGuardClient, mapping: Callable[P, Mapped]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for a function that takes what `mapping` takes.

    The function runs where `mapping` returns None, and where every closure that it returns is allowed; otherwise
    ClosureDenied is raised in its place. A GuardClient is for plain functions, an AsyncGuardClient for `async def`;
    the wrong one raises TypeError at once.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        call: Any = function
        wrapped: Any
        if isinstance(client, AsyncGuardClient):
            if not inspect.iscoroutinefunction(call):
                raise TypeError(f"{call!r} is not asynchronous, expected an `async def` with an AsyncGuardClient")

            @functools.wraps(call)
            async def asking_first(*args: Any, **kwargs: Any) -> Any:
                await require_async(client, mapping(*args, **kwargs))
                return await call(*args, **kwargs)

            wrapped = asking_first
        else:
            if inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call):
                raise TypeError(f"{call!r} is asynchronous, expected a plain function with a GuardClient")

            @functools.wraps(call)
            def asking(*args: Any, **kwargs: Any) -> Any:
                require(client, mapping(*args, **kwargs))
                return call(*args, **kwargs)

            wrapped = asking
        result: Callable[P, R] = wrapped
        return result

    return decorate
