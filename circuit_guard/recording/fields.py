"""The values of a recording's fields: decimals, times, names and whole numbers, each strict about what it takes.

Every reader here takes the JSON object, the key and the path of that object, and raises FieldError
with the field, the value and what was expected.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import NoReturn, TypeGuard

from circuit_guard.core.types import DIGITS_MAX, EXPONENT_MAX, SECOND_NS

JsonObject = dict[str, object]

NAME_LENGTH_MAX = 128
INTEGER_MAX = 2**63 - 1
YEAR_MIN, YEAR_MAX = 1970, 2261
"""The years whose nanoseconds since 1970 fit into a signed 64-bit integer."""

EXPECTED_DECIMAL = (
    f'a decimal as a string, such as "92600.1", of at most {DIGITS_MAX} digits and within 1e-{EXPONENT_MAX} .. '
    f"1e{EXPONENT_MAX}"
)
EXPECTED_TIME = 'a time in UTC as RFC 3339, such as "2026-01-19T04:30:00.250Z", with at most 9 decimals of a second'
EXPECTED_NAME = f"a string of 1 to {NAME_LENGTH_MAX} printable characters"
EXPECTED_INTEGER = "a whole number from 0 to 2^63-1"

_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,80}(?:\.[0-9]{0,80})?|\.[0-9]{1,80})(?:[eE][+-]?[0-9]{1,6})?")
_SECOND = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")
_SECOND_LENGTH = len("2026-01-19T04:30:00")
_FRACTION = re.compile(r"(?:\.([0-9]{1,9}))?(?:Z|\+00:00)")
_SHOWN_LENGTH_MAX = 60


class FieldError(ValueError):
    """A field is not what it must be; the text names the field, its value and what was expected."""


def refuse(body: JsonObject, key: str, where: str, expected: str) -> NoReturn:
    """Raise FieldError for `body[key]`."""
    field = f"{where}.{key}" if where else key
    if key not in body:
        raise FieldError(f"{field} is missing, expected {expected}")
    raise FieldError(f"{field} was {shown(body[key])}, expected {expected}")


def shown(value: object) -> str:
    """Return a value as it stands in the file, cut to a readable length."""
    try:
        text = json.dumps(value)
    except RecursionError:  # the parser came a few levels further than the way back
        return "nested too deeply to show"
    return text if len(text) <= _SHOWN_LENGTH_MAX else text[:_SHOWN_LENGTH_MAX] + "..."


def parse_decimal(text: str) -> Decimal | None:
    """Return the decimal that the text spells, or None where it spells none or one beyond the bounds."""
    if _DECIMAL.fullmatch(text) is None:
        return None
    value = Decimal(text)
    if abs(value.adjusted()) > EXPONENT_MAX:
        return None
    if len(text) > DIGITS_MAX and len(value.as_tuple().digits) > DIGITS_MAX:
        return None
    return value


def parse_time_ns(text: str) -> int | None:
    """Return the nanoseconds since 1970 that an RFC 3339 time in UTC means, or None where it is none."""
    second_ns = _second_ns(text[:_SECOND_LENGTH])
    fraction_ns = _fraction_ns(text[_SECOND_LENGTH:])
    if second_ns is None or fraction_ns is None:
        return None
    return second_ns + fraction_ns


@lru_cache(maxsize=4096)
def _second_ns(text: str) -> int | None:
    """Return the whole seconds of a time; cached because the lines of one second all share them."""
    if _SECOND.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None
    if not YEAR_MIN <= moment.year <= YEAR_MAX:
        return None
    return int(moment.timestamp()) * SECOND_NS


@lru_cache(maxsize=4096)
def _fraction_ns(text: str) -> int | None:
    """Return the decimals of a time; cached because milliseconds repeat."""
    match = _FRACTION.fullmatch(text)
    if match is None:
        return None
    return int((match[1] or "0").ljust(9, "0"))


def required_decimal(body: JsonObject, key: str, where: str) -> Decimal:
    """Return a decimal field."""
    text = body.get(key)
    value = parse_decimal(text) if type(text) is str else None
    if value is None:
        refuse(body, key, where, EXPECTED_DECIMAL)
    return value


def optional_decimal(body: JsonObject, key: str, where: str) -> Decimal | None:
    """Return a decimal field, or None where it is absent."""
    return required_decimal(body, key, where) if key in body else None


def required_size(body: JsonObject, key: str, where: str) -> Decimal:
    """Return a signed size in base units."""
    size = required_decimal(body, key, where)
    if not size:
        refuse(body, key, where, "a signed amount in base units, not zero")
    return size


def required_time_ns(body: JsonObject, key: str, where: str) -> int:
    """Return a time field in nanoseconds since 1970."""
    text = body.get(key)
    value = parse_time_ns(text) if type(text) is str else None
    if value is None:
        refuse(body, key, where, EXPECTED_TIME)
    return value


def required_name(body: JsonObject, key: str, where: str) -> str:
    """Return a name: a market, a source, an identifier."""
    value = body.get(key)
    if not is_name(value):
        refuse(body, key, where, EXPECTED_NAME)
    return value


def is_name(value: object) -> TypeGuard[str]:
    """Tell whether a value can name something."""
    return type(value) is str and 0 < len(value) <= NAME_LENGTH_MAX and value.isprintable()


def required_integer(body: JsonObject, key: str, where: str) -> int:
    """Return a counter. True and false are no numbers."""
    value = body.get(key)
    if type(value) is not int or not 0 <= value <= INTEGER_MAX:
        refuse(body, key, where, EXPECTED_INTEGER)
    return value


def required_names(body: JsonObject, key: str, where: str) -> tuple[str, ...]:
    """Return a list of names; it may be empty."""
    value = body.get(key)
    if not isinstance(value, list) or not all(is_name(name) for name in value) or len(set(value)) < len(value):
        refuse(body, key, where, f"a list of different names, each {EXPECTED_NAME}")
    return tuple(value)


def required_word(body: JsonObject, key: str, where: str, words: tuple[str, ...]) -> str:
    """Return one of a few words."""
    value = body.get(key)
    if not isinstance(value, str) or value not in words:
        refuse(body, key, where, "one of " + ", ".join(words))
    return value


def required_object(body: JsonObject, key: str, where: str) -> JsonObject:
    """Return a nested JSON object."""
    value = body.get(key)
    if not isinstance(value, dict):
        refuse(body, key, where, "a JSON object")
    return value


def refuse_unknown(body: JsonObject, known: frozenset[str], where: str) -> None:
    """Raise FieldError for the first field that the format does not have."""
    if known.issuperset(body):
        return
    unknown = next(key for key in body if key not in known)
    field = f"{where}.{unknown}" if where else unknown
    raise FieldError(f"{shown(field)} is not a field, expected only {', '.join(sorted(known))}")


def format_time(at_ns: int) -> str:
    """Return a time as RFC 3339 in UTC, with as many decimals as it needs."""
    second, fraction_ns = divmod(at_ns, SECOND_NS)
    text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    decimals = f"{fraction_ns:09d}".rstrip("0")
    return f"{text}.{decimals}Z" if decimals else f"{text}Z"
