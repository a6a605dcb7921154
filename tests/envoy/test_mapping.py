"""From requests that Envoy holds to checks: what is taken from where, and what is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuit_guard.config.envoy import ExtAuthzSettings
from circuit_guard.errors import WireError
from circuit_guard.server.convert import requests
from circuit_guard.server.envoy.mapping import BODY_BYTES_MAX, Mapping
from circuit_guard.v1 import liquidation_pb2
from tests.driver import BTC, START_NS
from tests.envoy.requests import BODY, GRPC, HEADERS, IN_BODY, http

FROM_HEADERS, FROM_BODY = Mapping(ExtAuthzSettings(enabled=True)), Mapping(IN_BODY)


def said(mapping: Mapping, headers: dict[str, str], body: object = b"") -> str:
    """Return what is said of a request that maps to no check."""
    with pytest.raises(WireError) as caught:
        mapping.check(http(headers, body))
    return str(caught.value)


def closure(**changes: Any) -> dict[str, Any]:
    """Return the body with its closure changed."""
    return {**BODY, "closure": {**BODY["closure"], **changes}}  # type: ignore[dict-item]


def test_mapping_when_all_is_in_headers_then_each_lands_in_its_field() -> None:
    headers = HEADERS | {"x-circuit-guard-kind": "AUTO_DELEVERAGE"}

    assert FROM_HEADERS.check(http(headers)) == liquidation_pb2.LiquidationCheck(
        request_id="request-1",
        account_id="account-1",
        market=BTC,
        size="-0.5",
        kind=liquidation_pb2.CHECK_KIND_AUTO_DELEVERAGE,
        execution_price="92600",
        basis=liquidation_pb2.Basis(mark_price="92600", funding_index="20511"),
        judge_anew=True,
    )


def test_mapping_when_all_is_in_the_body_then_numbers_are_taken_as_they_were_written() -> None:
    body = json.dumps(BODY).replace("-0.5", "-0.500000000000000000001")

    check = FROM_BODY.check(http(body=body))

    assert (check.request_id, check.account_id, check.market) == ("request-1", "17", BTC)
    assert (check.size, check.execution_price) == ("-0.500000000000000000001", "92600")
    assert (check.basis.mark_price, check.basis.funding_index) == ("92600", "20511")
    assert check.kind == liquidation_pb2.CHECK_KIND_UNSPECIFIED


def test_mapping_when_envoy_sends_the_body_as_text_then_it_is_read_too() -> None:
    described = http()
    described.body = json.dumps(BODY)

    assert FROM_BODY.check(described).market == BTC


@pytest.mark.parametrize("absent", [{}, {"kind": None}, {"kind": ""}])
def test_mapping_when_a_field_is_absent_null_or_empty_then_it_is_not_given(absent: dict[str, Any]) -> None:
    assert FROM_BODY.check(http(body=closure(**absent))).kind == liquidation_pb2.CHECK_KIND_UNSPECIFIED


def test_mapping_when_the_table_above_a_field_is_absent_then_the_field_is_not_given() -> None:
    body = {key: value for key, value in BODY.items() if key != "computed_with"}

    assert FROM_BODY.check(http(body=body)).basis == liquidation_pb2.Basis()


def test_mapping_when_a_header_came_twice_then_it_is_refused_as_nobody_knows_which_counts() -> None:
    assert said(FROM_HEADERS, HEADERS | {"x-circuit-guard-market": f"{BTC},ETH-USD-PERP"}) == (
        f'market (header:x-circuit-guard-market) was "{BTC},ETH-USD-PERP", '
        "expected one value, with %2C for a comma in it: Envoy joins headers of one name with commas"
    )


@pytest.mark.parametrize(
    ("sent", "market"),
    [
        ("A%2CB%2c9BBc-USD", "A,B,9BBc-USD"),
        ("%E6%9D%B1%E4%BA%AC-USD-PERP", "東京-USD-PERP"),
        ("100%25-USD", "100%-USD"),
        ("%2541", "%41"),
        ("%F0%9F%9A%80-USD", "🚀-USD"),
    ],
)
def test_mapping_when_a_header_is_percent_encoded_then_its_text_is_taken(sent: str, market: str) -> None:
    assert FROM_HEADERS.check(http(HEADERS | {"x-circuit-guard-market": sent})).market == market


@pytest.mark.parametrize("sent", ["100%", "%4", "%zz", "%E6%9D", "%FF", "%ED%A0%80"])
def test_mapping_when_a_header_is_not_percent_encoded_utf8_then_it_is_refused(sent: str) -> None:
    assert "expected text in UTF-8 with %XX for a byte, and %25 for a percent sign" in said(
        FROM_HEADERS, HEADERS | {"x-circuit-guard-market": sent}
    )


def test_mapping_when_it_is_in_the_body_then_a_percent_sign_is_itself() -> None:
    assert FROM_BODY.check(http(body=closure(market="A%2CB"))).market == "A%2CB"


@pytest.mark.parametrize("kind", ["liquidation", "1", "LIQUIDATE", "CHECK_KIND_LIQUIDATION"])
def test_mapping_when_the_kind_is_none_then_those_that_are_are_named(kind: str) -> None:
    assert said(FROM_HEADERS, HEADERS | {"x-circuit-guard-kind": kind}) == (
        f'kind (header:x-circuit-guard-kind) was "{kind}", '
        "expected one of LIQUIDATION, AUTO_DELEVERAGE, INSURANCE_TRANSFER, TRIGGER, SETTLEMENT"
    )


@pytest.mark.parametrize(
    ("value", "shown"), [(True, "true"), ([1], '[\\"1\\"]'), ({"a": None}, '{\\"a\\": null}')], ids=repr
)
def test_mapping_when_a_field_of_the_body_is_no_text_and_no_number_then_it_is_refused(value: Any, shown: str) -> None:
    assert said(FROM_BODY, {}, closure(size=value)) == (
        f'size (json:closure.size) was "{shown}", expected a JSON string or number'
    )


def test_mapping_when_a_field_stands_where_its_table_should_then_it_is_refused() -> None:
    assert said(FROM_BODY, {}, {**BODY, "closure": "BTC"}) == (
        'market (json:closure.market) was "BTC", expected a JSON object with the key market'
    )


def test_mapping_when_a_text_cannot_be_written_then_it_is_refused() -> None:
    assert said(FROM_BODY, {}, closure(market="\ud800")) == (
        'market (json:closure.market) was "\\\\ud800", expected printable characters'
    )


@pytest.mark.parametrize(
    ("body", "ending"),
    [
        (b"", "was empty, expected a JSON object: Envoy sends it along with with_request_body"),
        (b"[1]", 'was "[\\"1\\"]", expected a JSON object'),
        (b"{", "expected a JSON object (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"),
        (b'{"id": NaN}', "expected a JSON object (no NaN, JSON has no such number)"),
        (b'{"id": -Infinity}', "expected a JSON object (no -Infinity, JSON has no such number)"),
        (b'{"id": 1, "id": 2}', "expected a JSON object (each key once, 'id' is there again)"),
        (b'{"a": {"b": 1, "b": 1}}', "expected a JSON object (each key once, 'b' is there again)"),
        (b"\xff", "expected a JSON object ('utf-8' codec can't decode byte 0xff in position 0: invalid start byte)"),
        ("\ufeff{}".encode(), "expected a JSON object (Unexpected UTF-8 BOM (decode using utf-8-sig): "),
        (b"{}{}", "expected a JSON object (Extra data: line 1 column 3 (char 2))"),
        (b"[" * 60_000, "expected a JSON object (maximum recursion depth exceeded"),
        (b" " * (BODY_BYTES_MAX + 1), f'was "{BODY_BYTES_MAX + 1} bytes", expected at most {BODY_BYTES_MAX} bytes'),
    ],
    ids=lambda value: str(value)[:24],
)
def test_mapping_when_the_body_can_be_read_in_two_ways_or_none_then_it_is_refused(body: bytes, ending: str) -> None:
    message = said(FROM_BODY, {}, body)

    assert message.startswith("body was ")
    assert ending in message


@pytest.mark.parametrize(
    ("body", "field", "shown", "key"),
    [
        (closure(Size="-9"), "size (json:closure.size)", "Size", "size"),
        (closure(price=None, PRICE="1"), "execution_price (json:closure.price)", "PRICE", "price"),
        ({**BODY, "Closure": {"market": "ETH"}}, "market (json:closure.market)", "Closure", "closure"),
        ({**BODY, "clo\u017fure": {}}, "market (json:closure.market)", "clo\\u017fure", "closure"),
    ],
    ids=["twice", "instead", "its table", "a letter that folds to it"],
)
def test_mapping_when_a_key_is_there_in_another_case_then_it_is_refused(
    body: object, field: str, shown: str, key: str
) -> None:
    expected = f"the key {key} and no other case of it: some readers ignore case"
    assert said(FROM_BODY, {}, body) == f'{field} was "{shown}", expected {expected}'


@pytest.mark.parametrize("twin", ["x_circuit_guard_size", "x-circuit_guard-size"])
def test_mapping_when_a_header_is_there_with_underscores_then_it_is_refused(twin: str) -> None:
    assert said(FROM_HEADERS, HEADERS | {twin: "-9"}) == (
        'size (header:x-circuit-guard-size) was "-9", '
        f"expected no header {twin} beside x-circuit-guard-size: some services take the two for one"
    )


def test_mapping_when_envoy_sends_a_part_of_the_body_then_it_is_refused() -> None:
    assert said(FROM_BODY, {"x-envoy-auth-partial-body": "true"}, b"{}") == (
        'body was "the first 2 bytes", expected all of it: raise max_request_bytes in Envoy'
    )


def test_mapping_when_a_grpc_call_is_to_have_json_then_that_is_said() -> None:
    assert said(FROM_BODY, {"content-type": "application/grpc+proto"}, BODY) == (
        'body was "application/grpc+proto", expected JSON: a gRPC call has its fields in header:NAME only'
    )


def test_mapping_when_all_is_in_headers_then_no_body_is_read() -> None:
    assert FROM_HEADERS.check(http(HEADERS | GRPC, b"\x00\x00\x00\x00\x00")).market == BTC


NAMES = st.sampled_from([*HEADERS, "x-circuit-guard-kind", "content-type", "x-envoy-auth-partial-body"])
TEXTS = st.sampled_from(["", "0", "-1e5", "nan", "1e999999", BTC, "LIQUIDATION", "true"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=200
)
KEYS = st.sampled_from(["id", "account", "closure", "computed_with", "market", "size", "kind", "price", "mark"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=15,
)


def judged(mapping: Mapping, described: Any) -> None:
    """Take a request all the way into the core's question, or have it refused with a sentence."""
    with suppress(WireError):
        requests.check(mapping.check(described), "check", START_NS)


@given(st.dictionaries(NAMES, TEXTS, max_size=9))
def test_mapping_when_headers_say_anything_then_it_is_a_check_or_a_sentence(headers: dict[str, str]) -> None:
    judged(FROM_HEADERS, http(HEADERS | headers))
    judged(FROM_HEADERS, http(headers))


@given(VALUES.map(json.dumps) | st.dictionaries(KEYS, VALUES).map(lambda changes: json.dumps(BODY | changes)))
def test_mapping_when_a_json_body_says_anything_then_it_is_a_check_or_a_sentence(body: str) -> None:
    judged(FROM_BODY, http(body=body))


@given(st.binary(max_size=300))
def test_mapping_when_a_body_is_any_bytes_then_it_is_a_check_or_a_sentence(body: bytes) -> None:
    judged(FROM_BODY, http(body=body))
