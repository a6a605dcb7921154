"""TOML documents: the kinds of value in them, each with bounds that it says when it refuses one, and the reading of a
document into a pydantic model so that everything wrong with it is said at once.
"""

from __future__ import annotations

import re
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from circuit_guard.core.types import ARITHMETIC
from circuit_guard.errors import DocumentError, Problem, shown
from circuit_guard.files import FileRefused, read_regular

EXPECTED = "circuit_guard_expected"
"""The pydantic error type of this module: its context holds `expected`, the rest of the sentence."""

LISTED_MAX = 100
"""Texts in one list."""
_PLAIN_DECIMAL = "-?[0-9]{1,20}([.][0-9]{1,20})?"


class ValueKind(ABC):
    """A kind of value, to annotate a field of a pydantic model with."""

    @abstractmethod
    def read(self, value: object) -> object:
        """Return the value, or raise the pydantic error that says what was expected."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)


@dataclass(frozen=True)
class Number(ValueKind):
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


@dataclass(frozen=True)
class Whole(ValueKind):
    """A whole number within bounds. `text`: digits in a string are taken too (environment variables are text)."""

    least: int
    most: int
    text: bool = False

    def read(self, value: object) -> int:
        if self.text and isinstance(value, str) and re.fullmatch("[0-9]{1,10}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= self.most:
            raise expected(f"a whole number from {self.least} to {self.most}")
        return value

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Name(ValueKind):
    """A short name of letters, digits and . _ : / -, e.g. of a market or a source."""

    expected: str = "a name of 1 to 64 letters, digits and . _ : / - that starts with a letter or digit"
    pattern: str = "[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}"

    def read(self, value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(self.pattern, value):
            raise expected(self.expected)
        return value

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^{self.pattern}$"}


@dataclass(frozen=True)
class Listed(ValueKind):
    """A list of different texts that each fit a pattern; `what` they are, for messages."""

    pattern: str
    what: str
    entry: Callable[[str], str] = str
    """Makes an entry of a text."""

    def read(self, value: object) -> tuple[str, ...]:
        entries = list(value) if isinstance(value, list | tuple) else []
        fit = all(isinstance(entry, str) and re.fullmatch(self.pattern, entry) for entry in entries)
        if not fit or not 0 < len(entries) <= LISTED_MAX or len(set(entries)) < len(entries):
            raise expected(f"a list of 1 to {LISTED_MAX} different {self.what}")
        return tuple(map(self.entry, entries))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        items = {"type": "string", "pattern": f"^({self.pattern})$"}
        return {"type": "array", "items": items, "minItems": 1, "maxItems": LISTED_MAX, "uniqueItems": True}


def expected(sentence: str) -> PydanticCustomError:
    """Return the error that makes `Problem.expected` this sentence."""
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


DOCUMENT_BYTES_MAX = 4 * 1024 * 1024

_KINDS = {
    "model_type": "a table",
    "dict_type": "a table",
    "tuple_type": "a list",
    "bool_type": "true or false",
    "string_type": "a string",
}

Key = tuple[str, ...]
"""Where a value stands in a document: the keys from the top down."""


class Table(BaseModel):
    """The base of all tables: unknown keys are refused, nothing is converted, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


T = TypeVar("T", bound=Table)


@dataclass(frozen=True, slots=True)
class Judged(Generic[T]):
    """A document as far as it is usable: what was wrong is left out of `table`, so that the rest can be judged too."""

    table: T
    problems: tuple[Problem, ...]
    left_out: frozenset[Key]

    def knows(self, *keys: Key) -> bool:
        """Return whether none of these values was left out, alone or with a table above it."""
        return not any(key[:depth] in self.left_out for key in keys for depth in range(1, len(key) + 1))


def read_text(path: Path, error: type[DocumentError]) -> str:
    """Return the file's text (UTF-8); raise `error` where there is none to be had."""
    wanted = f"a readable TOML file ({error.kind})"
    try:
        data = read_regular(path, DOCUMENT_BYTES_MAX)
    except FileRefused as refused:
        raise error(str(path), [refused.problem(wanted)]) from refused
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        raise error(str(path), [Problem(f"line {line}", "not UTF-8", "UTF-8 text")]) from problem


def parse_toml(text: str, origin: str, error: type[DocumentError]) -> dict[str, Any]:
    """Return the TOML document as plain values; raise `error` with the line where it is none."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as problem:
        raise error(origin, [_syntax_problem(text, str(problem))]) from problem


def _syntax_problem(text: str, message: str) -> Problem:
    """Return where TOML stopped making sense. A key or table that is given twice is such a place."""
    sentence, _, place = message.partition(" (at ")
    once = re.match("Cannot (overwrite|declare|mutate)", sentence)
    wanted = "each key and table once" if once else f"valid TOML ({sentence[:1].lower()}{sentence[1:]})"
    at = re.match("line ([0-9]+)", place)
    if at is None:
        return Problem("end of file" if place else "file", "not TOML", wanted)
    return Problem(f"line {at[1]}", shown(text.split("\n")[int(at[1]) - 1].strip()), wanted)


def judge(model: type[T], document: dict[str, Any]) -> Judged[T]:
    """Validate a document. What is wrong is listed and left out; its default takes its place."""
    try:
        return Judged(model.model_validate(document), (), frozenset())
    except ValidationError as error:
        details = error.errors(include_url=False)
    left_out = dict.fromkeys(_key(item) for item in details)
    for key in left_out:
        document = _without(document, key)
    known = _known_keys(model)
    return Judged(model.model_validate(document), tuple(_problem(i, known) for i in details), frozenset(left_out))


def dotted(keys: Sequence[str | int]) -> str:
    """Return keys as a TOML path: `markets.BTC-USD-PERP.band.width_bps`, `classes.default.shadow_rules[0]`."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += ("." if text else "") + (key if re.fullmatch("[A-Za-z0-9_-]{1,80}", key) else shown(key))
    return text


def json_schema(model: type[Table], title: str) -> dict[str, Any]:
    """Return the model as a JSON Schema, which TOML editors read as well."""
    schema = model.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}


def no_such_key(name: str, known: Sequence[str], prefix: str = "") -> str:
    """Return what to expect where a key of this name does not exist: the nearest that does.

    `prefix` is what all names begin with; it makes none of them nearer.
    """
    if name in known:
        return "no key of this name here: it belongs in another table"
    name = name.removeprefix(prefix)[:80]
    near = get_close_matches(name, [key.removeprefix(prefix) for key in known], n=1)
    return f"no key of this name (is {prefix}{near[0]} meant?)" if near else "no key of this name"


def _key(item: ErrorDetails) -> Key:
    """Return the key to leave out; of a list with a wrong entry, the list."""
    keys: list[str] = []
    for step in item["loc"]:
        if isinstance(step, int):
            break
        keys.append(step)
    return tuple(keys)


def _without(table: dict[str, Any], key: Key) -> dict[str, Any]:
    """Return a copy of the table without the value at the key."""
    first, rest = key[0], key[1:]
    if rest:
        return {**table, first: _without(table[first], rest)}
    return {name: value for name, value in table.items() if name != first}


def _problem(item: ErrorDetails, known: Sequence[str]) -> Problem:
    return Problem(dotted(item["loc"]), show_value(item["input"]), _expected(item, known))


def _expected(item: ErrorDetails, known: Sequence[str]) -> str:
    context = item.get("ctx", {})
    match item["type"]:
        case "extra_forbidden":
            return no_such_key(str(item["loc"][-1]), known)
        case "too_long":
            return f"at most {context['max_length']} entries"
        case "enum" | "literal_error":
            return str(context["expected"]).replace("'", '"')
        case kind if kind == EXPECTED:
            return str(context["expected"])
        case kind:
            return _KINDS.get(kind, item["msg"])


@cache
def _known_keys(model: type[Table]) -> tuple[str, ...]:
    """Return every key that the model has anywhere, to guess what a misspelt one was meant to be."""
    schema = model.model_json_schema()
    tables = [schema, *schema.get("$defs", {}).values()]
    return tuple(sorted({name for table in tables for name in table.get("properties", {})}))
