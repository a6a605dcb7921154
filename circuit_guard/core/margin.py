"""Explained loss: is the account under water at trusted values too?

The margin surplus of an account (DESIGN 3),

    collateral + sum( s*(m - entry) - |s*m|*mmf - s*(f - cached) ),

is linear in every funding index `f` and, where prices are positive, in every mark `m`; at zero its maintenance margin
has a kink. So over the intervals in which marks and indices can honestly be it has exact bounds, found at their ends
and at zero. Lower >= 0: the account is healthy in every admissible world, and closing it is UNEXPLAINED. Upper < 0: it
is under water in all of them, EXPLAINED. Positions in one market share its mark and its index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from circuit_guard.core.envelope import Interval
from circuit_guard.core.inputs import Account, Position
from circuit_guard.core.types import ExplainedLoss, Explanation

ZERO = Decimal(0)


class World(NamedTuple):
    """Where a market's mark price and funding index can honestly be now."""

    mark_price: Interval
    funding_index: Interval


def explain(account: Account, worlds: Mapping[str, World | None]) -> ExplainedLoss:
    """Return whether the account is under water, over every world of its markets.

    `worlds` has each market of the account; None where nothing is trusted of it: then nothing can be said.
    """
    unknown = tuple(dict.fromkeys([p.market for p in account.positions if worlds.get(p.market) is None]))
    if unknown:
        return ExplainedLoss(Explanation.NOT_EVALUATED, unknown=unknown)
    low = high = account.collateral
    for market, positions in _by_market(account.positions).items():
        world = worlds[market]
        if world is not None:
            part = surplus(positions, world)
            low, high = low + part.low, high + part.high
    if low >= 0:
        return ExplainedLoss(Explanation.UNEXPLAINED, low, high)
    return ExplainedLoss(Explanation.EXPLAINED if high < 0 else Explanation.INDETERMINATE, low, high)


def surplus(positions: Iterable[Position], world: World) -> Interval:
    """Return the bounds of what positions in one market add to the surplus, in quote currency."""
    size = margin = fixed = ZERO
    for position in positions:
        held = position.size
        size += held
        margin += abs(held) * position.maintenance_margin_fraction
        fixed += held * (position.cached_funding_index - position.entry_price) - position.maintenance_margin
    mark, funding = world
    values = [mark.low * size - abs(mark.low) * margin, mark.high * size - abs(mark.high) * margin]
    if mark.low < 0 < mark.high:
        values.append(ZERO)
    funded = (-funding.low * size, -funding.high * size)
    return Interval(fixed + min(values) + min(funded), fixed + max(values) + max(funded))


def _by_market(positions: Iterable[Position]) -> dict[str, list[Position]]:
    grouped: dict[str, list[Position]] = {}
    for position in positions:
        grouped.setdefault(position.market, []).append(position)
    return grouped
