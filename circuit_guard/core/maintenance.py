"""A maintenance of the exchange: begun before it restarts, ended once its restarted state has been found clean."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from circuit_guard.core import phase as phases
from circuit_guard.core import reopening
from circuit_guard.core.facts import CommandRefused, Fact, MaintenanceBegan, MaintenanceEnded
from circuit_guard.core.gates import STATE_NOT_CLEAN
from circuit_guard.core.inputs import BeginMaintenance, EndMaintenance, ValidateState
from circuit_guard.core.market import MarketState
from circuit_guard.core.phase import PhaseParameters
from circuit_guard.core.policy import Policy
from circuit_guard.core.progress import advance
from circuit_guard.core.state import GuardState, Maintenance
from circuit_guard.core.tripping import open_market
from circuit_guard.core.types import Finding, MarketOutcome, Outcome, Phase, Severity
from circuit_guard.core.validation import validate


def apply(state: GuardState, command: BeginMaintenance | ValidateState | EndMaintenance, policy: Policy) -> list[Fact]:
    """Carry out one step of a maintenance, or refuse it."""
    match command:
        case BeginMaintenance():
            return _begin(state, command, policy)
        case ValidateState():
            return _hold_against_trusted(state, command, policy)
        case EndMaintenance():
            return _end(state, command, policy)


def _begin(state: GuardState, command: BeginMaintenance, policy: Policy) -> list[Fact]:
    """Deny every closure until the maintenance has ended."""
    if (running := state.maintenance) is not None:
        observed = f"begun by {running.actor} already: {running.reason}"
        return [CommandRefused(command.at_ns, "maintenance", observed, "none that runs")]
    state.maintenance = Maintenance(command.actor, command.reason, command.at_ns, command.checkpoint)
    facts: list[Fact] = [MaintenanceBegan(command.at_ns, command.actor, command.reason, command.checkpoint)]
    for name, market_policy in policy.markets.items():
        market = state.markets[name]
        facts += advance(state, market, market_policy, command.at_ns)
        facts += _enter(market, Phase.MAINTENANCE, command.at_ns, command.actor, command.reason)
        facts += reopening.follow(state, market, command.at_ns)
    return facts


def _hold_against_trusted(state: GuardState, command: ValidateState, policy: Policy) -> list[Fact]:
    """Judge a dump of the exchange's state, and remember what was found: the end of the maintenance rests on it."""
    names = [row.market for row in command.rows]
    if state.maintenance is None:
        return [_none_begun(command.at_ns)]
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        return [CommandRefused(command.at_ns, "rows", f"{', '.join(twice)} more than once", "each market once")]
    validated = validate(state, command, policy)
    state.maintenance = replace(state.maintenance, validated=validated)
    return [validated]


def _end(state: GuardState, command: EndMaintenance, policy: Policy) -> list[Fact]:
    """Let the clean markets into POST_ONLY and latch the others. Evidence takes the clean ones to OPEN."""
    if state.maintenance is None:
        return [_none_begun(command.at_ns)]
    validated = state.maintenance.validated
    if validated is None and not command.unvalidated:
        expected = "a validated dump of the exchange's state, or `unvalidated`, which latches every market"
        return [CommandRefused(command.at_ns, "validated", "nothing", expected)]
    outcomes = {} if validated is None else {outcome.market: outcome for outcome in validated.outcomes}
    clean = tuple(name for name in policy.markets if _is_clean(outcomes.get(name)))
    latched = tuple(name for name in state.markets if name not in clean)  # those that left the policy, too
    state.maintenance = None
    facts: list[Fact] = [MaintenanceEnded(command.at_ns, command.actor, command.reason, clean, latched)]
    for name, market in state.markets.items():
        market_policy = policy.markets.get(name)
        if market_policy is not None:
            facts += advance(state, market, market_policy, command.at_ns)
        if name in latched:
            facts += open_market(state, market, (_not_clean(outcomes.get(name)),), command.at_ns)
        market.agreeing = None
        facts += _enter(market, Phase.POST_ONLY, command.at_ns, command.actor, command.reason)
        if market_policy is not None:
            market.phase.opens_ns = command.at_ns + market_policy.of(PhaseParameters).post_only_min_ns
        facts += reopening.follow(state, market, command.at_ns)
    return facts


def take_up(state: GuardState, market: MarketState, at_ns: int) -> list[Fact]:
    """Put a market that the policy adds while a maintenance runs into MAINTENANCE like all others."""
    running = state.maintenance
    if running is None:
        return []
    entered = _enter(market, Phase.MAINTENANCE, at_ns, running.actor, running.reason)
    return [*entered, *reopening.follow(state, market, at_ns)]


def _is_clean(outcome: MarketOutcome | None) -> bool:
    return outcome is not None and outcome.outcome is Outcome.OK


def _enter(market: MarketState, phase: Phase, at_ns: int, actor: str, reason: str) -> list[Fact]:
    entered = phases.transition(
        market.phase, market.market, at_ns, commanded=phase, recovering=True, actor=actor, note=reason
    )
    market.phase.opens_ns = None
    return [entered] if entered else []


def _not_clean(outcome: MarketOutcome | None) -> Finding:
    """Return what latches one market. An operator's act says nothing of the exchange's data: no matter for GLOBAL."""
    observed = "not validated" if outcome is None else f"{outcome.outcome}: {outcome.subject} was {outcome.observed}"
    limit = "a clean dump" if outcome is None or not outcome.limit else outcome.limit
    return Finding(STATE_NOT_CLEAN, Severity.LATCH, "state", observed, limit)


def _none_begun(at_ns: int) -> CommandRefused:
    return CommandRefused(at_ns, "maintenance", "none", "a maintenance that has begun")
