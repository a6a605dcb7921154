"""Where a recorded decision and the one that a replay makes part: the first field, and both values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from circuit_guard.core.facts import DecisionMade
from circuit_guard.journal.record import Entry, Record
from circuit_guard.recording.fields import JsonObject

_ABSENT = object()
_WRAPPER = f"{DecisionMade.__name__}."


@dataclass(frozen=True, slots=True)
class Difference:
    """Where record and replay part. `sequence` is the decision's, or the check's that has no recorded decision."""

    sequence: int
    field: str
    recorded: str
    replayed: str

    def as_json(self) -> JsonObject:
        """Return it as in the JSON object of a replay."""
        return {name: getattr(self, name) for name in self.__slots__}


def difference_of(record: Record, entry: Entry, text: str) -> Difference:
    """Return the first field in which a recorded decision is not the one that was made again."""
    for name in ("at_ns", "scope"):
        recorded, replayed = getattr(record, name), getattr(entry, name)
        if recorded != replayed:
            return Difference(record.sequence, name, str(recorded), str(replayed))
    try:
        found = _first_unlike(json.loads(record.payload), json.loads(text), "")
    except (ValueError, RecursionError):
        found = None
    name, recorded, replayed = found or ("payload", record.payload, text)
    return Difference(record.sequence, name.removeprefix(_WRAPPER), recorded, replayed)


def _first_unlike(recorded: Any, replayed: Any, path: str) -> tuple[str, str, str] | None:
    """Return path and both values of the first leaf in which two JSON values differ."""
    if isinstance(recorded, dict) and isinstance(replayed, dict):
        pairs = [(f"{path}.{key}" if path else key, key) for key in {**replayed, **recorded}]
        both = [(name, recorded.get(key, _ABSENT), replayed.get(key, _ABSENT)) for name, key in pairs]
    elif isinstance(recorded, list) and isinstance(replayed, list):
        count = max(len(recorded), len(replayed))
        padded = [values + [_ABSENT] * (count - len(values)) for values in (recorded, replayed)]
        both = [(f"{path}[{number}]", *values) for number, values in enumerate(zip(*padded, strict=True))]
    elif recorded == replayed and type(recorded) is type(replayed):
        return None
    else:
        return path, _shown(recorded), _shown(replayed)
    return next(filter(None, (_first_unlike(left, right, name) for name, left, right in both)), None)


def _shown(value: object) -> str:
    return "absent" if value is _ABSENT else json.dumps(value)
