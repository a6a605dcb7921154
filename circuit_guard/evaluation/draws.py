"""What evaluations draw by chance, and how values are rounded as an exchange would publish them."""

from __future__ import annotations

from decimal import Context, Decimal
from math import exp, log
from random import Random

from circuit_guard.core.types import SECOND_NS

_DIGITS = Context(prec=28)


def short(value: Decimal) -> Decimal:
    """Return a value with no more digits than an exchange would publish."""
    return _DIGITS.plus(value)


def seconds_ns(random: Random, low: float, high: float) -> int:
    """Return a duration between two numbers of seconds, each order of magnitude as likely."""
    return int(exp(random.uniform(log(low), log(high))) * SECOND_NS)
