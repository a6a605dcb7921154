"""What the guard cannot see in principle: how large a wrong margin surplus can hide in what it takes for possible."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from circuit_guard.core.envelope import Interval
from circuit_guard.core.guard import GuardState
from circuit_guard.core.inputs import Account, Position
from circuit_guard.core.margin import World, surplus
from circuit_guard.core.policy import MarketPolicy, Policy
from circuit_guard.core.progress import view_of
from circuit_guard.core.references import HullParameters
from circuit_guard.core.rules.divergence import DivergenceParameters
from circuit_guard.core.rules.unexplained_loss import ExplainedLossParameters


class Worlds(NamedTuple):
    """Where a market can truly be, and what the guard takes for possible, which is more."""

    true: World
    possible: World

    def reaching(self, mark: Decimal | None) -> Worlds:
        """Return the same where the true mark price may be this one, too."""
        if mark is None:
            return self
        known, funding = self.true
        return self._replace(true=World(Interval(min(known.low, mark), max(known.high, mark)), funding))


def hidden_max(
    state: GuardState,
    account: Account,
    policy: Policy,
    at_ns: int,
    true_mark: Callable[[str], Decimal | None],
    *,
    carried: bool = True,
) -> Decimal | None:
    """Return the envelope's limit for an account now, in quote currency; None where the guard knows no envelope.

    It is how far the surplus at values that the guard takes for possible can be below that at the true mark price, or
    at any that the references agree on: an account that truly has so much or more cannot look under water inside the
    envelopes. It is what `policy explain` states, with the moves of this minute, and with how far the true price itself
    is from the references. A check that does not carry the
    account (`carried` false) is only held against the wider limits of the rule divergence.
    """
    by_market: dict[str, list[Position]] = {}
    for position in account.positions:
        by_market.setdefault(position.market, []).append(position)
    limit = Decimal(0)
    for market, positions in by_market.items():
        market_policy = policy.markets.get(market)
        worlds = None if market_policy is None else _worlds(state, market, market_policy, at_ns, carried=carried)
        if worlds is None:
            return None
        worlds = worlds.reaching(true_mark(market))
        limit += surplus(positions, worlds.true).high - surplus(positions, worlds.possible).low
    return limit


def _worlds(state: GuardState, market: str, policy: MarketPolicy, at_ns: int, *, carried: bool) -> Worlds | None:
    view = view_of(state.markets[market], policy, at_ns)
    rule, base = policy.of(ExplainedLossParameters), policy.of(DivergenceParameters).base
    hull_widths = policy.of(HullParameters).hull_widths
    tolerance = (rule.mark_share, rule.hull_widths) if carried else (base, hull_widths)
    anchors, marks, funding = view.references.anchors, view.references.limits(*tolerance), view.funding_envelope(policy)
    if anchors is None or not isinstance(marks, Interval) or funding is None:
        return None
    low, high = sorted(anchors)  # without a quorum those that part leave no common price
    return Worlds(World(Interval(low, high), funding), World(marks, funding))
