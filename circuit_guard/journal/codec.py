"""Values of the core as text and back: exact, and the same bytes for the same value.

JSON in ASCII; a decimal is its text, a dataclass an object with every field, a set is sorted, a dict whose keys are no
text is a list of pairs. What is decoded is told apart by name: `{"Tick":{"at_ns":1}}`.
(pydantic reads a union of dataclasses by likeness, so that an observation with a signalling NaN comes back as a Tick.)

Compatibility: a new field must have a default, and may stand anywhere; records from before it decode with that default.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar, get_args, get_type_hints

from circuit_guard.core.facts import Fact
from circuit_guard.core.inputs import Check, Input, OrdersCheck
from circuit_guard.core.policy import MarketPolicy, Policy
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import Decision
from circuit_guard.journal.decoding import CodecError, Decoder, decoder_of
from circuit_guard.journal.record import CheckpointNote, DecisionsDropped, Snapshot, Start

T = TypeVar("T")

KNOWN = {
    kind.__name__: kind
    for kind in get_args(
        Input
        | Check
        | OrdersCheck
        | Fact
        | Decision
        | GuardState
        | Policy
        | Snapshot
        | Start
        | CheckpointNote
        | DecisionsDropped
    )
}
"""Everything that can be encoded, by name."""

__all__ = ["KNOWN", "CodecError", "decode", "decode_as", "encode"]


def encode(value: object) -> str:
    """Return a value of a known type as text. Raise CodecError for one of another type."""
    name = type(value).__name__
    if KNOWN.get(name) is not type(value):
        raise CodecError(f"a value was of type {name}, expected one of {', '.join(KNOWN)}")
    return _json({name: value})


def decode(text: str) -> object:
    """Return the value that a text encodes. Raise CodecError for a text that encodes none."""
    try:
        [(name, plain)] = json.loads(text).items()
    except (ValueError, AttributeError, RecursionError):
        raise CodecError(f"a payload was {text[:80]!r}, expected an object with one key") from None
    if name not in KNOWN:
        raise CodecError(
            f"a payload was of type {name!r}, expected one of {', '.join(KNOWN)}: it is of a newer version"
        )
    return _decoder(name)(plain)


def decode_as(expected: type[T], text: str) -> T:
    """Return the value that a text encodes. Raise CodecError where that is none of the type expected."""
    value = decode(text)
    if not isinstance(value, expected):
        raise CodecError(f"a payload was of type {type(value).__name__}, expected {expected.__name__}")
    return value


@cache
def _decoder(name: str) -> Decoder:
    return decoder_of(KNOWN[name])


def _plain(value: Any) -> Any:
    """Return what JSON has no form for in one that it has."""
    match value:
        case Decimal():
            return str(value)
        case deque():
            return list(value)
        case set() | frozenset():
            return sorted(value)
        case Mapping():
            return dict(value)
        case MarketPolicy():
            return value.plain()
        case _ if is_dataclass(value):
            kind: Any = type(value)
            return _fields_of(kind)(value)
    raise CodecError(f"a value was of type {type(value).__name__}, expected one that has a form in JSON")


@cache
def _fields_of(kind: Any) -> Callable[[Any], dict[str, Any]]:
    """Return the function that takes values of a dataclass apart."""
    names = [field.name for field in fields(kind) if field.init]
    hints = get_type_hints(kind)
    paired = [name for name in names if _has_other_keys(hints[name])]
    values_of = attrgetter(*names, names[0])  # the first twice: attrgetter of one name gives no tuple

    def apart(value: Any) -> dict[str, Any]:
        plain = dict(zip(names, values_of(value), strict=False))
        for name in paired:
            plain[name] = list(plain[name].items())
        return plain

    return apart


def _has_other_keys(hint: Any) -> bool:
    """Return whether a type is of dicts whose keys are no text."""
    origin = getattr(hint, "__origin__", None)
    return isinstance(origin, type) and issubclass(origin, dict) and not issubclass(hint.__args__[0], str)


_json = json.JSONEncoder(separators=(",", ":"), default=_plain, check_circular=False, allow_nan=False).encode
