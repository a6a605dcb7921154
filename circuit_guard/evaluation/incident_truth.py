"""The truth about the bundled incident's accounts: who is viable, and what a wrongful closure costs.

The simulation knows the true values; nobody who reads the recording does. An incident report is held against this.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from statistics import median
from typing import NamedTuple

from circuit_guard.core.inputs import Account


class Values(NamedTuple):
    """What a position is valued with: the mark price, the funding index, and the index it was last settled at."""

    mark: Decimal
    funding_index: Decimal
    cached: Decimal


def margin_surplus(account: Account, values: Values) -> Decimal:
    """Return by how much an account with one position is over its maintenance margin, in quote currency (DESIGN 3)."""
    (position,) = account.positions
    return _equity(account, values) - abs(position.size) * values.mark * position.maintenance_margin_fraction


def true_loss(account: Account, truth: Values, used: Values) -> Decimal:
    """Return what closing an account's one position at the values used takes from it, in quote currency.

    That is what the position is truly worth, less what it was settled for; but never more than the account truly held:
    what is charged beyond that, its exchange is left with.
    """
    (position,) = account.positions
    return min(_worth(position.size, truth) - _worth(position.size, used), _equity(account, truth))


def true_mark(unskewed: Decimal, published: Decimal, venue_prices: Sequence[Decimal]) -> Decimal:
    """Return the true mark price: what the exchange publishes, or what the venues agree on while its book is skewed."""
    return published if published == unskewed else median(venue_prices)


def _equity(account: Account, values: Values) -> Decimal:
    (position,) = account.positions
    return account.collateral - position.size * position.entry_price + _worth(position.size, values)


def _worth(size: Decimal, values: Values) -> Decimal:
    return size * values.mark - size * (values.funding_index - values.cached)
