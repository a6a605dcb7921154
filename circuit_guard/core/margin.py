"""Explained loss: is the account under water at trusted values too?

The margin surplus of an account (DESIGN 3),

    collateral + sum( q*m*(1 - haircut) ) + sum( s*(m - entry) - |s*m|*mmf - s*(f - cached) ),

is linear in every funding index `f` and, where prices are positive, in every mark `m`; at zero its maintenance margin
has a kink. So over the intervals in which marks and indices can honestly be it has exact bounds, found at their ends
and at zero. Lower >= 0: the account is healthy in every admissible world, and closing it is UNEXPLAINED. Upper < 0: it
is under water in all of them, EXPLAINED. Positions and collateral assets in one market share its mark and its index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

from circuit_guard.core.envelope import Interval
from circuit_guard.core.inputs import Account, Position
from circuit_guard.core.types import ExplainedLoss, Explanation

ZERO = Decimal(0)


class World(NamedTuple):
    """Where a market's mark price and funding index can honestly be now."""

    mark_price: Interval
    funding_index: Interval


UNKNOWN_MAX = 3
"""Markets that an answer names of those whose values nothing is known of."""


def explain(
    account: Account, worlds: Mapping[str, World | None], apart: Mapping[int, World] = MappingProxyType({})
) -> ExplainedLoss:
    """Return whether the account is under water, over every world of its markets.

    `worlds` has each market of the account; None where nothing is known of it. A position there may be worth anything
    from nothing to twice its entry: a small one decides nothing, and a large one leaves the account undecided. Assets
    there may be worth nothing, or anything. `apart` has a world of its own for a position, by its place, that another
    value may have been settled with.
    """
    low = high = account.collateral
    unknown: list[str] = []
    together: dict[str, list[Position]] = {}
    parts: list[tuple[Decimal, Decimal]] = []
    for place, held in enumerate(account.positions):
        if place in apart:
            parts.append(_bounds((held,), apart[place], ZERO))
        else:
            together.setdefault(held.market, []).append(held)
    owned: dict[str, Decimal] = {}
    for asset in account.assets:
        owned[asset.market] = owned.get(asset.market, ZERO) + asset.quantity * (1 - asset.haircut)
    unbounded = False
    for market in together | owned:
        world, positions = worlds.get(market), together.get(market, [])
        if world is not None:
            parts.append(_bounds(positions, world, owned.get(market, ZERO)))
            continue
        unknown.append(market)
        unbounded |= bool(owned.get(market))
        if positions:
            parts.append(_bounds(positions, _anything(positions), ZERO))
    del unknown[UNKNOWN_MAX:]
    for least, most in parts:
        low, high = low + least, high + most
    if unbounded:
        verdict = Explanation.UNEXPLAINED if low >= 0 else Explanation.INDETERMINATE
        return ExplainedLoss(verdict, low, None, tuple(unknown))
    if low >= 0:
        return ExplainedLoss(Explanation.UNEXPLAINED, low, high, tuple(unknown))
    return ExplainedLoss(Explanation.EXPLAINED if high < 0 else Explanation.INDETERMINATE, low, high, tuple(unknown))


def _anything(positions: Iterable[Position]) -> World:
    """Return the world of a market of which nothing is known: from worthless to twice the most that was paid."""
    twice = [2 * held.entry_price for held in positions]
    settled = [held.cached_funding_index for held in positions]
    return World(Interval(min(*twice, ZERO), max(*twice, ZERO)), Interval(min(settled), max(settled)))


def surplus(positions: Iterable[Position], world: World, owned: Decimal = ZERO) -> Interval:
    """Return the bounds of what one market adds to the surplus, in quote currency.

    `owned`: collateral assets in base units, after haircuts. They have the market's mark price, and no funding.
    """
    return Interval(*_bounds(positions, world, owned))


def _bounds(positions: Iterable[Position], world: World, owned: Decimal) -> tuple[Decimal, Decimal]:
    size = margin = fixed = ZERO
    for position in positions:
        held = position.size
        size += held
        margin += abs(held) * position.maintenance_margin_fraction
        fixed += held * (position.cached_funding_index - position.entry_price) - position.maintenance_margin
    mark, funding = world
    valued = size + owned
    values = [mark.low * valued - abs(mark.low) * margin, mark.high * valued - abs(mark.high) * margin]
    if mark.low < 0 < mark.high:
        values.append(ZERO)
    funded = (-funding.low * size, -funding.high * size)
    return fixed + min(values) + min(funded), fixed + max(values) + max(funded)
