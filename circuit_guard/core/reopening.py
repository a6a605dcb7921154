"""Closures held back, and let through again: at a rate that rises, because what was held comes all at once.

A market is held while an operator's halt, an OPEN breaker or a phase without closures denies everything, and from then
on until it is OPEN again. A restart of the guard or a gap in the feed holds nothing back in this sense.
The ramp is a token bucket, `share(t) * closures_per_s` and `share(t) * notional_per_s`, where the share rises in a
straight line from `start_share` to 1 over `breaker.half_open_ns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from circuit_guard.core.breaker import BreakerParameters
from circuit_guard.core.facts import Fact, MarketReopened
from circuit_guard.core.gates import RAMP_LIMITED
from circuit_guard.core.inputs import Check
from circuit_guard.core.market import MarketState, Ramp, readable
from circuit_guard.core.parameters import Parameters, Relation, number, seconds, share
from circuit_guard.core.phase import DENYING_PHASES
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import SECOND_NS, BreakerState, Finding, Phase, Severity, show

_OVERDUE = "a market that opens as soon as it may must not be overdue"


@dataclass(frozen=True, slots=True)
class ReopeningParameters(Parameters):
    """How fast closures flow once nothing holds them any more, because the engine then asks for all held closures at
    once.

    The rates are for one market and rise in a straight line over breaker.half_open_s. Take what the market's book can
    absorb. Too low: genuine closures wait while their losses grow. Too high: they move a thin book.
    """

    TABLE: ClassVar[str] = "reopening"
    RELATIONS: ClassVar[tuple[Relation, ...]] = (
        Relation("reopening.deadline_s", "at least", "breaker.cooldown_s", _OVERDUE),
        Relation("reopening.deadline_s", "at least", "breaker.healthy_s", _OVERDUE),
        Relation("reopening.deadline_s", "at least", "band.post_only_min_s", _OVERDUE),
    )

    start_share: Decimal = share(
        "0.10",
        "The ramp begins at this fraction of both rates and ends at the full rates. 1: full rates from the start.",
        key="ramp_start_share",
    )
    closures_per_s: Decimal = number(
        "50",
        "Closures per second at the end of the ramp. More are denied and may ask again. The default is a guess: "
        "measure your engine.",
        over=0,
        most=1_000_000,
    )
    notional_per_s: Decimal = number(
        "5000000",
        "Notional per second at the end of the ramp, in quote currency. The default is a guess: take it from the "
        "depth of the book. A single larger closure goes through, and those after it wait longer.",
        over=0,
        most=10**15,
    )
    deadline_ns: int = seconds(
        1800,
        "A market that is held for longer than this is reported as overdue. That pages a person and opens nothing.",
        most=86_400,
    )


def follow(state: GuardState, market: MarketState, at_ns: int) -> list[Fact]:
    """Note that closures begin to be held, or that nothing holds them any more. Call it after each such change."""
    if denying(state, market):
        market.ramp = None
        if market.held_since_ns is None:
            market.held_since_ns, market.trickle = at_ns, Ramp(at_ns, at_ns - SECOND_NS, Decimal(1), Decimal(0))
        return []
    if market.held_since_ns is None or market.phase.effective() is not Phase.OPEN:
        return []
    # Several holds may end in one look, and not in the order in which they are looked at.
    at_ns = max(at_ns, market.phase.since_ns, market.breaker.since_ns, market.held_since_ns)
    held_ns, market.held_since_ns = at_ns - market.held_since_ns, None
    market.ramp, market.trickle = Ramp(at_ns, at_ns - SECOND_NS, Decimal(1), Decimal(0)), None
    return [MarketReopened(at_ns, market.market, held_ns)]


def follow_all(state: GuardState, at_ns: int) -> list[Fact]:
    """Do the same for every market: GLOBAL has changed."""
    return [fact for name in state.listed for fact in follow(state, state.markets[name], at_ns)]


def denying(state: GuardState, market: MarketState) -> bool:
    """Return whether a halt, a breaker or the phase denies every closure in the market."""
    halted = state.global_halt is not None or market.halt is not None
    opened = BreakerState.OPEN in (state.global_breaker.state, market.breaker.state)
    return halted or opened or market.phase.commanded in DENYING_PHASES


def end_ramp(market: MarketState, policy: MarketPolicy, now_ns: int) -> None:
    """Take the limit away once the ramp is over and the breaker no longer HALF_OPEN."""
    ramp = market.ramp
    over = ramp is not None and now_ns - ramp.since_ns >= policy.of(BreakerParameters).half_open_ns
    if over and market.breaker.state is not BreakerState.HALF_OPEN:
        market.ramp = None


def ramp_share(ramp: Ramp, policy: MarketPolicy, now_ns: int) -> Decimal:
    """Return the share of the full rate that goes through now."""
    start, length_ns = policy.of(ReopeningParameters).start_share, policy.of(BreakerParameters).half_open_ns
    return start + (1 - start) * min(now_ns - ramp.since_ns, length_ns) / length_ns


def take(market: MarketState, closure: Check, policy: MarketPolicy, now_ns: int, *, in_a_halt: bool) -> Finding | None:
    """Let one closure through the ramp, or return why not yet; in a halt through the one that began with it.

    A closure larger than the bucket goes through when there is any notional left, and what it takes too much is
    made up for by waiting: otherwise a large account could never be closed.
    """
    ramp = market.trickle if in_a_halt else market.ramp
    if ramp is None:
        return None
    _fill(ramp, policy, now_ns)
    rule, now_share = policy.of(ReopeningParameters), ramp_share(ramp, policy, now_ns)
    limit = f"{now_share:.0%} of {show(rule.closures_per_s)} closures and {show(rule.notional_per_s)} a second"
    if ramp.closures < 1:
        return Finding(RAMP_LIMITED, Severity.DENY, "closures", "too many at once", limit)
    if ramp.notional <= 0:
        return Finding(RAMP_LIMITED, Severity.DENY, "notional", "too much at once", limit)
    ramp.closures -= 1
    ramp.notional -= _notional(market, closure)
    return None


def _fill(ramp: Ramp, policy: MarketPolicy, now_ns: int) -> None:
    """Add what has come in since it was last filled; never more than one second's worth at the present rate."""
    rule, now_share = policy.of(ReopeningParameters), ramp_share(ramp, policy, now_ns)
    seconds = _seconds_at_full_rate(ramp, policy, now_ns) - _seconds_at_full_rate(ramp, policy, ramp.filled_ns)
    ramp.closures = min(ramp.closures + seconds * rule.closures_per_s, max(now_share * rule.closures_per_s, Decimal(1)))
    ramp.notional = min(ramp.notional + seconds * rule.notional_per_s, now_share * rule.notional_per_s)
    ramp.filled_ns = now_ns


def _seconds_at_full_rate(ramp: Ramp, policy: MarketPolicy, at_ns: int) -> Decimal:
    """Return the integral of the share from the start of the ramp until then, in seconds; before it, at the start's."""
    start, length_ns = policy.of(ReopeningParameters).start_share, policy.of(BreakerParameters).half_open_ns
    elapsed_ns = at_ns - ramp.since_ns
    if elapsed_ns < 0:
        return start * elapsed_ns / SECOND_NS
    rising_ns = min(elapsed_ns, length_ns)
    risen = start * rising_ns + (1 - start) * rising_ns * rising_ns / (2 * length_ns)
    return (risen + (elapsed_ns - rising_ns)) / SECOND_NS


def _notional(market: MarketState, closure: Check) -> Decimal:
    size, price = readable(closure.size), readable(closure.execution_price) or readable(closure.basis.mark_price)
    price = price or market.trusted.mark_price
    return Decimal(0) if size is None or price is None else abs(size * price)
