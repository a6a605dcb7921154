"""A copy of the state at one instant, cheap enough to be made between two inputs."""

from __future__ import annotations

from collections import OrderedDict, deque
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_PARAMETERS = "__dataclass_params__"


def snapshot(value: T) -> T:
    """Return a copy that later changes of the value do not reach.

    What can change is copied; frozen dataclasses and tuples are values, and are shared.
    """
    copied: T = _copied(value)
    return copied


def _copied(value: Any) -> Any:
    match value:
        case dict() if value and isinstance(next(iter(value.values())), tuple):
            return value.copy()  # a shortcut: the thousands of remembered answers are values
        case OrderedDict():
            return OrderedDict((key, _copied(item)) for key, item in value.items())
        case dict():
            return {key: _copied(item) for key, item in value.items()}
        case deque():
            return deque(map(_copied, value), value.maxlen)
        case list():
            return [_copied(item) for item in value]
        case set():
            return set(value)
        case _ if is_dataclass(value) and not getattr(value, _PARAMETERS).frozen:
            twin = copy(value)
            for field in fields(value):
                setattr(twin, field.name, _copied(getattr(value, field.name)))
            return twin
        case _:
            return value
