"""Questions read for permits: read field by field they are the same checks, and their answers the same messages."""

from __future__ import annotations

import string
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuit_guard.core.facts import DecisionMade
from circuit_guard.core.permit import Asked, check_of, decision_of
from circuit_guard.core.types import AllowedCheck, CheckKind, Phase
from circuit_guard.server.convert import answers, requests
from circuit_guard.v1 import liquidation_pb2
from tests.server.harness import basis, check

AT_NS = 1_768_780_800_123_456_789
plain = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9).map(str)
odd = st.sampled_from(
    (
        "",
        "0",
        "-0",
        "0.00",
        "-0.0",
        "007",
        "1e5",
        "+1",
        ".5",
        "5.",
        "NaN",
        "1_0",
        " 1",
        "1 ",
        "1 2",
        "٣",
        "9" * 18,
        "9" * 41,
    )
)
long = st.sampled_from(("9" * 18, "9" * 19, "9" * 41, "0." + "1" * 18, "0." + "1" * 19))
texts = st.one_of(plain, plain, odd, long, st.text(string.printable, max_size=6))
names = st.one_of(st.just("r-1"), st.sampled_from(("", " a", "a b", "a\n", "x" * 128, "x" * 129, "名前")))


def without_account(**values: object) -> liquidation_pb2.LiquidationCheck:
    message = check(**values)
    message.ClearField("account")
    return message


def allowed(asked: Asked, number: int = 7) -> AllowedCheck:
    named = asked.request_id, asked.account_id, asked.market, asked.kind
    values = asked.size, asked.execution_price, asked.mark_price, asked.funding_index
    return AllowedCheck(AT_NS, number, *named, *values, Phase.OPEN, "abcdef012345")


@given(
    size=texts,
    execution=texts,
    mark=texts,
    funding=texts,
    request_id=names,
    account_id=names,
    kind=st.integers(0, 6),
)
def test_asked_when_it_can_be_read_then_field_by_field_it_is_the_same_check(
    size: str, execution: str, mark: str, funding: str, request_id: str, account_id: str, kind: int
) -> None:
    message = without_account(
        size=size,
        execution_price=execution,
        basis=basis(mark_price=mark, funding_index=funding),
        request_id=request_id,
        account_id=account_id,
        kind=kind,
    )

    asked = requests.asked(message)

    if asked is not None:
        read = requests.check(message, "check", AT_NS)
        found = check_of(allowed(asked))
        assert found == read
        assert found.content() == read.content()
        assert (asked.execution, asked.mark, asked.funding) == (
            read.execution_price,
            read.basis.mark_price,
            read.basis.funding_index,
        )


@pytest.mark.parametrize("size", ["0", "-0", "0.0", "-0.000", "", "1e3", "1 2", "NaN"])
def test_asked_when_the_size_is_none_then_it_is_read_field_by_field(size: str) -> None:
    assert requests.asked(without_account(size=size)) is None


def test_asked_when_it_is_as_engines_write_it_then_it_can_be_read() -> None:
    asked = requests.asked(without_account(size="-0.5"))

    assert asked is not None
    assert requests.asked(check(size="-0.5")) is None, "it has an account"
    assert asked.mark == Decimal(asked.mark_price)


@given(
    request_id=st.text(min_size=1, max_size=128),
    account_id=st.sampled_from(("a", "x" * 128, "名" * 128)),
    kind=st.sampled_from(list(CheckKind)),
    at_ns=st.integers(0, 2**62),
    number=st.integers(1, 2**60),
)
def test_answer_when_it_is_of_a_template_then_it_is_the_message_of_the_decision(
    request_id: str, account_id: str, kind: CheckKind, at_ns: int, number: int
) -> None:
    one = AllowedCheck(
        at_ns, number, request_id, account_id, "BTC-USD-PERP", kind, "1", "2", "3", "4", Phase.POST_ONLY, "r"
    )

    spliced = liquidation_pb2.LiquidationDecision.FromString(answers.allowed(one))

    assert spliced == answers.decision(DecisionMade(at_ns, decision_of(one)))


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 500_000])
def test_field_when_it_is_long_then_its_length_is_written_as_protobuf_does(length: int) -> None:
    message = liquidation_pb2.CheckLiquidationStreamResponse(request_id="x" * length)

    found = liquidation_pb2.CheckLiquidationStreamResponse.FromString(answers.delimited(1, b"x" * length))

    assert found == message
