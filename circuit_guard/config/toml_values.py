"""The kinds of value that policy and settings are written with. Each knows its bounds and says them when refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from circuit_guard.core.types import ARITHMETIC
from circuit_guard.errors import shown

EXPECTED = "circuit_guard_expected"
"""The pydantic error type of this module: its context holds `expected`, the rest of the sentence."""

_PLAIN_DECIMAL = "-?[0-9]{1,20}([.][0-9]{1,20})?"


@dataclass(frozen=True, slots=True)
class Number:
    """A decimal: in TOML a string such as "0.02", or an integer. Floats, exponents and booleans are refused.

    Give exactly one of `over` (exclusive) and `least` (inclusive).
    """

    most: Decimal
    over: Decimal | None = None
    least: Decimal | None = None
    places: int = 12

    @property
    def bounds(self) -> str:
        """Return the interval as the end of a sentence."""
        low = f"more than {self.over}" if self.over is not None else f"at least {self.least}"
        return f"{low} and at most {self.most}"

    def read(self, value: object) -> Decimal:
        """Return the value as a decimal, or raise the pydantic error that says what was expected."""
        if isinstance(value, float):
            raise expected(f'a number {self.bounds}: floats are not exact, write it as a string such as "0.02"')
        if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
            raise expected(f'an integer or a decimal string such as "0.02", {self.bounds}')
        if isinstance(value, str) and not re.fullmatch(_PLAIN_DECIMAL, value):
            raise expected(f'plain decimal digits such as "0.02", {self.bounds}')
        number = Decimal(value)
        if not number.is_finite() or not self._within(number):
            raise expected(f"a number {self.bounds}")
        if number != number.quantize(Decimal(1).scaleb(-self.places), context=ARITHMETIC):
            raise expected(f"at most {self.places} decimals")
        return number

    def _within(self, number: Decimal) -> bool:
        low = number > self.over if self.over is not None else self.least is None or number >= self.least
        return low and number <= self.most

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.read, serialization=core_schema.to_string_ser_schema(when_used="json")
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        low = {"exclusiveMinimum": int(self.over)} if self.over is not None else {"minimum": int(self.least or 0)}
        integer = {"type": "integer", **low, "maximum": int(self.most)}
        return {"anyOf": [integer, {"type": "string", "pattern": f"^{_PLAIN_DECIMAL}$"}], "$comment": self.bounds}


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within bounds. `text`: digits in a string are taken too (environment variables are text)."""

    least: int
    most: int
    text: bool = False

    def read(self, value: object) -> int:
        """Return the value as an int, or raise the pydantic error that says what was expected."""
        if self.text and isinstance(value, str) and re.fullmatch("[0-9]{1,10}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= self.most:
            raise expected(f"a whole number from {self.least} to {self.most}")
        return value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Name:
    """A short name of letters, digits and . _ : / -, e.g. of a market or a source."""

    expected: str = "a name of 1 to 64 letters, digits and . _ : / - that starts with a letter or digit"
    pattern: str = "[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}"

    def read(self, value: object) -> str:
        """Return the name, or raise the pydantic error that says what was expected."""
        if not isinstance(value, str) or not re.fullmatch(self.pattern, value):
            raise expected(self.expected)
        return value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^{self.pattern}$"}


def expected(sentence: str) -> PydanticCustomError:
    """Return the error that makes `Violation.expected` this sentence."""
    return PydanticCustomError(EXPECTED, "expected {expected}", {"expected": sentence})


def show_value(value: object) -> str:
    """Return a value as messages show it: short, and on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 128 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, float):
        return f"{value} (a float)"
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list | tuple) else str(value)
