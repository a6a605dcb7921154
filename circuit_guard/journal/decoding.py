"""From plain JSON values to the types they were encoded from. A type is read once; its decoder is kept."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import cache
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

from circuit_guard.core.policy import MARKET_FIELDS, MarketPolicy
from circuit_guard.core.rulebook import GROUPS
from circuit_guard.journal.errors import JournalError

Decoder = Callable[[Any], Any]

_CONTAINERS: dict[Any, Any] = {Mapping: dict}
"""What is built for an annotation that names no type one can build."""


class CodecError(JournalError):
    """A value cannot be encoded, or a text is not one that this version of the program writes."""


@cache
def decoder_of(hint: Any) -> Decoder:
    """Return the function that makes a value of the type from a plain one. Raise CodecError for an unknown type."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _optional(hint)
    if origin is tuple:
        return _tuple(get_args(hint))
    if origin is not None:
        return _container(_CONTAINERS.get(origin, origin), get_args(hint), hint)
    if hint is Decimal:
        return _decimal
    if hint in (int, str, bool):
        return _exactly(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _member(hint)
    if hint is MarketPolicy:
        return _market_policy
    if is_dataclass(hint):
        return _dataclass(hint)
    if isinstance(hint, type) and issubclass(hint, tuple):
        return _named_tuple(hint)
    raise CodecError(f"the type {hint} has no form in the journal")


def _refuse(value: object, expected: str) -> NoReturn:
    raise CodecError(f"a recorded value was {str(value)[:80]!r}, expected {expected}")


def _exactly(kind: type) -> Decoder:
    def decode(value: Any) -> Any:
        return value if type(value) is kind else _refuse(value, f"of type {kind.__name__}")

    return decode


def _decimal(value: Any) -> Decimal:
    if type(value) is not str:
        _refuse(value, "a decimal as text")
    try:
        return Decimal(value)
    except InvalidOperation:
        _refuse(value, "a decimal as text")


def _member(kind: type[Enum]) -> Decoder:
    members = {member.value: member for member in kind}

    def decode(value: Any) -> Any:
        try:
            return members[value]
        except (KeyError, TypeError):
            _refuse(value, f"a {kind.__name__}")

    return decode


def _optional(hint: Any) -> Decoder:
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    if len(kinds) != 1 or len(get_args(hint)) != 2:
        raise CodecError(f"the type {hint} has no form in the journal: only a union with None has")
    decode_given = decoder_of(kinds[0])
    return lambda value: None if value is None else decode_given(value)


def _list(value: Any) -> list[Any]:
    return value if type(value) is list else _refuse(value, "a list")


def _pair(value: Any) -> list[Any]:
    pair = _list(value)
    return pair if len(pair) == 2 else _refuse(value, "a key and its value")


def _tuple(kinds: tuple[Any, ...]) -> Decoder:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        decode_each = decoder_of(kinds[0])
        return lambda value: tuple(map(decode_each, _list(value)))
    decoders = [decoder_of(kind) for kind in kinds]

    def decode(value: Any) -> tuple[Any, ...]:
        if len(_list(value)) != len(decoders):
            _refuse(value, f"{len(decoders)} values")
        return tuple(decode_one(item) for decode_one, item in zip(decoders, value, strict=True))

    return decode


def _container(build: Any, arguments: tuple[Any, ...], hint: Any) -> Decoder:
    if build in (deque, list, set, frozenset):
        decode_each = decoder_of(arguments[0])
        return lambda value: build(map(decode_each, _list(value)))
    if not (isinstance(build, type) and issubclass(build, dict)):
        raise CodecError(f"the type {hint} has no form in the journal")
    decode_key, decode_item = decoder_of(arguments[0]), decoder_of(arguments[1])
    named = isinstance(arguments[0], type) and issubclass(arguments[0], str)

    def decode(value: Any) -> Any:
        if named and type(value) is not dict:
            _refuse(value, "an object")
        pairs = value.items() if named else map(_pair, _list(value))
        return build((decode_key(key), decode_item(item)) for key, item in pairs)

    return decode


def _named_tuple(kind: Any) -> Decoder:
    hints = get_type_hints(kind)
    decoders = [decoder_of(hints[name]) for name in kind._fields]
    least = len(decoders) - len(kind._field_defaults)

    def decode(value: Any) -> Any:
        if not least <= len(_list(value)) <= len(decoders):
            _refuse(value, f"the {len(decoders)} values of a {kind.__name__}")
        return kind(*(decode_one(item) for decode_one, item in zip(decoders, value, strict=False)))

    return decode


def _market_policy(value: Any) -> MarketPolicy:
    """Return a market's policy. Tables that it has not are those of rules that came later: they do not run."""
    if type(value) is not dict:
        _refuse(value, "the fields of a MarketPolicy")
    given = dict(value)
    tables = {group.TABLE: given.pop(group.TABLE, None) for group in GROUPS}
    groups = {}
    for group in GROUPS:
        table = tables[group.TABLE]
        if table is not None and (named := {one.name for one in fields(group)} & table.keys()):
            groups[group] = decoder_of(group)({name: table[name] for name in named})
    hints = get_type_hints(MarketPolicy)
    own = {name: decoder_of(hints[name])(given.pop(name)) for name in MARKET_FIELDS if name in given}
    if given:
        _refuse(sorted(given), f"the fields of a MarketPolicy; {', '.join(sorted(given))} differ")
    return MarketPolicy(groups=groups, **own)


def _dataclass(kind: Any) -> Decoder:
    hints = get_type_hints(kind)
    decoders = {field.name: decoder_of(hints[field.name]) for field in fields(kind) if field.init}
    needed = {field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING}

    def decode(value: Any) -> Any:
        if type(value) is not dict:
            _refuse(value, f"the fields of a {kind.__name__}")
        if value.keys() != decoders.keys() and (unlike := needed - value.keys() or value.keys() - decoders.keys()):
            _refuse(sorted(value), f"the fields of a {kind.__name__}; {', '.join(sorted(unlike))} differ")
        return kind(**{name: decoders[name](item) for name, item in value.items()})

    return decode
