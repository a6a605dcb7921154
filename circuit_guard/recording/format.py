"""The format of a recording: what its lines hold, and reading each value of them strictly.

A reader of a field takes the JSON object, the key and the path of that object. It raises FieldError with the field, the
value and what was expected. Decimals are strings, unknown fields are refused, and time never goes back.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import NoReturn, TypeGuard

from circuit_guard.core.envelope import GapMode
from circuit_guard.core.formatting import format_time
from circuit_guard.core.inputs import Account, Basis, Check, Observation, PhaseCommand, Position, Reference
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


RECORDING_VERSION = 1
FUNDING_PERIOD_S_MAX = 366 * 24 * 3600

_HEADER_KEYS = frozenset({"circuit_guard_recording", "description", "funding_period_s", "funding_gap_mode", "markets"})
_MARKET_KEYS = frozenset({"max_funding_rate"})


def parse_header(text: str) -> Header:
    """Return the header that the first line spells. Raises FieldError."""
    body = decode(text)
    version = body.get("circuit_guard_recording")
    if type(version) is not int or version != RECORDING_VERSION:
        expected = f"{RECORDING_VERSION}, the version of the format, on the first line"
        refuse(body, "circuit_guard_recording", "", expected)
    refuse_unknown(body, _HEADER_KEYS, "")
    description = body.get("description", "")
    if not isinstance(description, str):
        refuse(body, "description", "", "a string")
    markets = required_object(body, "markets", "") if "markets" in body else {}
    return Header(
        description,
        _funding_period_s(body),
        _funding_gap_mode(body),
        {name: _max_funding_rate(markets, name) for name in markets},
    )


def _funding_period_s(body: JsonObject) -> int | None:
    if "funding_period_s" not in body:
        return None
    value = body["funding_period_s"]
    if type(value) is not int or not 0 < value <= FUNDING_PERIOD_S_MAX:
        refuse(body, "funding_period_s", "", f"whole seconds from 1 to {FUNDING_PERIOD_S_MAX}")
    return value


def _funding_gap_mode(body: JsonObject) -> GapMode | None:
    if "funding_gap_mode" not in body:
        return None
    return GapMode(required_word(body, "funding_gap_mode", "", tuple(GapMode)))


def _max_funding_rate(markets: JsonObject, name: str) -> Decimal | None:
    if not is_name(name):
        raise FieldError(f"markets has the name {shown(name)}, expected {EXPECTED_NAME}")
    where = f"markets.{name}"
    body = required_object(markets, name, "markets")
    refuse_unknown(body, _MARKET_KEYS, where)
    rate = optional_decimal(body, "max_funding_rate", where)
    if rate is not None and rate <= 0:
        refuse(body, "max_funding_rate", where, "a rate over 0")
    return rate


FRACTION, AMOUNT = "maintenance_margin_fraction", "maintenance_margin"

_ACCOUNT_KEYS = frozenset({"collateral", "positions"})
_POSITION_KEYS = frozenset({"market", "size", "entry_price", "cached_funding_index", FRACTION, AMOUNT})


def read_account(body: JsonObject, where: str) -> Account:
    """Return the account that a JSON object spells; `where` is its path, empty for a document. Raises FieldError."""
    refuse_unknown(body, _ACCOUNT_KEYS, where)
    collateral = required_decimal(body, "collateral", where)
    positions = body.get("positions")
    if not isinstance(positions, list) or not all(isinstance(position, dict) for position in positions):
        refuse(body, "positions", where, "a list of JSON objects")
    path = f"{where}.positions" if where else "positions"
    return Account(collateral, tuple(_position(one, f"{path}[{number}]") for number, one in enumerate(positions)))


def account_object(account: Account) -> JsonObject:
    """Return an account as `read_account` reads it."""
    return {"collateral": str(account.collateral), "positions": [_position_object(one) for one in account.positions]}


def margin_texts(position: Position) -> tuple[str | None, str | None]:
    """Return a position's maintenance margin as a fraction and as an amount; None for the one that is not given."""
    amount = str(position.maintenance_margin) if position.maintenance_margin else None
    fraction = position.maintenance_margin_fraction
    return str(fraction) if fraction or amount is None else None, amount


def _position(body: JsonObject, where: str) -> Position:
    refuse_unknown(body, _POSITION_KEYS, where)
    fraction, amount = _margin(body, where)
    return Position(
        required_name(body, "market", where),
        required_size(body, "size", where),
        required_decimal(body, "entry_price", where),
        required_decimal(body, "cached_funding_index", where),
        fraction,
        amount,
    )


def _margin(body: JsonObject, where: str) -> tuple[Decimal, Decimal]:
    """Return the maintenance margin as a fraction and as an amount; one of them is given, the other is zero."""
    if FRACTION not in body and AMOUNT not in body:
        refuse(body, FRACTION, where, f"a share of the notional from 0 to 1, or {AMOUNT} in its place")
    if FRACTION in body and AMOUNT in body:
        refuse(body, AMOUNT, where, f"none where {FRACTION} is given")
    if AMOUNT in body:
        amount = required_decimal(body, AMOUNT, where)
        if amount < 0:
            refuse(body, AMOUNT, where, "an amount in quote currency, 0 or more")
        return Decimal(0), amount
    fraction = required_decimal(body, FRACTION, where)
    if not 0 <= fraction <= 1:
        refuse(body, FRACTION, where, "a share of the notional from 0 to 1")
    return fraction, Decimal(0)


def _position_object(position: Position) -> JsonObject:
    fraction, amount = margin_texts(position)
    margin = {FRACTION: fraction, AMOUNT: amount}
    return {
        "market": position.market,
        "size": str(position.size),
        "entry_price": str(position.entry_price),
        "cached_funding_index": str(position.cached_funding_index),
        **{key: text for key, text in margin.items() if text is not None},
    }


_OBSERVATION_VALUES = ("mark_price", "index_price", "funding_index", "funding_rate", "funding_premium")
_OBSERVATION_KEYS = frozenset({"market", "source", "epoch", "feed_sequence", "event_time", *_OBSERVATION_VALUES})
_REFERENCE_KEYS = frozenset({"market", "source", "event_time", "price"})
_PHASE_KEYS = frozenset({"phase", "markets"})
_CHECK_KEYS = frozenset({"request_id", "account_id", "market", "size", "kind", "execution_price", "basis", "account"})
_BASIS_KEYS = frozenset({"mark_price", "funding_index"})
_FAULT_KEYS = frozenset({"kind", "markets", "until"})

_COMMANDED = tuple(phase for phase in Phase if phase is not Phase.RECOVERING)


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
        if len(line) == 2 and "observation" in line:
            return self._observation(at_ns, required_object(line, "observation", ""))
        if len(line) == 2 and "reference" in line:
            return _reference(at_ns, required_object(line, "reference", ""))
        return _rare_entry(at_ns, line)

    def _observation(self, at_ns: int, body: JsonObject) -> Observation:
        refuse_unknown(body, _OBSERVATION_KEYS, "observation")
        market = required_name(body, "market", "observation")
        source = required_name(body, "source", "observation")
        epoch, feed_sequence = self._identity(body, market, source)
        event_time_ns = required_time_ns(body, "event_time", "observation")
        values = [optional_decimal(body, key, "observation") for key in _OBSERVATION_VALUES]
        return Observation(at_ns, market, source, epoch, feed_sequence, event_time_ns, *values)

    def _identity(self, body: JsonObject, market: str, source: str) -> tuple[int, int]:
        """Return epoch and feed sequence. A feed without any is counted, if the whole recording is like that."""
        if self._counted is None:
            self._counted = "epoch" not in body and "feed_sequence" not in body
        if not self._counted:
            epoch = required_integer(body, "epoch", "observation")
            return epoch, required_integer(body, "feed_sequence", "observation")
        for key in ("epoch", "feed_sequence"):
            if key in body:
                refuse(body, key, "observation", "none, as the first observation of this recording has none")
        self._counts[market, source] += 1
        return 1, self._counts[market, source]


def _reference(at_ns: int, body: JsonObject) -> Reference:
    refuse_unknown(body, _REFERENCE_KEYS, "reference")
    return Reference(
        at_ns,
        required_name(body, "market", "reference"),
        required_name(body, "source", "reference"),
        required_time_ns(body, "event_time", "reference"),
        required_decimal(body, "price", "reference"),
    )


def _rare_entry(at_ns: int, line: JsonObject) -> Entry:
    """Return what a line holds that is not market data, or refuse it."""
    kinds = [kind for kind in _ENTRY_KEYS if kind in line]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none"
        raise FieldError(f"holds {found} of {', '.join(_ENTRY_KEYS)}, expected exactly one")
    kind = kinds[0]
    refuse_unknown(line, _ENTRY_KEYS[kind], "")
    body = required_object(line, kind, "")
    if kind == "phase":
        return _phase(at_ns, body)
    if kind == "fault":
        return _fault(at_ns, body)
    return LabelledCheck(_check(at_ns, body), _label(line), optional_decimal(line, "loss", ""))


_ENTRY_KEYS = {
    "observation": frozenset({"at", "observation"}),
    "reference": frozenset({"at", "reference"}),
    "phase": frozenset({"at", "phase"}),
    "check": frozenset({"at", "check", "label", "loss"}),
    "fault": frozenset({"at", "fault"}),
}


def _phase(at_ns: int, body: JsonObject) -> PhaseCommand:
    refuse_unknown(body, _PHASE_KEYS, "phase")
    phase = Phase(required_word(body, "phase", "phase", _COMMANDED))
    markets = required_names(body, "markets", "phase") if "markets" in body else ()
    return PhaseCommand(at_ns, phase, markets)


def _fault(at_ns: int, body: JsonObject) -> Fault:
    refuse_unknown(body, _FAULT_KEYS, "fault")
    until_ns = required_time_ns(body, "until", "fault")
    if until_ns < at_ns:
        refuse(body, "until", "fault", f"not before the fault's own time, {format_time(at_ns)}")
    markets = required_names(body, "markets", "fault")
    return Fault(at_ns, required_name(body, "kind", "fault"), markets, until_ns)


def _label(line: JsonObject) -> Label | None:
    return Label(required_word(line, "label", "", tuple(Label))) if "label" in line else None


def _check(at_ns: int, body: JsonObject) -> Check:
    refuse_unknown(body, _CHECK_KEYS, "check")
    return Check(
        at_ns,
        required_name(body, "request_id", "check"),
        required_name(body, "account_id", "check"),
        required_name(body, "market", "check"),
        required_size(body, "size", "check"),
        _kind(body),
        optional_decimal(body, "execution_price", "check"),
        _basis(required_object(body, "basis", "check")) if "basis" in body else Basis(),
        read_account(required_object(body, "account", "check"), "check.account") if "account" in body else None,
    )


def _kind(body: JsonObject) -> CheckKind:
    if "kind" not in body:
        return CheckKind.LIQUIDATION
    return CheckKind(required_word(body, "kind", "check", tuple(CheckKind)))


def _basis(body: JsonObject) -> Basis:
    refuse_unknown(body, _BASIS_KEYS, "check.basis")
    mark_price = optional_decimal(body, "mark_price", "check.basis")
    return Basis(mark_price, optional_decimal(body, "funding_index", "check.basis"))
