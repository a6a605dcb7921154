"""A JSON object as text, decoded without JSON's leniencies: no duplicate keys, no NaN or Infinity, nothing after it."""

from __future__ import annotations

import json
from collections import Counter
from typing import NoReturn

from circuit_guard.recording.fields import FieldError, JsonObject, shown


def decode(text: str) -> JsonObject:
    """Return the JSON object that a line, or a document of several, spells. Raises FieldError."""
    try:
        value, end = _JSON.raw_decode(text)
    except json.JSONDecodeError as error:
        place = _place(text, error.pos)
        raise FieldError(f"is not JSON at {place} ({error.msg}), expected one JSON object") from None
    except RecursionError:
        raise FieldError("is nested too deeply, expected one JSON object of the format") from None
    except FieldError:
        raise
    except ValueError as error:
        raise FieldError(f"is not readable JSON ({error}), expected one JSON object") from None
    if not isinstance(value, dict):
        raise FieldError(f"was {shown(value)}, expected one JSON object")
    if end != len(text):
        raise FieldError(f"has more after its JSON object at {_place(text, end)}, expected nothing after it")
    return value


def _place(text: str, position: int) -> str:
    """Return where a character stands: its column, and its line where there is more than one."""
    line, column = text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
    return f"column {column}" if "\n" not in text else f"line {line}, column {column}"


def _unique(pairs: list[tuple[str, object]]) -> JsonObject:
    """Build a JSON object; json alone would keep the last of two equal keys and say nothing."""
    body = dict(pairs)
    if len(body) != len(pairs):
        duplicate = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise FieldError(f"has the key {shown(duplicate)} twice, expected each key once")
    return body


def _no_constant(name: str) -> NoReturn:
    raise FieldError(f"holds {name}, expected decimals as strings and finite")


_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
