"""`@guarded`: a plain function that closes positions runs only after the guard has allowed it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from circuit_guard.client.aio import AsyncGuardClient
from circuit_guard.client.client import GuardClient
from circuit_guard.client.denied import Mapped, require, require_async

P = ParamSpec("P")
R = TypeVar("R")


def guarded(
    client: GuardClient | AsyncGuardClient, mapping: Callable[P, Mapped]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for a function that takes what `mapping` takes.

    The function runs where `mapping` returns None, and where every closure that it returns is allowed; otherwise
    ClosureDenied is raised in its place. A GuardClient is for plain functions, an AsyncGuardClient for `async def`;
    the wrong one raises TypeError at once.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if isinstance(client, AsyncGuardClient):
            return _asynchronous(client, mapping, function)
        return _synchronous(client, mapping, function)

    return decorate


def _synchronous(
    client: GuardClient, mapping: Callable[..., Mapped], function: Callable[..., Any]
) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function!r} is asynchronous, expected a plain function with a GuardClient")

    @functools.wraps(function)
    def asking(*args: Any, **kwargs: Any) -> Any:
        require(client, mapping(*args, **kwargs))
        return function(*args, **kwargs)

    return asking


def _asynchronous(
    client: AsyncGuardClient, mapping: Callable[..., Mapped], function: Callable[..., Any]
) -> Callable[..., Any]:
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{function!r} is not asynchronous, expected an `async def` with an AsyncGuardClient")

    @functools.wraps(function)
    async def asking(*args: Any, **kwargs: Any) -> Any:
        await require_async(client, mapping(*args, **kwargs))
        return await function(*args, **kwargs)

    return asking
