"""Tainted accounts: settled with a funding index that was in force and is not true.

Whoever trades while an index is wrong has the wrong value cached; when the index is right again, the difference is
charged to the account, and it looks insolvent. The guard remembers the wrong values and denies closures that rest on
them. It cannot tell a wrong value from the same value published honestly at another time.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from circuit_guard.core.envelope import Interval
from circuit_guard.core.market import MarketState, readable

INTERVALS_MAX = 256
"""So many are remembered for a market. Beyond that the two nearest become one, and what is between them is tainted too:
nothing that was discarded is forgotten."""
NEAR_SHARE = Decimal("0.0001")
"""Wrong values within this share of the market's price of each other are one interval: a reset that then grows."""
WITNESSES_MIN = 3
"""So many different accounts have to be asked about with one wrong index before it counts as the engine's."""


def discard(market: MarketState, value: Decimal | None) -> None:
    """Remember a funding index that was published and is wrong."""
    trusted = market.trusted.funding_index
    if value is not None and trusted is not None:
        market.regained = market.regained or Interval(trusted, trusted)
        _remember(market, Interval(value, value), _reach(market))


def claim(market: MarketState, value: Decimal | None, account_id: str, now_ns: int, lasting_ns: int) -> None:
    """Note a funding index that a caller computed with and that was never true. By itself that taints nothing.

    Where different accounts are asked about with the same one for `lasting_ns`, the engine itself has it, and accounts
    are settled with it. One that was true once is left alone: the caller is late, and so would be every account of
    that time.
    """
    legible, doubt = readable(value), market.basis_doubt
    if legible is None or (market.funding_range is not None and legible in market.funding_range):
        return
    if doubt.claimed is None or abs(legible - doubt.claimed) > _reach(market):
        doubt.claimed, doubt.claimed_since_ns, doubt.accounts = legible, now_ns, (account_id,)
    elif account_id not in doubt.accounts and len(doubt.accounts) < WITNESSES_MIN:
        doubt.accounts = (*doubt.accounts, account_id)
    if len(doubt.accounts) >= WITNESSES_MIN and now_ns - doubt.claimed_since_ns >= lasting_ns:
        discard(market, doubt.claimed)
        discard(market, legible)


def roll_back(market: MarketState, to: Decimal) -> None:
    """Remember that what was trusted since the index was `to` is discarded, and go on from there."""
    last = market.trusted.funding_index
    if last is not None and last != to:
        _remember(market, Interval(min(last, to), max(last, to)), Decimal(0))
    market.regained = Interval(to, to)


def vouch(market: MarketState, value: Decimal) -> None:
    """Take an operator's word that a value is true: what was discarded with it is no longer wrong."""
    kept = [interval for interval in market.discarded if value not in interval]
    market.discarded.clear()
    market.discarded.extend(kept)
    market.regained = Interval(value, value)


def regain(market: MarketState, value: Decimal) -> None:
    """Note that an index is true: one that was discarded may be so again, where the index passes through it."""
    market.regained = _reaching(market.regained, value)
    market.funding_range = _reaching(market.funding_range or Interval(value, value), value)


def forget(market: MarketState) -> None:
    """Forget what was discarded: the exchange has repaired the accounts."""
    market.discarded.clear()
    market.regained = None


def of(market: MarketState, cached: Decimal) -> Interval | None:
    """Return the discarded values that an account's cached funding index is one of, or None where it is none."""
    legible = readable(cached)
    if legible is None or (market.regained is not None and legible in market.regained):
        return None
    return next((interval for interval in market.discarded if legible in interval), None)


def _reach(market: MarketState) -> Decimal:
    return abs(market.trusted.mark_price or Decimal(0)) * NEAR_SHARE


def _reaching(known: Interval | None, value: Decimal) -> Interval | None:
    if known is None or value in known:
        return known
    return Interval(min(known.low, value), max(known.high, value))


def _remember(market: MarketState, found: Interval, reach: Decimal) -> None:
    for known in market.discarded:
        if known.low - reach <= found.high and found.low <= known.high + reach:
            market.discarded.remove(known)
            found = _joined(known, found)
            break
    market.discarded.append(found)
    if len(market.discarded) > INTERVALS_MAX:
        ordered = sorted(market.discarded, key=lambda interval: interval.low)
        below, above = min(pairwise(ordered), key=lambda pair: pair[1].low - pair[0].high)
        market.discarded.remove(below)
        market.discarded.remove(above)
        market.discarded.append(_joined(below, above))


def _joined(one: Interval, other: Interval) -> Interval:
    return Interval(min(one.low, other.low), max(one.high, other.high))
