"""contradiction: a check whose account does not hold what it closes. Such a closure would open or turn a position.

The margin formula cannot see it: it values the account as given, whatever is to be closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from circuit_guard.core.inputs import Account
from circuit_guard.core.market import readable
from circuit_guard.core.parameters import Parameters, flag
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.rule import CALLER, Delay, Judges, Reason, Rule, any_closure
from circuit_guard.core.types import Finding, Severity, show
from circuit_guard.core.view import MarketView

CHECK_CONTRADICTS_ACCOUNT = "check_contradicts_account"


@dataclass(frozen=True, slots=True)
class ContradictionParameters(Parameters):
    """Whether a closure has to fit the account that comes with it. Without an account nothing of this applies."""

    TABLE: ClassVar[str] = "contradiction"

    deny: bool = flag(
        True,
        "Deny a closure in a market where the account has no position, on the wrong side, or larger than the position. "
        "false: where your engine sends the account as it will be after the closure.",
    )


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny a closure that its own account contradicts. A size equal to the position closes all of it, and passes."""
    closure = view.closure
    if closure is None or closure.account is None or not policy.of(ContradictionParameters).deny:
        return
    size, held = readable(closure.size), _held(closure.account, closure.market)
    if size is None or held is None:
        return  # the rule validity and the gates deny what is not readable
    long, short = held
    closed, closes, other = (long, "long", short) if size < 0 else (short, "short", long)
    if abs(size) <= closed:
        return
    if closed:
        limit = f"no more than the account's {closes} of {show(closed)} in {closure.market}"
    elif other:
        trade, has = ("a buy", "short") if size < 0 else ("a sell", "long")
        limit = f"{trade}: the account only has a {has} of {show(other)} in {closure.market}"
    else:
        limit = f"a position of the account in {closure.market}"
    yield Finding(CHECK_CONTRADICTS_ACCOUNT, Severity.DENY, "size", show(size), limit)


def _held(account: Account, market: str) -> tuple[Decimal, Decimal] | None:
    """Return how much an account is long and short in a market, in base units; None where a size is not readable."""
    long = short = Decimal(0)
    for position in account.positions:
        if position.market != market:
            continue
        if readable(position.size) is None:
            return None
        if position.size > 0:
            long += position.size
        else:
            short -= position.size
    return long, short


def _delays(policy: MarketPolicy) -> Iterator[Delay]:
    denied = policy.of(ContradictionParameters).deny
    yield Delay("a closure that the account of its own check contradicts", 0 if denied else None)


RULE = Rule(
    name="contradiction",
    rank=95,
    catches="A closure on the wrong side, larger than the position, or where the account of its own check has none. "
    "Denies.",
    judges=Judges.CLOSURES,
    parameters=ContradictionParameters,
    reasons={CHECK_CONTRADICTS_ACCOUNT: Reason("the closure does not fit the account that its check gives", CALLER)},
    evaluate=evaluate,
    judges_accounts=True,
    permits=any_closure,
    delays=_delays,
)
