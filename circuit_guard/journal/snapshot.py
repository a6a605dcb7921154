"""A copy of the state at one instant, cheap enough to be made between two inputs.

The types say what can change. They are looked at once, not the tens of thousands of values each time.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from operator import methodcaller
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from circuit_guard.core.state import GuardState

Copier = Callable[[Any], Any]

_PARAMETERS = "__dataclass_params__"


def snapshot(state: GuardState) -> GuardState:
    """Return a copy that later changes of the state do not reach.

    What can change is copied; frozen dataclasses and tuples are values, and are shared.
    """
    copied: GuardState = _COPY(state)
    return copied


@cache
def _copier_of(hint: Any) -> Copier | None:
    """Return the function that copies what a type holds; None where that cannot change. Raise TypeError if unknown."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _optional(*(kind for kind in arguments if kind is not NoneType))
    if origin in (dict, OrderedDict):
        return _mapping(origin, _copier_of(arguments[1]))
    if origin in (deque, list):
        return _sequence(origin, _copier_of(arguments[0]))
    if origin is set:
        return set.copy
    if origin not in (None, tuple, frozenset):
        raise TypeError(f"{hint} is a container that a snapshot does not know how to copy")
    return _dataclass(hint) if is_dataclass(hint) and not getattr(hint, _PARAMETERS).frozen else None


def _optional(kind: Any) -> Copier | None:
    copy = _copier_of(kind)
    return None if copy is None else lambda value: None if value is None else copy(value)


def _mapping(kind: Any, copy: Copier | None) -> Copier:
    if copy is None:
        return methodcaller("copy")
    return lambda value: kind((key, copy(item)) for key, item in value.items())


def _sequence(kind: Any, copy: Copier | None) -> Copier:
    return methodcaller("copy") if copy is None else lambda value: kind(map(copy, value))


def _dataclass(kind: Any) -> Copier:
    hints = get_type_hints(kind)
    parts = [(field.name, _copier_of(hints[field.name])) for field in fields(kind) if field.init]
    derived = [(field.name, field.default) for field in fields(kind) if not field.init]

    def copied(value: Any) -> Any:
        twin = object.__new__(kind)
        for name, copy in parts:
            item = getattr(value, name)
            setattr(twin, name, item if copy is None else copy(item))
        for name, nothing in derived:
            setattr(twin, name, nothing)
        return twin

    return copied


_COPY = _dataclass(GuardState)
