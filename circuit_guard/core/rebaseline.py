"""The rebaseline: an operator says what is true from now on, because the exchange moved its values legitimately.

Either by value (the funding index; with a mark price everything together), or by a factor that all of a market's
prices, its funding index and its premium are multiplied by.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from circuit_guard.core import scale, taint
from circuit_guard.core.envelope import FundingAccrual, FundingParameters, GapMode, in_force
from circuit_guard.core.facts import CommandRefused, Fact, Rebaselined
from circuit_guard.core.funding import Accrual, moved
from circuit_guard.core.inputs import Baseline, RebaselineCommand
from circuit_guard.core.market import Feed, MarketState, readable
from circuit_guard.core.policy import MarketPolicy, Policy
from circuit_guard.core.price import PriceParameters
from circuit_guard.core.progress import start_afresh, view_of
from circuit_guard.core.rules.divergence import DivergenceParameters
from circuit_guard.core.settlement import begun
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import show

FACTOR_EXPECTED = "a finite number above 0 and other than 1, from 1e-12 to 1e12"


def refused(state: GuardState, command: RebaselineCommand, policy: Policy) -> CommandRefused | None:
    """Return why a rebaseline of known markets cannot be carried out."""
    if command.factor is not None or command.rescaled:
        return _factor_refused(state, command)
    if not command.baselines and not command.repaired:
        return CommandRefused(command.at_ns, "markets", "none", "at least one market")
    names = [baseline.market for baseline in command.baselines]
    if len(set(names)) < len(names):
        return CommandRefused(command.at_ns, "markets", ", ".join(names), "each market once")
    for baseline in command.baselines:
        if (wrong := _unusable(baseline, policy.markets[baseline.market])) is not None:
            field, observed, expected = wrong
            return CommandRefused(command.at_ns, field, f"{observed} for {baseline.market}", expected)
        if baseline.mark_price is None and state.markets[baseline.market].trusted.mark_price is None:
            return CommandRefused(command.at_ns, "markets", baseline.market, PRICE_EXPECTED)
    return None


PRICE_EXPECTED = "markets with a mark price that was trusted once: without one no step of the index can be judged"


def _unusable(baseline: Baseline, policy: MarketPolicy) -> tuple[str, str, str] | None:
    """Return the first value that cannot be judged from: its field, what it is, and what was expected."""
    if readable(baseline.funding_index) is None:
        return "funding_index", str(baseline.funding_index), "a finite number"
    for field, price in (("mark_price", baseline.mark_price), ("index_price", baseline.index_price)):
        if price is not None and (readable(price) is None or (price <= 0 and not policy.allow_negative_price)):
            return field, str(price), "a price: a finite number above 0, or any where allow_negative_price says so"
    if baseline.index_price is not None and baseline.mark_price is None:
        return "index_price", str(baseline.index_price), "none without a mark_price: they move together"
    if baseline.funding_premium is not None and readable(baseline.funding_premium) is None:
        return "funding_premium", str(baseline.funding_premium), "a finite number"
    return None


def _factor_refused(state: GuardState, command: RebaselineCommand) -> CommandRefused | None:
    factor, names = command.factor, command.rescaled
    if factor is None:
        return CommandRefused(command.at_ns, "factor", "none", FACTOR_EXPECTED)
    if not scale.is_factor(factor):
        return CommandRefused(command.at_ns, "factor", str(factor)[:40], FACTOR_EXPECTED)
    if command.baselines or command.checkpoint is not None:
        return CommandRefused(command.at_ns, "factor", show(factor), "none beside values or a checkpoint")
    if not names or len(set(names)) < len(names):
        return CommandRefused(command.at_ns, "markets", ", ".join(names) or "none", "at least one, each market once")
    for name in names:
        if state.markets[name].trusted.mark_price is None:
            return CommandRefused(command.at_ns, "markets", name, "markets with a mark price that was trusted once")
        if not scale.fits(state.markets[name], factor):
            observed = f"{show(factor)} for {name}"
            return CommandRefused(command.at_ns, "factor", observed, "one that leaves values within 1e-30 .. 1e30")
    return None


def apply(state: GuardState, command: RebaselineCommand, policy: Policy) -> list[Fact]:
    """Judge the markets from these values on. Breakers and halts stay; every market gathers its evidence afresh."""
    facts: list[Fact] = []
    for name in command.repaired:
        taint.forget(state.markets[name])
        facts.append(
            Rebaselined(command.at_ns, name, None, None, command.actor, command.reason, identity=command.identity)
        )
    for baseline in command.baselines:
        facts += _set(state, baseline, command, policy.markets[baseline.market])
    for name in command.rescaled if command.factor is not None else ():
        facts += _multiply(state, state.markets[name], command.factor or Decimal(1), command)
    return facts


def _set(state: GuardState, baseline: Baseline, command: RebaselineCommand, policy: MarketPolicy) -> list[Fact]:
    """Trust the values of a baseline."""
    market = state.markets[baseline.market]
    if baseline.mark_price is None and command.checkpoint is None:
        baseline = replace(baseline, mark_price=_moved_to(market, policy, command.at_ns))
    before, mark_before = market.trusted.funding_index, market.trusted.mark_price
    if command.checkpoint is None:
        taint.vouch(market, baseline.funding_index)
    else:
        taint.roll_back(market, baseline.funding_index)
    if baseline.mark_price is not None:
        _begin_scale(state, market, command.at_ns)
        _trust_prices(market, baseline, command.at_ns)
    _trust(market, baseline, policy, command.at_ns)
    told = Rebaselined(
        command.at_ns,
        baseline.market,
        before,
        baseline.funding_index,
        command.actor,
        command.reason,
        command.checkpoint,
        mark_before=None if baseline.mark_price is None else mark_before,
        mark_after=baseline.mark_price,
        identity=command.identity,
    )
    return [told, *start_afresh(market, command.at_ns, "rebaselined by an operator: evidence starts afresh")]


def _moved_to(market: MarketState, policy: MarketPolicy, now_ns: int) -> Decimal | None:
    """Return the reference price where the price trusted last is nowhere near it any more, else None.

    An index that an operator moves must not be bounded by a price from before the move.
    """
    references, trusted = view_of(market, policy, now_ns).references, market.trusted
    known = trusted.mark_price if trusted.confirmed_mark is None else trusted.confirmed_mark
    if known is None or references.price is None or not references.quorum or references.own:
        return None
    reach = references.prices.reach(policy.of(DivergenceParameters).trip_at_once_base, references.price)
    return references.price if abs(known - references.price) > reach else None


def _multiply(state: GuardState, market: MarketState, factor: Decimal, command: RebaselineCommand) -> list[Fact]:
    """Have everything of a market on a scale so many times what it was. What is trusted stays as old as it is."""
    index, mark = market.trusted.funding_index, market.trusted.mark_price
    scale.rescale(market, factor)
    _begin_scale(state, market, command.at_ns)
    told = Rebaselined(
        command.at_ns,
        market.market,
        index,
        market.trusted.funding_index,
        command.actor,
        command.reason,
        None,
        factor,
        mark,
        market.trusted.mark_price,
        command.identity,
    )
    note = f"rescaled by {factor.normalize():f} by an operator: evidence starts afresh"
    return [told, *start_afresh(market, command.at_ns, note)]


def _begin_scale(state: GuardState, market: MarketState, at_ns: int) -> None:
    """Forget what rests on the scale before: here, in markets that this one converts for, and in a validated dump."""
    scale.forget_windows(market, at_ns)
    for other in state.markets.values():
        other.references.rates.pop(market.market, None)
    running = state.maintenance
    if running is not None and running.validated is not None:
        kept = tuple(one for one in running.validated.outcomes if one.market != market.market)
        state.maintenance = replace(running, validated=replace(running.validated, outcomes=kept))


def _trust_prices(market: MarketState, baseline: Baseline, now_ns: int) -> None:
    """Trust the prices of a baseline; an index price that it does not give is not known on its scale."""
    trusted, as_of_ns = market.trusted, min(baseline.as_of_ns, now_ns)
    trusted.mark_price = trusted.confirmed_mark = baseline.mark_price
    trusted.index_price = trusted.confirmed_index = baseline.index_price
    trusted.mark_seen_ns = trusted.confirmed_ns = as_of_ns
    if market.references.own_price is not None:
        market.references.own_price = baseline.mark_price


def _trust(market: MarketState, baseline: Baseline, policy: MarketPolicy, now_ns: int) -> None:
    """Trust the value as of its time: funding may have accrued since, unless a gap freezes it."""
    trusted, premium = market.trusted, baseline.funding_premium
    trusted.funding_index, trusted.funding_seen_ns = baseline.funding_index, min(baseline.as_of_ns, now_ns)
    trusted.funding_premium, trusted.funding_rate = premium, None
    event_time_ns = now_ns if market.feed.event_time_ns is None else market.feed.event_time_ns
    gap_ns = max(event_time_ns - baseline.as_of_ns, 0)
    frozen = policy.of(FundingParameters).gap_mode is GapMode.FREEZE and gap_ns > policy.of(FundingParameters).gap_ns
    market.feed = Feed(
        event_time_ns=event_time_ns, received_ns=market.feed.received_ns, accrued_ns=0 if frozen else gap_ns
    )
    market.funding.begin(baseline.funding_index)
    if policy.of(FundingParameters).accrual is FundingAccrual.STEPWISE:
        market.funding.steps = begun(baseline.as_of_ns, policy.of(FundingParameters)).widened(premium, Decimal(0))
    price = trusted.funding_price()
    if price is not None and (premium is not None or not frozen):
        elapsed_ns = 0 if frozen else gap_ns
        accrual = Accrual(elapsed_ns, policy.of(PriceParameters).of(price), premium, None, Decimal(1))
        funding = in_force(policy.of(FundingParameters), market.terms)
        market.funding.point = moved(market.funding.point, accrual, funding)
    market.was_warm = True
