"""Values of the core as text and back: exact, and the same bytes for the same value.

JSON in ASCII; a decimal is its text, a dataclass an object with every field, a set is sorted, a dict whose keys are no
text is a list of pairs. The type's name tells what a text is: `{"Tick":{"at_ns":1}}`.

Compatibility: a new field must have a default, and may stand anywhere; records from before it decode with that default.
"""

from __future__ import annotations

import json
import re
import zlib
from binascii import a2b_base64, b2a_base64
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from decimal import Decimal
from functools import cache
from operator import attrgetter
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from circuit_guard.core.facts import Fact
from circuit_guard.core.hours import HoursParameters
from circuit_guard.core.inputs import Check, Input, Observation, OrdersCheck, Reference
from circuit_guard.core.market import MarketState
from circuit_guard.core.parameters import Parameters
from circuit_guard.core.phase import PhaseParameters
from circuit_guard.core.policy import MARKET_FIELDS, Change, MarketPolicy, Policy
from circuit_guard.core.price import PriceParameters
from circuit_guard.core.reopening import ReopeningParameters
from circuit_guard.core.rulebook import GROUPS
from circuit_guard.core.rules.slow_walk import SlowWalkParameters
from circuit_guard.core.rules.unexplained_burst import BurstParameters
from circuit_guard.core.rules.unexplained_loss import ExplainedLossParameters
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import AllowedCheck, Decision
from circuit_guard.journal.errors import JournalError
from circuit_guard.journal.record import (
    TAKEN_MAX,
    CheckpointContent,
    CheckpointNote,
    ChecksAllowed,
    DecisionsDropped,
    JournalAdopted,
    ObservationsTaken,
    ReferencesTaken,
    Start,
)

T = TypeVar("T")

KNOWN: dict[str, type] = {
    kind.__name__: kind
    for kind in get_args(
        Input
        | Check
        | OrdersCheck
        | Fact
        | Decision
        | GuardState
        | Policy
        | Start
        | CheckpointNote
        | ChecksAllowed
        | DecisionsDropped
        | JournalAdopted
        | ObservationsTaken
        | ReferencesTaken
    )
} | {"Snapshot": CheckpointContent}
"""Everything that can be encoded, by the name that it is recorded by."""
_NAMES = {kind: name for name, kind in KNOWN.items()}

_NOT_ASCII = re.compile(rb"[^ -~]+")


class CodecError(JournalError):
    """A value cannot be encoded, or a text is not one that this version of the program writes."""


def encode(value: Any) -> str:
    """Return a value of a known type as text. Raise CodecError for one of another type."""
    kind: Any = type(value)
    if kind is ChecksAllowed:
        return _packed(value.checks)
    if kind in TAKEN:
        return _in_ascii(_as_columns(kind, value.items, len(_COLUMN_NAMES[kind]))).decode()
    name = _NAMES.get(kind)
    if name is None:
        raise CodecError(f"a value was of type {kind.__name__}, expected one of {', '.join(KNOWN)}")
    sort = sorter_of(kind)
    try:
        return _in_ascii(_ENCODER.encode({name: value if sort is None else sort(value)})).decode()
    except (TypeError, ValueError) as error:
        raise CodecError(f"a {name} cannot be written: {error}") from None


def encoded_parts(value: object) -> Iterator[bytes]:
    """Return what `encode` gives in parts, so that a long state is never there as a whole. Raise CodecError."""
    kind: Any = type(value)
    if kind is ChecksAllowed or kind in TAKEN:
        yield encode(value).encode()
        return
    name = _NAMES[kind]
    try:
        yield f'{{"{name}":'.encode()
        yield from map(_in_ascii, _parts(kind, value))
        yield b"}"
    except (TypeError, ValueError) as error:
        raise CodecError(f"a {name} cannot be written: {error}") from None


def _parts(hint: Any, value: Any) -> Iterator[bytes]:
    """Return a value of a type in parts: a state by its fields, and what it remembers one by one."""
    items: Iterable[tuple[str, Any, Any]]
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in (CheckpointContent, GuardState):
        hints = get_type_hints(hint)
        items = ((one.name, hints[one.name], getattr(value, one.name)) for one in fields(hint) if one.init)
    elif origin in (dict, OrderedDict) and issubclass(arguments[0], str):
        items = ((key, arguments[1], item) for key, item in value.items())
    else:
        sort = sorter_of(hint)
        yield _ENCODER.encode(value if sort is None else sort(value))
        return
    before = b"{"
    for key, kind, item in items:
        yield before + _ENCODER.encode(key) + b":"
        yield from _parts(kind, item)
        before = b","
    yield b"}" if before == b"," else b"{}"


def decode(text: str) -> object:
    """Return the value that a text encodes. Raise CodecError for a text that encodes none.

    The value must encode to the same text again, so that neither an unknown field nor a number in place of a decimal
    is passed over (msgspec alone takes both). Only the fields that an older record lacks may be added.
    """
    try:
        [(name, body)] = _ENVELOPE.decode(text).items()
    except (ValueError, RecursionError):
        raise CodecError(f"a payload was {text[:80]!r}, expected an object with one key") from None
    if name not in KNOWN:
        raise CodecError(
            f"a payload was of type {name!r}, expected one of {', '.join(KNOWN)}: it is of a newer version"
        )
    if name == ChecksAllowed.__name__:
        return ChecksAllowed(_unpacked(body, text))
    if KNOWN[name] in TAKEN:
        return _of_columns(KNOWN[name], body, text)
    try:
        value = _read(KNOWN[name], body)
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        raise CodecError(f"a recorded {name} was {text[:80]!r}: {error}") from None
    if not _is_written_so(value, text):
        written = encode(value)
        _require_same(_ENVELOPE.decode(text)[name], _ENVELOPE.decode(written)[name], name)
    return value


def _is_written_so(value: object, text: str) -> bool:
    place = 0
    for part in encoded_parts(value):
        if not text.startswith(part.decode(), place):
            return False
        place += len(part)
    return place == len(text)


def decode_as(expected: type[T], text: str) -> T:
    """Return the value that a text encodes. Raise CodecError where that is none of the type expected."""
    value = decode(text)
    if not isinstance(value, expected):
        raise CodecError(f"a payload was of type {type(value).__name__}, expected {expected.__name__}")
    return value


_COLUMNS = msgspec.json.Encoder()
_PACKED = msgspec.json.Decoder(tuple[int, str])
COLUMNS_BYTES_MAX = 4 * 1024 * 1024
"""What the columns of one record may take: a thousand checks with the longest names take half of it."""


def _packed(checks: Sequence[AllowedCheck]) -> str:
    """Return checks that permits allowed as compressed columns: what is alike in them stands together."""
    columns = _COLUMNS.encode(list(zip(*checks, strict=True)))
    text = b2a_base64(zlib.compress(columns, 1), newline=False).decode()
    return f'{{"{ChecksAllowed.__name__}":[{len(checks)},"{text}"]}}'


def _unpacked(body: msgspec.Raw, text: str) -> tuple[AllowedCheck, ...]:
    """Return what `_packed` made columns of. Whatever compressed them may have been another version of zlib."""
    problem = ""
    try:
        count, packed = _PACKED.decode(body)
        inflate = zlib.decompressobj()
        columns = inflate.decompress(a2b_base64(packed, strict_mode=True), COLUMNS_BYTES_MAX)
        rows = zip(*msgspec.json.decode(columns), strict=True)
        checks = tuple(msgspec.convert(list(rows), list[AllowedCheck]))
        if not inflate.eof or inflate.unused_data:
            problem = f"its columns are cut off, or take more than {COLUMNS_BYTES_MAX} bytes"
        elif len(checks) != count or _COLUMNS.encode(list(zip(*checks, strict=True))) != columns:
            problem = f"it says that it holds {count} checks, and holds {len(checks)} or others"
    except (ValueError, TypeError, zlib.error) as error:
        problem = str(error)
    if problem:
        raise CodecError(f"a recorded {ChecksAllowed.__name__} was {text[:80]!r}: {problem}")
    return checks


TAKEN: dict[type, type] = {ObservationsTaken: Observation, ReferencesTaken: Reference}
"""What is recorded as columns, one for each field, in order: a value where all are alike, else a list of values."""
_COLUMN_NAMES = {kind: [one.name for one in fields(item)] for kind, item in TAKEN.items()}
_REQUIRED = {kind: sum(one.default is MISSING for one in fields(item)) for kind, item in TAKEN.items()}
_COLUMN_OF = {name: attrgetter(name) for names in _COLUMN_NAMES.values() for name in names}


def _as_columns(kind: type, items: Sequence[Observation | Reference], count: int) -> bytes:
    """Return market data as a record: how many there are, and the first `count` of their columns."""
    columns: list[Any] = [len(items)]
    for name in _COLUMN_NAMES[kind][:count]:
        column: list[Any] = [
            value if value.__class__ is not Decimal else str(value) for value in map(_COLUMN_OF[name], items)
        ]
        columns.append(column[0] if column and column.count(column[0]) == len(column) else column)
    return b'{"%b":%b}' % (kind.__name__.encode(), _COLUMNS.encode(columns))


def _of_columns(kind: type, body: msgspec.Raw, text: str) -> ObservationsTaken | ReferencesTaken:
    """Return what `_as_columns` wrote. A column that an older version did not have has its default."""
    problem, names = "", _COLUMN_NAMES[kind]
    try:
        count, *columns = msgspec.json.decode(body)
        if 0 <= count <= TAKEN_MAX and _REQUIRED[kind] <= len(columns) <= len(names):
            whole = [column if isinstance(column, list) else [column] * count for column in columns]
            rows = [dict(zip(names, row, strict=False)) for row in zip(*whole, strict=True)]
            items: tuple[Any, ...] = tuple(msgspec.convert(row, TAKEN[kind]) for row in rows)
            if _in_ascii(_as_columns(kind, items, len(columns))).decode() != text:
                problem = f"its {count} values are not written as this program writes them"
        else:
            problem = f"it says that it holds {count} of {len(columns)} columns, expected at most {TAKEN_MAX}"
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
        problem = str(error)
    if problem:
        raise CodecError(f"a recorded {kind.__name__} was {text[:80]!r}: {problem}")
    taken: ObservationsTaken | ReferencesTaken = kind(items)
    return taken


_PAIRS = list[tuple[tuple[int, int], Any]]
_ENVELOPE = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _read(kind: Any, body: msgspec.Raw) -> Any:
    if kind not in (GuardState, CheckpointContent, Policy):
        return _decoder(kind).decode(body)
    if kind is Policy:
        return _policy(msgspec.json.decode(body))
    if kind is GuardState:
        return _state(body)
    parts = _FIELDS.decode(body)
    return CheckpointContent(_state(parts["state"]), _policy(msgspec.json.decode(parts["policy"])))


def _state(body: msgspec.Raw) -> GuardState:
    """Return a state, read field by field, and market by market: as a whole it takes ten times its text."""
    hints, given = get_type_hints(GuardState), _FIELDS.decode(body)
    known = {one.name for one in fields(GuardState) if one.init}
    markets = {name: _market(market) for name, market in _FIELDS.decode(given.pop("markets")).items()}
    read = {name: _decoder(hints[name]).decode(item) for name, item in given.items() if name in known}
    return GuardState(markets=markets, **read)


def _market(body: msgspec.Raw) -> MarketState:
    plain = msgspec.json.decode(body)
    if "recent" in (feed := plain.get("feed", {})):
        feed["recent"] = dict(msgspec.convert(feed["recent"], _PAIRS))
    market: MarketState = msgspec.convert(plain, MarketState, dec_hook=_built)
    return market


def _policy(plain: dict[str, Any]) -> Policy:
    """Return a policy. A market that lacks a group of parameters was recorded before its rule: that does not run."""
    plain = {"remembered_allow_max_ns": None, **plain}
    markets = {name: _market_policy(dict(market)) for name, market in plain["markets"].items()}
    return replace(msgspec.convert({**plain, "markets": {}}, Policy, dec_hook=_built), markets=markets)


def _market_policy(plain: dict[str, Any]) -> MarketPolicy:
    groups = {}
    for group in GROUPS:
        named = {one.name for one in fields(group)}
        given = {name: value for name, value in plain.get(group.TABLE, {}).items() if name in named}
        if given or group in _BEFORE:
            earlier = {name: value for name, value in _BEFORE.get(group, {}).items() if name not in given}
            groups[group] = replace(msgspec.convert(given, group, dec_hook=_built), **earlier)
    own = {name: plain[name] for name in MARKET_FIELDS if name in plain}
    changes = tuple(_change(change, groups) for change in plain.get("changes", ()))
    market: MarketPolicy = msgspec.convert({**own, "groups": {}}, MarketPolicy, dec_hook=_built)
    return replace(market, groups=groups, changes=changes)


def _change(plain: dict[str, Any], groups: dict[type[Parameters], Parameters]) -> Change:
    """Return a change of a policy: what it does not name is as it was at first."""
    changed = dict(groups)
    for group in groups:
        named = {one.name for one in fields(group)}
        given = {name: value for name, value in plain.get(group.TABLE, {}).items() if name in named}
        if given:
            changed[group] = msgspec.convert(given, group, dec_hook=_built)
    return Change(plain["from_ns"], changed)


_BEFORE: dict[type[Parameters], dict[str, Any]] = {
    ReopeningParameters: {
        "start_share": Decimal(1),
        "closures_per_s": Decimal("1e9"),
        "notional_per_s": Decimal("1e18"),
    },
    ExplainedLossParameters: {"deny": False},
    BurstParameters: {"accounts": 0},
    SlowWalkParameters: {"trip_after_ns": 0},
    PhaseParameters: {"post_only_min_ns": 0},
    PriceParameters: {},
    HoursParameters: {},
}
"""How policies are read that version 0.1 recorded before there were these parameters: they limited nothing."""


def _flat(market: MarketPolicy) -> dict[str, Any]:
    """Return a market's policy as it is recorded: its tables beside its own values."""
    return {name: _in_order(value) for name, value in market.plain().items()}


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _in_order(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_in_order(item) for item in value]
    return sorted(value) if isinstance(value, frozenset) else value


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, dec_hook=_built)


def _built(kind: Any, plain: Any) -> Any:
    """Return a value of a type that msgspec does not know from the form that `_plain` gives it."""
    build, arguments = get_origin(kind), get_args(kind)
    if build is deque:
        return deque(msgspec.convert(plain, list[arguments[0]], dec_hook=_built))  # type: ignore[valid-type]
    if build is OrderedDict:
        return OrderedDict(msgspec.convert(plain, dict[arguments[0], arguments[1]], dec_hook=_built))  # type: ignore[valid-type]
    raise CodecError(f"the type {kind} has no form in the journal")


def _plain(value: Any) -> Any:
    """Return the form of a value of a type that msgspec does not know."""
    if isinstance(value, deque):
        return list(value)
    raise CodecError(f"a value was of type {type(value).__name__}, expected one that has a form in the journal")


@cache
def sorter_of(hint: Any) -> Callable[[Any], Any] | None:
    """Return what gives a value of a type its one form; None where msgspec does that by itself.

    msgspec writes a set in any order, includes derived fields, and refuses a dict whose keys are no text.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is MarketPolicy:
        return _flat
    if origin in (Union, UnionType):
        sort = next(filter(None, map(sorter_of, arguments)), None)
        return None if sort is None else lambda value: None if value is None else sort(value)
    if origin in (set, frozenset):
        return sorted
    if origin in (dict, Mapping, OrderedDict):
        if not issubclass(arguments[0], str):
            return lambda value: list(value.items())
        return _each_alone(origin, sorter_of(arguments[1]))
    if any(map(sorter_of, arguments)):
        raise CodecError(f"the type {hint} has no form in the journal")
    return _dataclass_sorter(hint) if is_dataclass(hint) else None


def _each_alone(origin: Any, sort: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    """Return what encodes each item by itself: msgspec holds the interpreter lock for the whole of one call."""
    if sort is None and origin is not OrderedDict:
        return None
    return lambda value: {
        key: msgspec.Raw(_ENCODER.encode(item if sort is None else sort(item))) for key, item in value.items()
    }


def _dataclass_sorter(kind: Any) -> Callable[[Any], Any] | None:
    hints = get_type_hints(kind)
    parts = [(field.name, sorter_of(hints[field.name])) for field in fields(kind) if field.init]
    if len(parts) == len(fields(kind)) and not any(sort for _, sort in parts):
        return None
    return lambda value: {
        name: getattr(value, name) if sort is None else sort(getattr(value, name)) for name, sort in parts
    }


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)


def _in_ascii(encoded: bytes) -> bytes:
    return encoded if encoded.isascii() and b"\x7f" not in encoded else _NOT_ASCII.sub(_escaped, encoded)


def _escaped(match: re.Match[bytes]) -> bytes:
    return json.dumps(match[0].decode())[1:-1].encode()


_FIELDS, _ITEMS = msgspec.json.Decoder(dict[str, msgspec.Raw]), msgspec.json.Decoder(list[msgspec.Raw])


def _require_same(read: msgspec.Raw, written: msgspec.Raw, place: str) -> None:
    """Raise CodecError where two JSON texts differ; fields that only `written` has are allowed.

    They are taken apart only where they differ: a state as a whole takes ten times its text.
    """
    was, expected = bytes(read), bytes(written)
    if was == expected:
        return
    if was[:1] == expected[:1] == b"{":
        fields_read, fields_written = _FIELDS.decode(read), _FIELDS.decode(written)
        for name, item in fields_read.items():
            if name not in fields_written:
                raise CodecError(f"{place} had the field {name}, expected one of {', '.join(fields_written)}")
            _require_same(item, fields_written[name], f"{place}.{name}")
        return
    if was[:1] == expected[:1] == b"[":
        items_read, items_written = _ITEMS.decode(read), _ITEMS.decode(written)
        if len(items_read) <= len(items_written):  # a named tuple may have got a field
            for number, (item, other) in enumerate(zip(items_read, items_written, strict=False)):
                _require_same(item, other, f"{place}[{number}]")
            return
    plain, other = json.loads(was), json.loads(expected)
    if type(plain) is not type(other) or plain != other:
        raise CodecError(f"{place} was {json.dumps(plain)[:80]}, expected {json.dumps(other)[:80]}")
