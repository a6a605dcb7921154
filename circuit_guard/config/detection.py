"""How soon a policy sees each kind of corruption that it can see: denied, tripped, latched. From the policy alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Context, Decimal

from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.types import SECOND_NS

_DIGITS = Context(prec=4)


@dataclass(frozen=True, slots=True)
class Delay:
    """One kind of corruption, and how long until it is dealt with; 0 is at the first observation, or at the check.

    None: that never comes of it. What trips denies from then on.
    """

    what: str
    rule: str
    denied_ns: int | None
    trips_ns: int | None = None
    trips_count: int = 1
    """And so many closures of the kind have to be asked for."""
    latches: bool = False


def delays(policy: MarketPolicy) -> list[Delay]:
    """Return every kind that the rules of a market can see, those that latch first."""
    return [*_impossible(), *_funding(policy), *_prices(policy), *_callers(policy), *_time(policy)]


def percent(share: Decimal) -> str:
    """Return a share as a person reads it: `1 %`."""
    return f"{_DIGITS.multiply(share, Decimal(100)).normalize():f} %"


def seconds(duration_ns: int) -> str:
    """Return a duration as a person reads it: `30 s`."""
    return f"{duration_ns / SECOND_NS:g} s"


def _impossible() -> Iterator[Delay]:
    yield Delay("a funding index that jumps", "funding_continuity", 0, latches=True)
    yield Delay("no number, or a price that cannot be", "validity", 0, latches=True)
    yield Delay("two writers, or a feed that goes back", "ordering", 0, latches=True)


def _funding(policy: MarketPolicy) -> Iterator[Delay]:
    rule = policy.funding
    yield Delay("a funding index that its premium does not predict", "funding_continuity", 0, rule.trip_after_ns)
    rate = f"a funding rate over {percent(rule.rate_max)}, or not that of its premium"
    yield Delay(rate, "funding_rate", 0, rule.trip_after_ns)


def _prices(policy: MarketPolicy) -> Iterator[Delay]:
    rule, stale, slow = policy.divergence, policy.staleness, policy.slow_walk
    far = percent(max(rule.base, rule.trip_at_once_base))
    away = f"more than {percent(rule.base)} and {rule.hull_widths:f} widths away"
    yield Delay(f"a mark price {away}", "divergence", 0, rule.trip_after_ns)
    yield Delay(f"a mark price more than {far} and {rule.trip_at_once_hull_widths:f} widths away", "divergence", 0, 0)
    yield Delay(
        f"a mark price that stands still while the reference price moves {percent(stale.frozen_move_share)}",
        "staleness",
        stale.frozen_after_ns,
        stale.frozen_after_ns + stale.frozen_trip_after_ns,
    )
    unconfirmed_ns = slow.lag_ns + slow.trip_after_ns if slow.trip_after_ns else None
    what = f"a mark price that the reference price never comes within {percent(rule.base)} of"
    yield Delay(what, "slow_walk", unconfirmed_ns, unconfirmed_ns)
    away = f"more than {percent(rule.index_base)} and {rule.hull_widths:f} widths away"
    yield Delay(f"an index price {away}", "divergence", 0, rule.trip_after_ns)
    far = percent(max(rule.index_base, rule.trip_at_once_base))
    yield Delay(f"an index price more than {far} and {rule.trip_at_once_hull_widths:f} widths away", "divergence", 0, 0)


def _callers(policy: MarketPolicy) -> Iterator[Delay]:
    basis, account, burst = policy.basis, policy.explained_loss, policy.burst
    what = f"a caller's mark price {percent(basis.mark_share)} off what was published, or its funding index"
    yield Delay(what, "basis", 0, basis.trip_after_ns, basis.trip_count_min)
    what = f"an execution price more than {percent(policy.divergence.execution_base)} away"
    yield Delay(what, "divergence", 0)
    what = f"the closure of a healthy account, given with the check (counted for {seconds(account.window_ns)})"
    if account.deny:
        yield Delay(what, "unexplained_loss", 0, 0, account.trip_accounts)
    else:
        yield Delay(what, "unexplained_loss", None)
    move = f"while the reference price moves less than {percent(burst.move_share)}"
    if burst.accounts:
        what = f"liquidations of {burst.accounts} accounts in {seconds(burst.window_ns)}, {move}"
        yield Delay(what, "unexplained_burst", None, 0, burst.accounts)
    else:
        yield Delay(f"liquidations in any number, {move}", "unexplained_burst", None)


def _time(policy: MarketPolicy) -> Iterator[Delay]:
    rule = policy.staleness
    yield Delay("values that are not published any more", "staleness", rule.deny_after_ns)
    yield Delay(f"a stamp more than {seconds(rule.future_skew_ns)} in the future", "staleness", 0)
