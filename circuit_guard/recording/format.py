"""The format of a recording: what its lines hold, and reading each value of them strictly.

A reader of a field takes the JSON object, the key and the path of that object. It raises FieldError with the field, the
value and what was expected. Decimals are strings, unknown fields are refused, and time never goes back.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn, TypeGuard

from circuit_guard.core.envelope import GapMode
from circuit_guard.core.formatting import format_time
from circuit_guard.core.inputs import (
    ASSETS_MAX,
    EACH_SIDE_ONCE,
    POSITIONS_MAX,
    Account,
    Asset,
    Basis,
    Check,
    Observation,
    PhaseCommand,
    Position,
    Reference,
    repeated,
)
from circuit_guard.core.names import EXPECTED_MARKET, is_market
from circuit_guard.core.types import DIGITS_MAX, EXPONENT_MAX, SECOND_NS, CheckKind, Phase

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
    problem = f"was {shown(body[key])}" if key in body else "is missing"
    raise FieldError(f"{_path(where, key)} {problem}, expected {expected}")


def _path(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


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


def required_market(body: JsonObject, key: str, where: str) -> str:
    """Return the name of a market."""
    value = required_name(body, key, where)
    if not is_market(value):
        refuse(body, key, where, f"a string of {EXPECTED_MARKET}")
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


def required_markets(body: JsonObject, key: str, where: str) -> tuple[str, ...]:
    """Return a list of markets; it may be empty."""
    value = body.get(key)
    if not isinstance(value, list) or not all(is_name(name) for name in value) or len(set(value)) < len(value):
        refuse(body, key, where, f"a list of different names, each {EXPECTED_NAME}")
    if not all(map(is_market, value)):
        refuse(body, key, where, f"a list of names, each a string of {EXPECTED_MARKET}")
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
    raise FieldError(f"{shown(_path(where, unknown))} is not a field, expected only {', '.join(sorted(known))}")


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


class Label(StrEnum):
    """The truth about a check: the account was viable (wrongful), or it was not (genuine)."""

    WRONGFUL = "wrongful"
    GENUINE = "genuine"


@dataclass(frozen=True, slots=True)
class LabelledCheck:
    """A check and its truth; None where the recording does not say."""

    check: Check
    label: Label | None = None
    loss: Decimal | None = None
    """What carrying the closure out would take from the account, in quote currency."""

    @property
    def at_ns(self) -> int:
        """When the check was asked."""
        return self.check.at_ns


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the data of these markets from `at_ns` to `until_ns`."""

    at_ns: int
    kind: str
    markets: tuple[str, ...]
    until_ns: int


@dataclass(frozen=True, slots=True)
class Header:
    """The first line. None means "not given": the policy's default class decides.

    `markets` maps each market to its cap of the funding rate per funding period.
    """

    description: str = ""
    funding_period_s: int | None = None
    funding_gap_mode: GapMode | None = None
    markets: Mapping[str, Decimal | None] = field(default_factory=dict)


Entry = Observation | Reference | PhaseCommand | LabelledCheck | Fault


class Field(NamedTuple):
    """A field of a JSON object: the attribute that holds its value, how it is read, and how it is written."""

    key: str
    attribute: str
    read: Callable[[JsonObject, str, str], object]
    write: Callable[[Any], object] = str
    optional: bool = False
    """Whether it may be absent: the attribute then has its default."""
    unwritten: object = None
    """The value for which the field is left out."""


class Shape:
    """A JSON object of the format and the type of the core that it spells. Reading raises FieldError.

    `more` are keys that the caller reads itself.
    """

    def __init__(self, kind: type[Any], *fields: Field, more: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self._fields = fields
        self._known = frozenset({*(each.key for each in fields), *more})

    def read(self, body: JsonObject, where: str, **given: object) -> Any:
        """Return the value that an object spells; `given` are the attributes that are known already."""
        refuse_unknown(body, self._known, where)
        for key, attribute, read, _, optional, _ in self._fields:
            if not optional or key in body:
                given[attribute] = read(body, key, where)
        return self.kind(**given)

    def write(self, value: object) -> JsonObject:
        """Return the object that `read` takes."""
        given = ((each, getattr(value, each.attribute)) for each in self._fields)
        return {each.key: each.write(item) for each, item in given if item != each.unwritten}

    def nested(self, key: str, attribute: str, unwritten: object = None) -> Field:
        """Return an optional field that holds such an object."""

        def read(body: JsonObject, key: str, where: str) -> Any:
            return self.read(required_object(body, key, where), _path(where, key))

        return Field(key, attribute, read, self.write, optional=True, unwritten=unwritten)


def _name(key: str) -> Field:
    return Field(key, key, required_name)


_MARKET = Field("market", "market", required_market)


def _decimal(key: str) -> Field:
    return Field(key, key, required_decimal)


def _optional_decimals(*keys: str) -> tuple[Field, ...]:
    return tuple(Field(key, key, required_decimal, optional=True) for key in keys)


def _time(key: str) -> Field:
    return Field(key, f"{key}_ns", required_time_ns, format_time)


def _word(key: str, words: tuple[StrEnum, ...], *, optional: bool = True, unwritten: object = None) -> Field:
    def read(body: JsonObject, key: str, where: str) -> StrEnum:
        return type(words[0])(required_word(body, key, where, words))

    return Field(key, key, read, optional=optional, unwritten=unwritten)


def _as_it_is(value: object) -> object:
    return value


def _flag(body: JsonObject, key: str, where: str) -> bool:
    value = body[key]
    if not isinstance(value, bool):
        refuse(body, key, where, "true or false")
    return value


RECORDING_VERSION = 1
FUNDING_PERIOD_S_MAX = 366 * 24 * 3600
VERSION = "circuit_guard_recording"


def parse_header(text: str) -> Header:
    """Return the header that the first line spells. Raises FieldError."""
    body = decode(text)
    version = body.get(VERSION)
    if type(version) is not int or version != RECORDING_VERSION:
        refuse(body, VERSION, "", f"{RECORDING_VERSION}, the version of the format, on the first line")
    header: Header = _HEADER.read(body, "")
    return header


def header_line(header: Header) -> JsonObject:
    """Return the first line."""
    return {VERSION: RECORDING_VERSION, **_HEADER.write(header)}


def _description(body: JsonObject, key: str, where: str) -> str:
    value = body[key]
    if not isinstance(value, str):
        refuse(body, key, where, "a string")
    return value


def _funding_period_s(body: JsonObject, key: str, where: str) -> int:
    value = body[key]
    if type(value) is not int or not 0 < value <= FUNDING_PERIOD_S_MAX:
        refuse(body, key, where, f"whole seconds from 1 to {FUNDING_PERIOD_S_MAX}")
    return value


def _markets(body: JsonObject, key: str, where: str) -> dict[str, Decimal | None]:
    markets = required_object(body, key, where)
    return {name: _max_funding_rate(markets, name) for name in markets}


def _max_funding_rate(markets: JsonObject, name: str) -> Decimal | None:
    if not is_name(name):
        raise FieldError(f"markets has the name {shown(name)}, expected {EXPECTED_NAME}")
    if not is_market(name):
        raise FieldError(f"markets has the name {shown(name)}, expected a string of {EXPECTED_MARKET}")
    where, key = f"markets.{name}", "max_funding_rate"
    body = required_object(markets, name, "markets")
    refuse_unknown(body, frozenset({key}), where)
    rate = required_decimal(body, key, where) if key in body else None
    if rate is not None and rate <= 0:
        refuse(body, key, where, "a rate over 0")
    return rate


def _market_objects(markets: Mapping[str, Decimal | None]) -> JsonObject:
    return {name: {} if rate is None else {"max_funding_rate": str(rate)} for name, rate in markets.items()}


_HEADER = Shape(
    Header,
    Field("description", "description", _description, optional=True),
    Field("funding_period_s", "funding_period_s", _funding_period_s, _as_it_is, optional=True),
    _word("funding_gap_mode", tuple(GapMode)),
    Field("markets", "markets", _markets, _market_objects, optional=True),
    more=(VERSION,),
)

FRACTION, AMOUNT = "maintenance_margin_fraction", "maintenance_margin"


def read_account(body: JsonObject, where: str) -> Account:
    """Return the account that a JSON object spells; `where` is its path, empty for a document. Raises FieldError."""
    account: Account = _ACCOUNT.read(body, where)
    return account


def margin_texts(position: Position) -> tuple[str | None, str | None]:
    """Return a position's maintenance margin as a fraction and as an amount; None for the one that is not given."""
    amount = str(position.maintenance_margin) if position.maintenance_margin else None
    fraction = position.maintenance_margin_fraction
    return str(fraction) if fraction or amount is None else None, amount


def _positions(body: JsonObject, key: str, where: str) -> tuple[Position, ...]:
    value = body.get(key)
    if not isinstance(value, list) or not all(isinstance(position, dict) for position in value):
        refuse(body, key, where, "a list of JSON objects")
    path = _path(where, key)
    if len(value) > POSITIONS_MAX:
        raise FieldError(f"{path} was {len(value)} positions, expected at most {POSITIONS_MAX}")
    positions = tuple(_position(one, f"{path}[{number}]") for number, one in enumerate(value))
    if (place := repeated(positions)) is not None:
        refuse(value[place], "market", f"{path}[{place}]", EACH_SIDE_ONCE)
    return positions


def _position(body: JsonObject, where: str) -> Position:
    position: Position = _POSITION.read(body, where, maintenance_margin_fraction=Decimal(0))
    if FRACTION not in body and AMOUNT not in body:
        refuse(body, FRACTION, where, f"a share of the notional from 0 to 1, or {AMOUNT} in its place")
    if FRACTION in body and AMOUNT in body:
        refuse(body, AMOUNT, where, f"none where {FRACTION} is given")
    if position.maintenance_margin < 0:
        refuse(body, AMOUNT, where, "an amount in quote currency, 0 or more")
    if not 0 <= position.maintenance_margin_fraction <= 1:
        refuse(body, FRACTION, where, "a share of the notional from 0 to 1")
    return position


def _assets(body: JsonObject, key: str, where: str) -> tuple[Asset, ...]:
    value = body.get(key)
    if not isinstance(value, list) or not all(isinstance(asset, dict) for asset in value):
        refuse(body, key, where, "a list of JSON objects")
    path = _path(where, key)
    if len(value) > ASSETS_MAX:
        raise FieldError(f"{path} was {len(value)} assets, expected at most {ASSETS_MAX}")
    return tuple(_ASSET.read(one, f"{path}[{number}]") for number, one in enumerate(value))


def _quantity(body: JsonObject, key: str, where: str) -> Decimal:
    quantity = required_decimal(body, key, where)
    if quantity <= 0:
        refuse(body, key, where, "a quantity in base units, more than 0")
    return quantity


def _haircut(body: JsonObject, key: str, where: str) -> Decimal:
    haircut = required_decimal(body, key, where)
    if not 0 <= haircut <= 1:
        refuse(body, key, where, "a share of the value from 0 to 1")
    return haircut


def _position_objects(positions: tuple[Position, ...]) -> list[JsonObject]:
    bodies = [(position, _POSITION.write(position)) for position in positions]
    return [
        body if FRACTION in body or AMOUNT in body else {**body, FRACTION: str(position.maintenance_margin_fraction)}
        for position, body in bodies
    ]


_POSITION = Shape(
    Position,
    _MARKET,
    Field("size", "size", required_size),
    _decimal("entry_price"),
    _decimal("cached_funding_index"),
    Field(FRACTION, FRACTION, required_decimal, optional=True, unwritten=Decimal(0)),
    Field(AMOUNT, AMOUNT, required_decimal, optional=True, unwritten=Decimal(0)),
)
_ASSET = Shape(
    Asset,
    _MARKET,
    Field("quantity", "quantity", _quantity),
    Field("haircut", "haircut", _haircut, optional=True, unwritten=Decimal(0)),
)
_ACCOUNT = Shape(
    Account,
    _decimal("collateral"),
    Field("positions", "positions", _positions, _position_objects),
    Field("assets", "assets", _assets, lambda assets: list(map(_ASSET.write, assets)), optional=True, unwritten=()),
)
_BASIS = Shape(Basis, *_optional_decimals("mark_price", "funding_index"))
_COMMANDED = tuple(phase for phase in Phase if phase is not Phase.RECOVERING)

_SHAPES = {
    "observation": Shape(
        Observation,
        _MARKET,
        _name("source"),
        Field("epoch", "epoch", required_integer, _as_it_is),
        Field("feed_sequence", "feed_sequence", required_integer, _as_it_is),
        _time("event_time"),
        *_optional_decimals("mark_price", "index_price", "funding_index", "funding_rate", "funding_premium"),
        *_optional_decimals("funding_period_s", "funding_rate_max"),
    ),
    "reference": Shape(Reference, _MARKET, _name("source"), _time("event_time"), _decimal("price")),
    "phase": Shape(
        PhaseCommand,
        _word("phase", _COMMANDED, optional=False),
        Field("markets", "markets", required_markets, list, optional=True),
    ),
    "check": Shape(
        Check,
        _name("request_id"),
        _name("account_id"),
        _MARKET,
        Field("size", "size", required_size),
        *_optional_decimals("execution_price"),
        _word("kind", tuple(CheckKind), unwritten=CheckKind.LIQUIDATION),
        _BASIS.nested("basis", "basis", unwritten=Basis()),
        _ACCOUNT.nested("account", "account"),
        Field("judge_anew", "judge_anew", _flag, _as_it_is, optional=True, unwritten=False),
    ),
    "fault": Shape(Fault, _name("kind"), Field("markets", "markets", required_markets, list), _time("until")),
}
"""What a line holds beside its time, by the kind of line."""
_KINDS = {shape.kind: kind for kind, shape in _SHAPES.items()}
_TRUTH = Shape(LabelledCheck, _word("label", tuple(Label)), *_optional_decimals("loss"), more=("at", "check"))
"""What stands beside a check on its line."""


class EntryParser:
    """Turns the lines after the header into entries. It remembers what one line promises about the next."""

    def __init__(self) -> None:
        self._last_at_ns = 0
        self._counted: bool | None = None
        """Whether this recording's observations lack epoch and feed_sequence, so that they are counted here."""
        self._counts: Counter[tuple[str, str]] = Counter()

    def parse(self, text: str) -> Entry:
        """Return the entry that a line spells. Raises FieldError."""
        line = decode(text)
        at_ns = required_time_ns(line, "at", "")
        if at_ns < self._last_at_ns:
            refuse(line, "at", "", f"not before the line above it, {format_time(self._last_at_ns)}")
        self._last_at_ns = at_ns
        kinds = [kind for kind in _SHAPES if kind in line]
        if len(kinds) != 1:
            found = " and ".join(kinds) or "none"
            raise FieldError(f"holds {found} of {', '.join(_SHAPES)}, expected exactly one")
        kind = kinds[0]
        if kind != "check":
            refuse_unknown(line, frozenset({"at", kind}), "")
        body = required_object(line, kind, "")
        if kind == "observation":
            body = self._identified(body)
        entry: Any = _SHAPES[kind].read(body, kind, at_ns=at_ns)
        if kind == "fault" and entry.until_ns < at_ns:
            refuse(body, "until", kind, f"not before the fault's own time, {format_time(at_ns)}")
        parsed: Entry = _TRUTH.read(line, "", check=entry) if kind == "check" else entry
        return parsed

    def _identified(self, body: JsonObject) -> JsonObject:
        """Return an observation with epoch and feed sequence. They are counted if the first observation has neither."""
        if self._counted is None:
            self._counted = "epoch" not in body and "feed_sequence" not in body
        if not self._counted:
            return body
        for key in ("epoch", "feed_sequence"):
            if key in body:
                refuse(body, key, "observation", "none, as the first observation of this recording has none")
        feed = required_market(body, "market", "observation"), required_name(body, "source", "observation")
        self._counts[feed] += 1
        return {**body, "epoch": 1, "feed_sequence": self._counts[feed]}


def entry_line(entry: Entry) -> JsonObject:
    """Return one line. Raises FieldError for a phase command that says more than a recording can."""
    if isinstance(entry, PhaseCommand) and (entry.actor or entry.reason or entry.rollback):
        raise FieldError(f"phase was {entry}, expected no actor, reason or rollback: a recording cannot hold them")
    value = entry.check if isinstance(entry, LabelledCheck) else entry
    kind = _KINDS[type(value)]
    line: JsonObject = {"at": format_time(entry.at_ns), kind: _SHAPES[kind].write(value)}
    return line | _TRUTH.write(entry) if isinstance(entry, LabelledCheck) else line
