"""The first line of a recording: the format's version, and what is known about its markets."""

from __future__ import annotations

from decimal import Decimal

from circuit_guard.core.envelope import GapMode
from circuit_guard.recording import fields
from circuit_guard.recording.entries import Header
from circuit_guard.recording.fields import FieldError, JsonObject
from circuit_guard.recording.json_line import decode

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
        fields.refuse(body, "circuit_guard_recording", "", expected)
    fields.refuse_unknown(body, _HEADER_KEYS, "")
    description = body.get("description", "")
    if not isinstance(description, str):
        fields.refuse(body, "description", "", "a string")
    markets = fields.required_object(body, "markets", "") if "markets" in body else {}
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
        fields.refuse(body, "funding_period_s", "", f"whole seconds from 1 to {FUNDING_PERIOD_S_MAX}")
    return value


def _funding_gap_mode(body: JsonObject) -> GapMode | None:
    if "funding_gap_mode" not in body:
        return None
    return GapMode(fields.required_word(body, "funding_gap_mode", "", tuple(GapMode)))


def _max_funding_rate(markets: JsonObject, name: str) -> Decimal | None:
    if not fields.is_name(name):
        raise FieldError(f"markets has the name {fields.shown(name)}, expected {fields.EXPECTED_NAME}")
    where = f"markets.{name}"
    body = fields.required_object(markets, name, "markets")
    fields.refuse_unknown(body, _MARKET_KEYS, where)
    rate = fields.optional_decimal(body, "max_funding_rate", where)
    if rate is not None and rate <= 0:
        fields.refuse(body, "max_funding_rate", where, "a rate over 0")
    return rate
