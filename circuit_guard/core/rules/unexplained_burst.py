"""unexplained_burst: closures come in numbers that no move of the reference price explains.

Volume alone never trips: 11,279 liquidations came in one second of a genuine crash. What trips is a burst in a market
whose reference price has stood nearly still, as a reset index makes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from circuit_guard.core.parameters import Parameters, count, seconds, share
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.rule import EVIDENCE, Delay, Judges, Permitted, Reason, Rule
from circuit_guard.core.types import (
    CheckKind,
    Explanation,
    Finding,
    Severity,
    short_seconds,
    show_percent,
    show_seconds,
)
from circuit_guard.core.view import MarketView

UNEXPLAINED_BURST = "unexplained_burst"


@dataclass(frozen=True, slots=True)
class BurstParameters(Parameters):
    """A burst is more liquidations than any move of the reference price explains. Volume alone never trips."""

    TABLE: ClassVar[str] = "burst"

    accounts: int = count(
        100,
        "This many different accounts are a burst. 0: no number is. The default is a guess: take it from your "
        "own quiet days. Fewer: a busy quiet day trips. More: more wrong closures that nothing else sees pass.",
        least=0,
        most=10_000,
    )
    window_ns: int = seconds(10, "Accounts are counted within this time. Longer: ordinary closures add up to a burst.")
    move_share: Decimal = share(
        "0.003",
        "A move of the reference price by this within divergence.window_s explains any number of closures. "
        "Smaller: fewer closures count as a burst. Larger: a genuine cascade after a small move trips.",
    )
    trend_share: Decimal = share(
        "0.01",
        "A move by this within divergence.trend_s also explains any number: a slow fall moves little in half a minute.",
    )


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Trip on many different accounts asked about within the window while the reference price hardly moved."""
    rule, references, closure = policy.of(BurstParameters), view.references, view.closure
    if not rule.accounts or closure is None or closure.kind is not CheckKind.LIQUIDATION or references.price is None:
        return
    known = view.state.asked
    if len(known) + 1 < rule.accounts or not counted(view):  # with the one that is asking now
        return
    accounts = known.count(view.now_ns, rule.window_ns) + (not known.knows(closure.account_id))
    if accounts >= rule.accounts and references.quorum and not view.once(_moved):
        moved = references.width / (references.prices.of(references.price) or Decimal(1))
        observed = f"{accounts} accounts within {show_seconds(rule.window_ns)} of a market that moved {moved:.3%}"
        limit = f"fewer than {rule.accounts}, or a move of {rule.move_share:.2%}"
        yield Finding(UNEXPLAINED_BURST, Severity.TRIP, "closures", observed, limit)


def _moved(view: MarketView, policy: MarketPolicy) -> bool:
    """Return whether the reference price has moved enough to explain any number of closures."""
    rule, references = policy.of(BurstParameters), view.references
    prices, price = references.prices, references.price
    if price is None:
        return False
    slow, fast = prices.reach(rule.trend_share, price), prices.reach(rule.move_share, price)
    return references.trend >= slow or references.width >= fast


def _permits(view: MarketView, policy: MarketPolicy) -> Permitted | None:
    rule = policy.of(BurstParameters)
    any_number = not rule.accounts or not view.references.quorum or view.once(_moved)
    return Permitted() if any_number else Permitted(accounts=rule.accounts, window_ns=rule.window_ns)


def counted(view: MarketView) -> bool:
    """Return whether the closure of a view counts towards a burst.

    One that trusted values explain does not, nor does what was held and drains at the ramp's rate, nor one that is
    denied as it is: asked again and again, it would add up to a burst of its own.
    """
    explained = view.explained is not None and view.explained.verdict is Explanation.EXPLAINED
    return not explained and not view.denied and view.state.ramp is None and view.state.held_since_ns is None


def _delays(policy: MarketPolicy) -> Iterator[Delay]:
    rule = policy.of(BurstParameters)
    move = f"while the reference price moves less than {show_percent(rule.move_share)}"
    if rule.accounts:
        what = f"liquidations of {rule.accounts} accounts in {short_seconds(rule.window_ns)}, {move}"
        yield Delay(what, None, 0, rule.accounts)
    else:
        yield Delay(f"liquidations in any number, {move}", None)


RULE = Rule(
    name="unexplained_burst",
    rank=110,
    catches="Closures far above normal while the reference price has not moved enough to explain them. Trips.",
    judges=Judges.CLOSURES,
    parameters=BurstParameters,
    reasons={
        UNEXPLAINED_BURST: Reason("there are more closures than any move of the reference price explains", EVIDENCE)
    },
    evaluate=evaluate,
    permits=_permits,
    delays=_delays,
)
