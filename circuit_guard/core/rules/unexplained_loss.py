"""unexplained_loss: the account is healthy at every value that can honestly be, so somebody computed with another.

It sees an engine that adds up other values than it shows: a margin table, a position or a balance from elsewhere. What
is wrong in the check itself (its collateral, entry price or cached index) it takes for the truth.
"""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.types import Explanation, Finding, Severity, show, show_seconds
from circuit_guard.core.view import MarketView


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny the closure of a healthy account; trip when so many different ones were asked about in a short time.

    An account that rests on a market which is not to be trusted now says nothing against this one; nor does one while
    this market's own mark price is in doubt: when references lag in a crash, all of them look healthy, and whether that
    price is wrong is for divergence to find out.
    """
    explained, rule, closure = view.explained, policy.explained_loss, view.closure
    if not rule.deny or closure is None or explained is None or explained.verdict is not Explanation.UNEXPLAINED:
        return
    accounts = view.state.unexplained.count(view.now_ns, rule.window_ns, closure.account_id)
    trips = accounts >= rule.trip_accounts and not view.contaminated
    severity = Severity.TRIP if trips else Severity.DENY
    among = f", account {accounts} within {show_seconds(rule.window_ns)}" if accounts > 1 else ""
    observed = f"a surplus of at least {show(explained.low)}{among}"
    yield Finding(Reason.UNEXPLAINED_LOSS, severity, "account", observed, "a loss at some admissible value")
