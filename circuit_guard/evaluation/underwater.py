"""Which accounts an engine sees go under water, and when: the same as computing each of them at each observation.

An account with one position is under water where `side * (index - mark) + fraction * mark`, the pressure, exceeds what
its collateral and entry bear per unit, its capacity. So those of one market, side and fraction are sorted by capacity
once, and an observation only looks up how many of them it puts under. Accounts with several positions are summed anew
where one of their markets has moved.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Context, Decimal
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from circuit_guard.core.inputs import Account, Observation, Position
from circuit_guard.core.types import ARITHMETIC

MaintenanceFactor = Callable[[str, int], Decimal]
"""By how much the engine overstates the maintenance margin of a market at a time."""

_DOWN = Context(prec=ARITHMETIC.prec, rounding=ROUND_FLOOR)
"""Rounded down, a capacity is exceeded exactly by the pressures that exceed it unrounded."""


class Holder(NamedTuple):
    """An account as the engine sees it, and since when it has its positions."""

    account: Account
    opened_ns: int


class Crossing(NamedTuple):
    """An account goes under water, or comes up again, by the observations received at `at_ns`."""

    at_ns: int
    holder: int
    under: bool


@dataclass(slots=True)
class _Row:
    """The accounts with one position in one market, on one side, with one maintenance fraction, by capacity."""

    side: int
    fraction: Decimal
    capacities: list[Decimal]
    holders: list[int]
    under: int = 0
    """The first so many are under water."""


@dataclass(slots=True)
class _Basket:
    """An account with several positions: what each of them contributes to the surplus, where its values are known."""

    holder: int
    collateral: Decimal
    positions: dict[str, Position]
    contributions: dict[str, Decimal] = field(default_factory=dict)

    def is_under(self) -> bool:
        if len(self.contributions) < len(self.positions):
            return False
        return self.collateral + sum(self.contributions.values()) < 0


def contribution(position: Position, mark: Decimal, index: Decimal, factor: Decimal = Decimal(1)) -> Decimal:
    """Return what a position adds to its account's surplus: its profit, less maintenance margin and funding owed."""
    size = position.size
    maintenance = abs(size) * mark * position.maintenance_margin_fraction * factor
    return size * (mark - position.entry_price) - maintenance - size * (index - position.cached_funding_index)


def crossings(
    holders: Sequence[Holder], observed: Iterable[Observation], factor: MaintenanceFactor
) -> Iterator[Crossing]:
    """Yield each account's way under water and up again, in time order, from when its positions are open.

    Observations received at the same time count as one. To be run in the context of `ARITHMETIC`.
    """
    engine = _Engine(holders)
    for at_ns, batch in groupby(observed, attrgetter("at_ns")):
        yield from engine.take(at_ns, batch, factor)


class _Engine:
    """What the engine knows, and which accounts it sees under water."""

    def __init__(self, holders: Sequence[Holder]) -> None:
        self._marks: dict[str, Decimal] = {}
        self._indices: dict[str, Decimal] = {}
        self._rows = _rows(holders)
        self._baskets: dict[str, list[_Basket]] = {}
        for number, holder in enumerate(holders):
            if len(holder.account.positions) > 1:
                positions = {position.market: position for position in holder.account.positions}
                basket = _Basket(number, holder.account.collateral, positions)
                for market in positions:
                    self._baskets.setdefault(market, []).append(basket)
        self._under: set[int] = set()
        """Those under water, their positions open or not."""
        self._unopened = sorted(range(len(holders)), key=lambda number: -holders[number].opened_ns)
        """Those whose positions are yet to be opened, the next one last."""
        self._waiting = set(self._unopened)
        self._opened_ns = [holder.opened_ns for holder in holders]

    def take(self, at_ns: int, batch: Iterable[Observation], factor: MaintenanceFactor) -> list[Crossing]:
        """Take what is received at one time, and return who has crossed the line."""
        moved = self._update(batch)
        changed: list[int] = []
        for market in moved:
            if market in self._marks and market in self._indices:
                changed += self._move(market, factor(market, at_ns))
        before = self._under.copy()
        self._under.symmetric_difference_update(changed)
        baskets = {basket.holder: basket for market in moved for basket in self._baskets.get(market, ())}
        for number, basket in baskets.items():
            (self._under.add if basket.is_under() else self._under.discard)(number)
        touched = dict.fromkeys((*changed, *baskets))
        crossed = [n for n in touched if (n in before) != (n in self._under) and n not in self._waiting]
        crossed += [n for n in self._open(at_ns) if n in self._under]
        return [Crossing(at_ns, number, number in self._under) for number in crossed]

    def _update(self, batch: Iterable[Observation]) -> dict[str, None]:
        """Take over the values given, and return the markets that they are of."""
        moved: dict[str, None] = {}
        for observation in batch:
            if observation.mark_price is not None:
                self._marks[observation.market] = observation.mark_price
            if observation.funding_index is not None:
                self._indices[observation.market] = observation.funding_index
            moved[observation.market] = None
        return moved

    def _move(self, market: str, factor: Decimal) -> list[int]:
        """Look up whom a market's values now put under water, and return those for whom that is new, or over."""
        mark, index = self._marks[market], self._indices[market]
        changed: list[int] = []
        for row in self._rows.get(market, ()):
            pressure = row.side * (index - mark) + row.fraction * factor * mark
            under = bisect_left(row.capacities, pressure)
            changed += row.holders[min(under, row.under) : max(under, row.under)]
            row.under = under
        for basket in self._baskets.get(market, ()):
            basket.contributions[market] = contribution(basket.positions[market], mark, index, factor)
        return changed

    def _open(self, at_ns: int) -> list[int]:
        """Open the positions whose time has come, and return whose they are."""
        opened: list[int] = []
        while self._unopened and self._opened_ns[self._unopened[-1]] <= at_ns:
            opened.append(self._unopened.pop())
        self._waiting.difference_update(opened)
        return opened


def _rows(holders: Sequence[Holder]) -> dict[str, list[_Row]]:
    """Sort the accounts with one position into rows."""
    members: dict[tuple[str, int, Decimal], list[tuple[Decimal, int]]] = {}
    for number, (account, _) in enumerate(holders):
        if len(account.positions) == 1:
            (position,) = account.positions
            size, side = position.size, 1 if position.size > 0 else -1
            borne = account.collateral - size * (position.entry_price - position.cached_funding_index)
            key = (position.market, side, position.maintenance_margin_fraction)
            members.setdefault(key, []).append((_DOWN.divide(borne, abs(size)), number))
    rows: dict[str, list[_Row]] = {}
    for (market, side, fraction), row in members.items():
        row.sort()
        rows.setdefault(market, []).append(_Row(side, fraction, [c for c, _ in row], [n for _, n in row]))
    return rows
