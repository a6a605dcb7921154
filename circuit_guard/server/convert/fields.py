"""Reads one field of a request. A value that cannot be used is refused with its path, the value and what was expected.

Empty text means "not given"; it never becomes zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from circuit_guard.core.names import EXPECTED_MARKET, is_market
from circuit_guard.core.types import DIGITS_MAX, EXPONENT_MAX, SECOND_NS
from circuit_guard.errors import WireError

T = TypeVar("T")

NAME_CHARACTERS_MAX = 128
REASON_CHARACTERS_MAX = 512
DECIMAL_CHARACTERS_MAX = 64
LASTING_CHARACTERS_MAX = 24
COUNT_MAX = 2**63 - 1

MAGNITUDE_MAX = Decimal(1).scaleb(EXPONENT_MAX)

SECONDS_MIN = -62_135_596_800
SECONDS_MAX = 253_402_300_799
"""The years 1 to 9999: all that google.protobuf.Timestamp may hold."""

NOT_GIVEN = ""

PLAIN = r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?"
"""A finite decimal as nearly everybody writes it; `decimal` takes more. It may be a negative zero."""
_NEARLY_ALWAYS = re.compile(rf"(?!-?0(?:\.0+)?$){PLAIN}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?", re.ASCII)
_NOT_A_NUMBER = re.compile(r"[+-]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_DECIMAL_EXPECTED = f"a decimal of at most {DIGITS_MAX} digits, for instance 92600.5"
_FINITE_EXPECTED = (
    f"a finite decimal of at most {DIGITS_MAX} digits and a magnitude within 1e-{EXPONENT_MAX} .. 1e{EXPONENT_MAX}"
)


def text(value: str, path: str, name: str, characters_max: int = NAME_CHARACTERS_MAX) -> str:
    """Return required text: printable, not empty, without space around it."""
    if 0 < len(value) <= characters_max and value.isprintable() and value == value.strip():
        return value
    raise error(path, name, value, f"1 to {characters_max} printable characters without space around them")


def market(value: str, path: str, name: str) -> str:
    """Return the required name of a market."""
    if is_market(text(value, path, name)):
        return value
    raise error(path, name, value, EXPECTED_MARKET)


def decimal(value: str, path: str, name: str) -> Decimal | None:
    """Return the decimal, NaN and infinities included; None where it was not given."""
    if not value:
        return None
    if _NEARLY_ALWAYS.fullmatch(value):
        return Decimal(value)
    if len(value) <= DECIMAL_CHARACTERS_MAX:
        if _NUMBER.fullmatch(value):
            number = Decimal(value)
            if len(value) <= DIGITS_MAX or len(number.as_tuple().digits) <= DIGITS_MAX:
                return number if number else Decimal(0)
        elif _NOT_A_NUMBER.fullmatch(value):
            return Decimal(value)
    raise error(path, name, value, _DECIMAL_EXPECTED)


def lasting(value: str, path: str, name: str) -> Decimal | None:
    """Return the decimal as `decimal` does; the same object for the same text, of which a feed has one for minutes."""
    known = _known_decimal(value) if 0 < len(value) <= LASTING_CHARACTERS_MAX else None
    return decimal(value, path, name) if known is None else known


@lru_cache(maxsize=4096)
def _known_decimal(value: str) -> Decimal | None:
    return Decimal(value) if _NEARLY_ALWAYS.fullmatch(value) else None


def finite(value: str, path: str, name: str) -> Decimal | None:
    """Return a decimal that can be computed with; None where it was not given."""
    if _NEARLY_ALWAYS.fullmatch(value):
        return Decimal(value)
    number = decimal(value, path, name)
    if number is None or (number.is_finite() and (not number or -EXPONENT_MAX <= number.adjusted() < EXPONENT_MAX)):
        return number
    if number.is_finite() and number.copy_abs() == MAGNITUDE_MAX:
        return number
    raise error(path, name, value, _FINITE_EXPECTED)


def required(value: str, path: str, name: str) -> Decimal:
    """Return a decimal that can be computed with and must be given."""
    number = finite(value, path, name)
    if number is None:
        raise error(path, name, value, _FINITE_EXPECTED)
    return number


def size(value: str, path: str, name: str) -> Decimal:
    """Return a signed size in base units, which must be given and not be zero."""
    number = required(value, path, name)
    if number == 0:
        raise error(path, name, value, "a size other than zero, in base units")
    return number


def fraction(value: str, path: str, name: str) -> Decimal:
    """Return a fraction from 0 to 1, which must be given."""
    number = required(value, path, name)
    if not 0 <= number <= 1:
        raise error(path, name, value, "a fraction from 0 to 1")
    return number


def amount(value: str, path: str, name: str) -> Decimal:
    """Return an amount in quote currency of 0 or more, which must be given."""
    number = required(value, path, name)
    if number < 0:
        raise error(path, name, value, "an amount in quote currency, 0 or more")
    return number


def count(value: int | None, path: str, name: str) -> int:
    """Return a count from 0 to 2^63 - 1; None, where it was not given, is refused."""
    if value is None or not 0 <= value <= COUNT_MAX:
        raise error(path, name, NOT_GIVEN if value is None else str(value), "a whole number, 0 or more")
    return value


def seconds(value: str, path: str, name: str, most: int) -> Decimal | None:
    """Return a duration of more than 0 s to `most` seconds; None where it was not given."""
    number = finite(value, path, name)
    if number is not None and not 0 < number <= most:
        raise error(path, name, value, f"seconds, above 0 and at most {most}")
    return number


def names(market_name: str, source: str, path: str) -> tuple[str, str]:
    """Return the names of a market and of a source: always the same two texts, which a feed has in each message."""
    try:
        return _known_names(market_name, source)
    except WireError:
        return market(market_name, path, "market"), text(source, path, "source")


@lru_cache(maxsize=8192)
def _known_names(market_name: str, source: str) -> tuple[str, str]:
    return market(market_name, "", "market"), text(source, "", "source")


def time_ns(value: Timestamp | None, path: str, name: str) -> int:
    """Return nanoseconds since the Unix epoch; None, where no time was given, is refused."""
    if value is None:
        raise error(path, name, NOT_GIVEN, "a time")
    if SECONDS_MIN <= value.seconds <= SECONDS_MAX and 0 <= value.nanos < SECOND_NS:
        return value.seconds * SECOND_NS + value.nanos
    shown = f"{value.seconds} s + {value.nanos} ns"
    raise error(path, name, shown, "a time of the years 1 to 9999 with 0 to 999999999 nanos")


def duration_ns(value: Duration, path: str, name: str, most_ns: int) -> int:
    """Return a duration in nanoseconds, more than 0 and at most `most_ns`."""
    given_ns = value.seconds * SECOND_NS + value.nanos
    if 0 < given_ns <= most_ns and 0 <= value.nanos < SECOND_NS:
        return given_ns
    shown = f"{value.seconds} s + {value.nanos} ns"
    raise error(path, name, shown, f"more than 0 s and at most {most_ns // SECOND_NS} s")


def choice(number: int, path: str, name: str, choices: Mapping[int, T]) -> T:
    """Return what the number of an enumeration stands for; unknown and unspecified numbers are refused."""
    if number in choices:
        return choices[number]
    known = ", ".join(f"{key} ({value})" for key, value in choices.items())
    raise error(path, name, str(number), f"one of {known}")


def error(path: str, name: str, value: str, expected: str) -> WireError:
    """Return the error for the field `name` of the message at `path`."""
    return WireError(f"{path}.{name}" if path else name, value, expected)
