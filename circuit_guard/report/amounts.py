"""What a closure takes from its account, held against what is known to be true. All amounts are in quote currency.

What a position of signed size `s` adds to its account is, by the formula of the margin surplus (DESIGN 3, the part of
one position),

    s*mark - s*(funding index - cached index) - s*entry

so a closure at values that were not true takes from its account, where `s` is what was closed,

    taken = s*(true mark - price used)                                the price difference
          + s*((index used - true index) + (true cached - cached))    the false funding

whatever the entry price. The account cannot lose more than it truly held, its equity at true values; what is charged
beyond that, the exchange is left with:

    loss = min(taken, equity)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from circuit_guard.core import margin
from circuit_guard.core.envelope import FundingParameters, Interval
from circuit_guard.core.inputs import Account, Check, Position
from circuit_guard.core.margin import World
from circuit_guard.core.types import Explanation
from circuit_guard.report.evidence import Seen
from circuit_guard.report.funding import FundingHistory

ZERO = Decimal(0)


class PriceSource(StrEnum):
    """Where the trusted price of a market comes from."""

    MARK = "published mark price"
    REFERENCES = "reference price"


class Truth(NamedTuple):
    """What was true of a market when a closure was asked about, as far as the journal tells."""

    mark: Decimal
    source: PriceSource
    funding_index: Decimal


@dataclass(frozen=True, slots=True)
class Amounts:
    """One closure, valued. `used`: what the engine computed with; `true`: what it should have."""

    price_used: Decimal
    true_price: Decimal
    price_source: PriceSource
    index_used: Decimal
    true_index: Decimal
    cached: Decimal | None
    """The funding index that the account says its position was settled at; None without an account."""
    true_cached: Decimal | None
    price_difference: Decimal
    false_funding: Decimal
    equity: Decimal | None
    """What the account truly held; None without an account."""

    @property
    def taken(self) -> Decimal:
        """Return what the closure takes beyond what it should."""
        return self.price_difference + self.false_funding

    @property
    def loss(self) -> Decimal:
        """Return what of that is the account's loss."""
        return self.taken if self.equity is None else min(self.taken, max(self.equity, ZERO))

    @property
    def beyond(self) -> Decimal:
        """Return what of it is more than the account held."""
        return self.taken - self.loss


def truth_of(seen: Seen, history: FundingHistory, funding: FundingParameters) -> Truth | None:
    """Return what was true of a market; None where nothing is known of its price or of its funding index.

    The price: the mark price as published, where no rule doubted it, else the median of the references.
    """
    price, source = (
        (seen.mark, PriceSource.MARK) if seen.mark_trusted else (seen.reference_price, PriceSource.REFERENCES)
    )
    index = seen.funding_index if seen.index_trusted else history.true_index(seen.event_ns, funding)
    return None if price is None or index is None else Truth(price, source, index)


def resettled(
    account: Account,
    histories: Mapping[str, FundingHistory],
    funding: Mapping[str, FundingParameters],
    tainted: set[str],
) -> Account | None:
    """Return the account as it would be, had it been settled at true funding indices; None where they are not known."""
    positions = []
    for position in account.positions:
        if position.market in tainted:
            history = histories[position.market]
            settled_ns = history.settled_at(position.cached_funding_index)
            cached = None if settled_ns is None else history.true_index(settled_ns, funding[position.market])
            if cached is None:
                return None
            position = replace(position, cached_funding_index=cached)
        positions.append(position)
    return Account(account.collateral, tuple(positions))


def healthy(account: Account, truths: Mapping[str, Truth]) -> bool:
    """Return whether the account's margin holds at true values."""
    return margin.explain(account, _worlds(truths)).verdict is Explanation.UNEXPLAINED


def amounts(check: Check, seen: Seen, truths: Mapping[str, Truth], account: Account | None) -> Amounts | None:
    """Return what the closure takes; None where the engine's values are not known. `account`: as truly settled."""
    truth, closed = truths[check.market], -check.size
    price = next((p for p in (check.execution_price, check.basis.mark_price, seen.mark) if p is not None), None)
    index = check.basis.funding_index if check.basis.funding_index is not None else seen.funding_index
    if price is None or index is None:
        return None
    cached = _cached(check.account, check.market)
    true_cached = _cached(account, check.market)
    settled = ZERO if cached is None or true_cached is None else true_cached - cached
    return Amounts(
        price_used=price,
        true_price=truth.mark,
        price_source=truth.source,
        index_used=index,
        true_index=truth.funding_index,
        cached=cached,
        true_cached=true_cached,
        price_difference=closed * (truth.mark - price),
        false_funding=closed * (index - truth.funding_index + settled),
        equity=None if account is None else _equity(account, truths),
    )


def _cached(account: Account | None, market: str) -> Decimal | None:
    """Return the index that the positions in a market were settled at, weighted by their sizes where there are more."""
    positions = [p for p in (account.positions if account is not None else ()) if p.market == market]
    size = sum((abs(position.size) for position in positions), ZERO)
    if len(positions) == 1:
        return positions[0].cached_funding_index
    return sum((abs(p.size) * p.cached_funding_index for p in positions), ZERO) / size if size else None


def _equity(account: Account, truths: Mapping[str, Truth]) -> Decimal:
    return account.collateral + sum((_worth(p, truths[p.market]) for p in account.positions), ZERO)


def _worth(position: Position, truth: Truth) -> Decimal:
    funded = truth.funding_index - position.cached_funding_index
    return position.size * (truth.mark - position.entry_price) - position.size * funded


def _worlds(truths: Mapping[str, Truth]) -> dict[str, World | None]:
    return {
        name: World(Interval(truth.mark, truth.mark), Interval(truth.funding_index, truth.funding_index))
        for name, truth in truths.items()
    }
