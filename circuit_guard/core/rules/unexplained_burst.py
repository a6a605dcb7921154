"""unexplained_burst: closures come in numbers that no move of the reference price explains.

Volume alone never trips: 11,279 liquidations came in one second of a genuine crash. What trips is a burst in a market
whose reference price has stood nearly still, as a reset index makes it.
"""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.types import CheckKind, Finding, Severity, show_seconds
from circuit_guard.core.view import MarketView


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Trip on many different accounts asked about within the window while the reference price hardly moved."""
    rule, references, closure = policy.burst, view.references, view.closure
    if not rule.accounts or closure is None or closure.kind is not CheckKind.LIQUIDATION or references.price is None:
        return
    if len(view.state.asked) + 1 < rule.accounts:  # with the one that is asking now
        return
    accounts = view.state.asked.count(view.now_ns, rule.window_ns, closure.account_id)
    if accounts < rule.accounts or not references.quorum:
        return
    moved = references.width / abs(references.price) if references.price else references.width
    if moved < rule.move_share:
        observed = f"{accounts} accounts within {show_seconds(rule.window_ns)} of a market that moved {moved:.3%}"
        limit = f"fewer than {rule.accounts}, or a move of {rule.move_share:.2%}"
        yield Finding(Reason.UNEXPLAINED_BURST, Severity.TRIP, "closures", observed, limit)
