"""Drawing leveraged accounts whose distance to liquidation fits the path that the marks honestly take."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext
from math import exp, log
from random import Random

from circuit_guard.core.inputs import Account, Position
from circuit_guard.core.types import ARITHMETIC
from circuit_guard.evaluation.feed import WARM_UP_NS, Feed

LEVERAGE = (3, 50)
TIERS = ((10, Decimal("0.05")), (15, Decimal("0.033")), (25, Decimal("0.02")), (50, Decimal("0.01")))
"""The highest leverage, and the maintenance margin fraction: half the initial margin that this leverage leaves."""
NOTIONAL = (500, 500_000)
POSITIONS_MAX = 5
CROSS_SHARE = 0.3
"""Accounts with several positions under one collateral."""
FRESH_SHARE = 0.25
"""Accounts that open their positions later, in the course of the feed: what they cache then may be corrupt."""
EXPOSED_SHARE = 0.35
"""Of the other accounts, those that the feed's own path is likely to put under water."""
_DIGITS = Context(prec=12)


@dataclass(slots=True)
class Draw:
    """The source of the accounts on one feed."""

    feed: Feed
    random: Random
    markets: list[str] = field(init=False)
    extremes: dict[str, tuple[Decimal, Decimal]] = field(init=False)
    """The lowest and the highest mark of each market after the warm-up."""

    def __post_init__(self) -> None:
        marks = {market: self.feed.values.marks[market].since(self.start_ns) for market in self.feed.markets}
        self.extremes = {market: (min(values), max(values)) for market, values in marks.items()}
        self.markets = [market for market, (lowest, _) in self.extremes.items() if lowest > 0]

    @property
    def start_ns(self) -> int:
        """When there are accounts: what a guard denies that has just been started is no figure of a fault."""
        return self.feed.start_ns + WARM_UP_NS

    def account(self) -> tuple[int, Account]:
        """Draw one account, and return it with when its positions are opened."""
        count = 1
        if len(self.markets) > 1 and self.random.random() < CROSS_SHARE:
            count = self.random.randint(2, min(POSITIONS_MAX, len(self.markets)))
        fresh = self.random.random() < FRESH_SHARE
        opened_ns = self.random.randint(self.start_ns, self.feed.end_ns) if fresh else self.start_ns
        exposed = not fresh and self.random.random() < EXPOSED_SHARE
        reach = self.random.uniform(0.02, 1) if exposed else None
        collateral, positions = Decimal(0), []
        with localcontext(ARITHMETIC):
            for market in self.random.sample(self.markets, count):
                margin, position = self._position(market, opened_ns, reach, fresh=fresh)
                collateral += margin
                positions.append(position)
        return opened_ns, Account(_DIGITS.plus(collateral), tuple(positions))

    def _position(self, market: str, opened_ns: int, reach: float | None, *, fresh: bool) -> tuple[Decimal, Position]:
        """Draw a position, and return it with the collateral that it brings.

        Its margin surplus is then `distance * notional`: what it has earned or lost before is in its entry.
        """
        mark = self.feed.values.marks[market].at(opened_ns)
        cached = self.feed.values.funding_indices[market].at(opened_ns)
        side = self.random.choice((1, -1))
        leverage = self._spread(*LEVERAGE)
        fraction = next(fraction for highest, fraction in TIERS if leverage <= highest)
        size = Context(prec=4).divide(self._spread(*NOTIONAL), mark)
        natural = 1 / leverage - fraction
        distance = natural if fresh else self._distance(market, side, mark, natural, reach)
        entry = _DIGITS.plus(mark + side * mark * (natural - distance))
        return size * mark / leverage, Position(market, side * size, entry, cached, fraction)

    def _distance(self, market: str, side: int, mark: Decimal, natural: Decimal, reach: float | None) -> Decimal:
        """Draw how far an older position is from liquidation: within what the path covers, if it is to be exposed."""
        lowest, highest = self.extremes[market]
        adverse = (mark - lowest if side > 0 else highest - mark) / mark
        if reach is not None and adverse > 0:
            return adverse * Decimal(f"{reach:.4f}")
        return natural * Decimal(f"{self.random.uniform(0.2, 1.5):.4f}")

    def _spread(self, low: int, high: int) -> Decimal:
        """Return a number between two, each order of magnitude as likely."""
        return Decimal(f"{exp(self.random.uniform(log(low), log(high))):.4f}")
