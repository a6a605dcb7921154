"""What holding closures costs: accounts that are under water at trusted values too, and are not closed."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from circuit_guard.core.gates import ACCOUNT_TAINTED
from circuit_guard.core.types import SECOND_NS, Decision, ExplainedLoss, Explanation, Verdict
from circuit_guard.telemetry.families import Families

ASKED_WITHIN_NS = 60 * SECOND_NS
"""An engine asks again while it wants a closure; one that it has not asked about for so long does not wait."""
ACCOUNTS_MAX = 10_000
"""Accounts remembered for one market; beyond that the one asked about longest ago is forgotten."""


class _Waiting(NamedTuple):
    asked_ns: int
    shortfall: Decimal


class MarketCosts:
    """The closures of one market by what trusted values say of the account, and those of them that wait.

    Only checks that carry their account are seen. An account waits from a denial whose loss is EXPLAINED until it is
    allowed, is no longer under water, or is not asked about any more.
    """

    def __init__(self, families: Families, market: str) -> None:
        self._verdicts = {verdict: families.explained_losses.labels(market, verdict) for verdict in Explanation}
        self._denials = families.explained_denials.labels(market)
        self._held_closures = families.held_closures.labels(market)
        self._held_shortfall = families.held_shortfall.labels(market)
        self._waiting: dict[str, _Waiting] = {}

    def count(self, decision: Decision) -> None:
        """Count a decision, and remember or forget its account."""
        loss = decision.explained
        if loss is None:
            return
        self._verdicts[loss.verdict].inc()
        self._waiting.pop(decision.account_id, None)
        if decision.verdict is Verdict.ALLOW or loss.high is None or not _justified(decision, loss):
            return
        self._denials.inc()
        self._waiting[decision.account_id] = _Waiting(decision.at_ns, -loss.high)
        if len(self._waiting) > ACCOUNTS_MAX:
            del self._waiting[next(iter(self._waiting))]

    def show(self, now_ns: int) -> None:
        """Set the gauges of what waits now."""
        while self._waiting:
            oldest = next(iter(self._waiting))
            if now_ns - self._waiting[oldest].asked_ns <= ASKED_WITHIN_NS:
                break
            del self._waiting[oldest]
        self._held_closures.set(len(self._waiting))
        self._held_shortfall.set(float(sum(one.shortfall for one in self._waiting.values())))


def _justified(decision: Decision, loss: ExplainedLoss) -> bool:
    """Return whether the closure is due. A tainted account is under water for a value that was never true."""
    tainted = any(finding.reason == ACCOUNT_TAINTED for finding in decision.findings)
    return loss.verdict is Explanation.EXPLAINED and not tainted
