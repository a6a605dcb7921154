"""Whether the guard is ready: every market that the policy requires has been warm once."""

from __future__ import annotations

from collections.abc import Sequence

from circuit_guard.core.facts import Fact, MarketWarm, PolicyChanged
from circuit_guard.core.policy import Policy
from circuit_guard.core.state import GuardState


class Readiness:
    """Readiness is given once and stays: later trouble with a market is answered check by check, and costs no other."""

    def __init__(self, state: GuardState, policy: Policy) -> None:
        self._given = not _cold(state, policy)

    def look(self, state: GuardState, policy: Policy, facts: Sequence[Fact]) -> None:
        """Give readiness where the facts have made the last required market warm, or have changed the policy."""
        if not self._given and any(isinstance(fact, MarketWarm | PolicyChanged) for fact in facts):
            self._given = not _cold(state, policy)

    def reasons(self, state: GuardState, policy: Policy) -> list[str]:
        """Return why the guard is not ready, one sentence each; empty when it is."""
        if self._given:
            return []
        return [f"market {market} is required and still warming" for market in _cold(state, policy)]


def _cold(state: GuardState, policy: Policy) -> list[str]:
    return [name for name, market in policy.markets.items() if market.required and not state.markets[name].warm]
