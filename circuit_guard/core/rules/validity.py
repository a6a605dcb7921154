"""validity: values that cannot be meant. NaN, infinity, absurd magnitudes, prices at or below zero."""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.envelope import FundingParameters
from circuit_guard.core.inputs import Check
from circuit_guard.core.market import Published, readable
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.rule import CALLER, FRESH, Delay, Excuse, Judges, Reason, Rule, any_closure
from circuit_guard.core.types import EXPONENT_MAX, Finding, Severity
from circuit_guard.core.view import MarketView

NOT_A_NUMBER = "not_a_number"
VALUE_ABSURD = "value_absurd"
PRICE_NOT_POSITIVE = "price_not_positive"
VALUE_MISSING = "value_missing"
VALUE_UNREADABLE = "value_unreadable"
UNKNOWN_SOURCE = "unknown_source"


PRICES = ("mark_price", "index_price")
VALUES = Published._fields
EXPECTED_IN_EVERY_OBSERVATION = ("mark_price", "funding_index")


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Latch on values no exchange publishes on purpose; warn of a missing one. Absent is never zero."""
    if view.closure is not None:
        yield from _closure(view.closure)
    if view.observation is None:
        return
    for name, legible in zip(VALUES, view.published, strict=True):
        if name == "funding_index" and policy.of(FundingParameters).rates_only:
            continue
        value = legible if legible is not None else getattr(view.observation, name)
        if value is None:
            if name in EXPECTED_IN_EVERY_OBSERVATION or name in view.state.given:
                yield Finding(VALUE_MISSING, Severity.WARN, name, "not given", "a value, as before")
        elif legible is None and not value.is_finite():
            yield Finding(NOT_A_NUMBER, Severity.LATCH, name, str(value), "a finite number")
        elif legible is None:
            limit = f"a magnitude within 1e-{EXPONENT_MAX} .. 1e{EXPONENT_MAX}"
            yield Finding(VALUE_ABSURD, Severity.LATCH, name, f"{value:.3e}", limit)
        elif name in PRICES and value <= 0 and not policy.allow_negative_price:
            yield Finding(PRICE_NOT_POSITIVE, Severity.LATCH, name, str(value), "> 0")


def _closure(check: Check) -> Iterator[Finding]:
    """Deny on a caller's value that no rule could compute with."""
    for subject, value in (
        ("execution_price", check.execution_price),
        ("basis.mark_price", check.basis.mark_price),
        ("basis.funding_index", check.basis.funding_index),
    ):
        if value is not None and readable(value) is None:
            yield Finding(VALUE_UNREADABLE, Severity.DENY, subject, str(value)[:40], "a finite number")


def _delays(policy: MarketPolicy) -> Iterator[Delay]:
    yield Delay("a value that is no number, or an impossible price", 0, latches=True)


RULE = Rule(
    name="validity",
    rank=10,
    catches="NaN, infinity, absurd exponents, a zero or negative price (unless the market allows it: WTI was at "
    "-37.63), a value that is absent. Latches.",
    judges=Judges.BOTH,
    reasons={
        NOT_A_NUMBER: Reason("a published value is not a finite number", FRESH),
        VALUE_ABSURD: Reason("a published value is too large or too small to be meant", FRESH),
        PRICE_NOT_POSITIVE: Reason(
            "a price is zero or negative in a market that has no such prices", FRESH, Excuse.KNOWN_PRICE
        ),
        VALUE_MISSING: Reason("a value that closures rest on was not given", FRESH),
        VALUE_UNREADABLE: Reason("a value in the request is not a finite number", CALLER),
        UNKNOWN_SOURCE: Reason("the policy does not name this source for the market", CALLER),
    },
    evaluate=evaluate,
    permits=any_closure,
    delays=_delays,
)
