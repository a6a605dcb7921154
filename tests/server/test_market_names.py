"""A market may have a name in any script, and it is the same name, or refused, at every entrance."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from unicodedata import normalize
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from circuit_guard.client import questions as client
from circuit_guard.client import wire as client_wire
from circuit_guard.client.arguments import ArgumentError
from circuit_guard.config.envoy import ExtAuthzSettings
from circuit_guard.config.policy import RESERVED_MARKETS, parse_policy
from circuit_guard.core.inputs import Check, Reference
from circuit_guard.core.names import is_market, unknown
from circuit_guard.errors import PolicyError, WireError
from circuit_guard.journal import codec
from circuit_guard.recording.format import EntryParser, FieldError, parse_header
from circuit_guard.server.convert import requests
from circuit_guard.server.envoy.mapping import Mapping
from circuit_guard.v1 import market_data_pb2
from tests.envoy.requests import BODY, HEADERS, IN_BODY, http
from tests.server.harness import check

FROM_HEADERS, FROM_BODY = Mapping(ExtAuthzSettings(enabled=True)), Mapping(IN_BODY)


def in_the_policy(name: str) -> str:
    text = "".join(f"\\U{ord(char):08x}" for char in name)
    document = f'[global_breaker]\nlatched_markets_min = 1\n[classes.default]\n[markets."{text}"]\n'
    (market,) = parse_policy(document, "policy.toml").markets
    return market


def in_a_question(name: str) -> str:
    return requests.check(check(market=name), "check", 0).market


def in_a_publication(name: str) -> str:
    message = market_data_pb2.Reference(market=name, source="okx", price="1", event_time={"seconds": 1})
    return requests.reference(message, "references[0]", 0).market


def in_a_recording(name: str) -> str:
    line = '{"at": "2026-01-19T04:30:00Z", "reference": {"market": %s, "source": "okx", '
    entry = EntryParser().parse(line % json.dumps(name) + '"event_time": "2026-01-19T04:30:00Z", "price": "1"}}')
    assert isinstance(entry, Reference)
    return entry.market


def in_a_header(name: str) -> str:
    (market,) = parse_header(f'{{"circuit_guard_recording": 1, "markets": {{{json.dumps(name)}: {{}}}}}}').markets
    return market


def from_the_client(name: str) -> str:
    closure = client.Closure(market=name, account_id="a", size=Decimal(1), request_id="r")
    return requests.check(client_wire.check(closure), "check", 0).market


def through_the_journal(name: str) -> str:
    return codec.decode_as(Check, codec.encode(Check(0, "r", "a", name, Decimal(1)))).market


def in_a_header_of_envoy(name: str) -> str:
    asked = FROM_HEADERS.check(http(HEADERS | {"x-circuit-guard-market": quote(name, safe="")}))
    return requests.check(asked, "check", 0).market


def in_a_body_behind_envoy(name: str) -> str:
    body = BODY | {"closure": {"market": name, "size": -0.5, "price": "92600"}}
    return requests.check(FROM_BODY.check(http(body=body)), "check", 0).market


ENTRANCES: dict[str, Callable[[str], str]] = {
    "policy": in_the_policy,
    "question": in_a_question,
    "publication": in_a_publication,
    "recording": in_a_recording,
    "header of a recording": in_a_header,
    "client": from_the_client,
    "header of Envoy": in_a_header_of_envoy,
    "body behind Envoy": in_a_body_behind_envoy,
}
TAKEN = (
    "币安人生USDT",
    "@107",
    "A,B,9BBc-USD",
    "=1+1",
    "-X",
    "\u0412\u0422\u0421/\u0440\u0443\u0431",
    "ビットコイン",
    "🚀-USD",
    'quo"te',
    "a b",
    "x" * 128,
)
REFUSED = (
    "",
    " BTC",
    "BTC ",
    "BTC\n",
    "B\tC",
    "A\u200bB",
    "\u202eCTB",
    "x" * 129,
    normalize("NFD", "Č-USD"),
    "\ufb01ne\u0301",
)
REFUSALS = (PolicyError, WireError, FieldError, ArgumentError)
names = st.text(st.characters(codec="utf-8"), max_size=130)


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("entrance", [*ENTRANCES.values(), through_the_journal], ids=[*ENTRANCES, "journal"])
def test_market_when_it_is_named_in_any_script_then_every_entrance_takes_the_name_as_it_is(
    entrance: Callable[[str], str], name: str
) -> None:
    assert entrance(name) == name


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
@pytest.mark.parametrize("entrance", ENTRANCES.values(), ids=ENTRANCES)
def test_market_when_its_name_is_invisible_too_long_or_not_composed_then_every_entrance_refuses_it(
    entrance: Callable[[str], str], name: str
) -> None:
    with pytest.raises(REFUSALS, match=r"NFC|printable"):
        entrance(name)


@given(names)
@example("e\u0301")
@example("\x00")
def test_market_when_it_has_any_name_then_all_entrances_agree_on_it(name: str) -> None:
    taken = set()
    for entrance in ENTRANCES.values():
        try:
            taken.add(entrance(name) == name)
        except REFUSALS:
            taken.add(False)
    assert taken == {is_market(name)} or name in RESERVED_MARKETS


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("btc-usd-perp", "BTC-USD-PERP"),
        ("BTC/USD-PERP", "BTC-USD-PERP"),
        ("BTCUSDPERP", "BTC-USD-PERP"),
        ("\uff22\uff34\uff23_usd_Perp", "BTC-USD-PERP"),  # wide letters, as some keyboards have them
        ("1000pepe:usd", "1000PEPE-USD"),
        ("币安人生-usdt", "币安人生USDT"),
        ("@-107", "@107"),
        ("Stra\u00dfe", "STRASSE or strasse"),
        ("ETH-USD-PERP", "a market that the policy names"),
        ("BTC-USD-PERP-2", "a market that the policy names"),
        ("---", "a market that the policy names"),
    ],
)
def test_market_when_only_case_or_separators_differ_then_the_one_meant_is_named(asked: str, meant: str) -> None:
    known = ["BTC-USD-PERP", "1000PEPE-USD", "币安人生USDT", "@107", "STRASSE", "strasse", "::"]
    assert unknown(asked, known).limit == meant
