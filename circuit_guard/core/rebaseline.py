"""The rebaseline: an operator says which funding index is the truth, because the exchange moved it legitimately."""

from __future__ import annotations

from decimal import Decimal

from circuit_guard.core import taint
from circuit_guard.core.envelope import FundingAccrual, FundingParameters, GapMode, in_force
from circuit_guard.core.facts import CommandRefused, Fact, Rebaselined
from circuit_guard.core.funding import Accrual, moved
from circuit_guard.core.inputs import Baseline, RebaselineCommand
from circuit_guard.core.market import Feed, MarketState, readable
from circuit_guard.core.policy import MarketPolicy, Policy
from circuit_guard.core.price import PriceParameters
from circuit_guard.core.progress import start_afresh
from circuit_guard.core.settlement import begun
from circuit_guard.core.state import GuardState


def refused(state: GuardState, command: RebaselineCommand) -> CommandRefused | None:
    """Return why a rebaseline of known markets cannot be carried out."""
    if not command.baselines and not command.repaired:
        return CommandRefused(command.at_ns, "markets", "none", "at least one market")
    names = [baseline.market for baseline in command.baselines]
    if len(set(names)) < len(names):
        return CommandRefused(command.at_ns, "markets", ", ".join(names), "each market once")
    for baseline in command.baselines:
        if readable(baseline.funding_index) is None:
            observed = f"{baseline.funding_index} for {baseline.market}"
            return CommandRefused(command.at_ns, "funding_index", observed, "a finite number")
        if state.markets[baseline.market].trusted.mark_price is None:
            expected = "markets with a mark price that was trusted once: without one no step of the index can be judged"
            return CommandRefused(command.at_ns, "markets", baseline.market, expected)
    return None


def apply(state: GuardState, command: RebaselineCommand, policy: Policy) -> list[Fact]:
    """Judge the markets from these values on. Breakers and halts stay; every market gathers its evidence afresh."""
    facts: list[Fact] = []
    for name in command.repaired:
        taint.forget(state.markets[name])
        facts.append(Rebaselined(command.at_ns, name, None, None, command.actor, command.reason))
    for baseline in command.baselines:
        market = state.markets[baseline.market]
        before = market.trusted.funding_index
        if command.checkpoint is None:
            taint.vouch(market, baseline.funding_index)
        else:
            taint.roll_back(market, baseline.funding_index)
        _trust(market, baseline, policy.markets[baseline.market], command.at_ns)
        facts.append(
            Rebaselined(
                command.at_ns,
                baseline.market,
                before,
                baseline.funding_index,
                command.actor,
                command.reason,
                command.checkpoint,
            )
        )
        facts += start_afresh(market, command.at_ns, "rebaselined by an operator: evidence starts afresh")
    return facts


def _trust(market: MarketState, baseline: Baseline, policy: MarketPolicy, now_ns: int) -> None:
    """Trust the value as of its time: funding may have accrued since, unless a gap freezes it."""
    trusted = market.trusted
    trusted.funding_index, trusted.funding_seen_ns = baseline.funding_index, min(baseline.as_of_ns, now_ns)
    trusted.funding_premium = trusted.funding_rate = None
    event_time_ns = now_ns if market.feed.event_time_ns is None else market.feed.event_time_ns
    gap_ns = max(event_time_ns - baseline.as_of_ns, 0)
    frozen = policy.of(FundingParameters).gap_mode is GapMode.FREEZE and gap_ns > policy.of(FundingParameters).gap_ns
    market.feed = Feed(
        event_time_ns=event_time_ns, received_ns=market.feed.received_ns, accrued_ns=0 if frozen else gap_ns
    )
    market.funding.begin(baseline.funding_index)
    if policy.of(FundingParameters).accrual is FundingAccrual.STEPWISE:
        market.funding.steps = begun(baseline.as_of_ns, policy.of(FundingParameters))
    price = trusted.funding_price()
    if price is not None and not frozen:
        accrual = Accrual(gap_ns, policy.of(PriceParameters).of(price), None, None, Decimal(1))
        funding = in_force(policy.of(FundingParameters), market.terms)
        market.funding.point = moved(market.funding.point, accrual, funding)
    market.was_warm = True
