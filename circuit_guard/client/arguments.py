"""Checks of what a caller hands in: a malformed question never leaves the process."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from enum import Enum
from unicodedata import is_normalized

NAME_CHARACTERS_MAX = 128
DIGITS_MAX = 40
MAGNITUDE_MIN = Decimal("1e-30")
MAGNITUDE_MAX = Decimal("1e30")

SHOWN_CHARACTERS_MAX = 80

_DECIMAL_EXPECTED = 'a decimal.Decimal made from text, for instance Decimal("92600.5")'
_FINITE_EXPECTED = f"a finite decimal of at most {DIGITS_MAX} digits and a magnitude within 1e-30 .. 1e30"


class ArgumentError(ValueError):
    """An argument cannot be used: which field, what it was, what was expected."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        super().__init__(field, value, expected)
        self.field = field
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.field} was {_shown(self.value)}, expected {self.expected}"


def name(field: str, value: object) -> None:
    """Refuse a name that is not 1 to 128 printable characters without space around them."""
    text = value if isinstance(value, str) else ""
    if not 0 < len(text) <= NAME_CHARACTERS_MAX or not text.isprintable() or text != text.strip():
        expected = f"1 to {NAME_CHARACTERS_MAX} printable characters without space around them"
        raise ArgumentError(field, value, expected)


def market(field: str, value: object) -> None:
    """Refuse what is no name of a market: as `name`, and in Unicode's form NFC."""
    name(field, value)
    if isinstance(value, str) and not is_normalized("NFC", value):
        raise ArgumentError(field, value, 'a name in Unicode\'s form NFC: unicodedata.normalize("NFC", name)')


def decimal(field: str, value: Decimal) -> None:
    """Refuse a value that is not a Decimal (a float has already lost digits), or cannot be computed with."""
    if not isinstance(value, Decimal):
        raise ArgumentError(field, value, _DECIMAL_EXPECTED)
    if not value.is_finite() or len(value.as_tuple().digits) > DIGITS_MAX:
        raise ArgumentError(field, value, _FINITE_EXPECTED)
    if value and not MAGNITUDE_MIN <= value.copy_abs() <= MAGNITUDE_MAX:
        raise ArgumentError(field, value, _FINITE_EXPECTED)


def optional_decimal(field: str, value: Decimal | None) -> None:
    """Refuse a value that is neither None, which means "not given", nor a usable Decimal."""
    if value is not None:
        decimal(field, value)


def size(field: str, value: Decimal) -> None:
    """Refuse a value that is not a signed size in base units, other than zero."""
    decimal(field, value)
    if value == 0:
        raise ArgumentError(field, value, "a size other than zero, in base units")


def fraction(field: str, value: Decimal) -> None:
    """Refuse a value that is not a fraction from 0 to 1."""
    decimal(field, value)
    if not 0 <= value <= 1:
        raise ArgumentError(field, value, "a fraction from 0 to 1")


def amount(field: str, value: Decimal) -> None:
    """Refuse a value that is not an amount in quote currency of 0 or more."""
    decimal(field, value)
    if value < 0:
        raise ArgumentError(field, value, "an amount in quote currency, 0 or more")


def choice(field: str, value: object, kind: type[Enum]) -> None:
    """Refuse a value that is not a member of the enumeration; its plain text is not."""
    if not isinstance(value, kind):
        members = ", ".join(f"{kind.__name__}.{member.name}" for member in kind)
        raise ArgumentError(field, value, f"one of {members}")


def instance(field: str, value: object, kind: type) -> None:
    """Refuse a value that is not of this type."""
    if not isinstance(value, kind):
        raise ArgumentError(field, value, f"an instance of {kind.__name__}")


def time(field: str, value: object) -> None:
    """Refuse a time without a time zone: it could be any of two dozen."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ArgumentError(field, value, "a datetime with a time zone, for instance datetime.now(UTC)")


def seconds(field: str, value: object, most: float) -> None:
    """Refuse a value that is not a duration in seconds, more than 0 and at most `most`."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 < value <= most
    if not good:
        raise ArgumentError(field, value, f"seconds, more than 0 and at most {most:g}")


def _shown(value: object) -> str:
    """Return a value fit for a message: as Python writes it, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}... ({len(text)} characters)"
