"""Single fields: whatever text comes, it is read exactly or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuit_guard.errors import WireError
from circuit_guard.server.convert import fields

T = TypeVar("T")

NUMBERISH = st.text(alphabet="0123456789+-.eEnaNifIy _,x", max_size=70) | st.text(max_size=70)
BOUNDED = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=6)


def read(reader: Callable[[str, str, str], T], text: str) -> T | WireError:
    """Return what the reader makes of the text, or its error."""
    try:
        return reader(text, "observations[3]", "mark_price")
    except WireError as error:
        return error


@given(NUMBERISH)
def test_decimal_when_any_text_comes_then_it_is_read_exactly_or_refused(text: str) -> None:
    value = read(fields.decimal, text)

    if isinstance(value, WireError):
        assert (value.field, value.value) == ("observations[3].mark_price", text)
    elif value is None:
        assert text == ""
    elif value.is_nan():
        assert text.lower().lstrip("+-") == "nan"
    else:
        assert value == Decimal(text)
        assert len(value.as_tuple().digits) <= 40


@given(NUMBERISH)
def test_finite_when_any_text_comes_then_it_can_be_computed_with_or_is_refused(text: str) -> None:
    value = read(fields.finite, text)

    if isinstance(value, Decimal):
        assert value == 0 or Decimal("1e-30") <= abs(value) <= Decimal("1e30")


@given(BOUNDED)
def test_decimal_when_a_number_is_written_out_then_it_comes_back_whatever_the_notation(number: Decimal) -> None:
    for text in (str(number), f"{number:f}", f"{number:e}", f"{number:E}"):
        if len(text) <= 64:
            assert fields.decimal(text, "", "price") == number


@given(st.text(max_size=200))
def test_text_when_anything_comes_then_only_bounded_printable_text_passes(text: str) -> None:
    bounded = 1 <= len(text) <= 128 and text.isprintable() and text == text.strip()

    value = read(fields.text, text)

    assert value == text if bounded else isinstance(value, WireError)


@pytest.mark.parametrize("text", ["0", "-0", "0.000", "0e999999", "-0e-999999"])
def test_decimal_when_it_is_zero_then_its_exponent_is_forgotten(text: str) -> None:
    assert str(fields.decimal(text, "", "price")) == "0"


@pytest.mark.parametrize("text", ["1e30", "-1e30", "1e-30", "1" + "0" * 30])
def test_finite_when_it_is_at_the_limit_then_it_passes(text: str) -> None:
    assert fields.finite(text, "", "price") == Decimal(text)
