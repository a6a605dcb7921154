"""What operators do: halt, resume, reset, set the phase, change the policy. Each names who and why."""

from __future__ import annotations

from circuit_guard.core import breaker as breakers
from circuit_guard.core import maintenance, rebaseline, reopening, two_actors
from circuit_guard.core import phase as phases
from circuit_guard.core.breaker import Breaker
from circuit_guard.core.facts import ActProposed, CommandRefused, Fact, HaltChanged, PolicyChanged
from circuit_guard.core.inputs import (
    BeginMaintenance,
    EndMaintenance,
    HaltCommand,
    Input,
    PhaseCommand,
    PolicyCommand,
    RebaselineCommand,
    ResetCommand,
    Restarted,
    ResumeCommand,
    ValidateState,
)
from circuit_guard.core.market import Halt
from circuit_guard.core.policy import Policy, TwoActorAct
from circuit_guard.core.progress import advance, recover, start_afresh
from circuit_guard.core.state import GuardState, new_market
from circuit_guard.core.types import GLOBAL_SCOPE, BreakerState, Phase


def apply(state: GuardState, command: Input, policy: Policy) -> list[Fact]:
    """Carry out a command whole, or refuse it whole: one unknown market refuses it for all."""
    refused = _unknown_scopes(command, policy) or _refused(state, command)
    if refused is not None:
        return [refused]
    match two_actors.agreed(state, command, policy):
        case ActProposed() as proposed:
            return [proposed]
        case agreed:
            return _carry_out(state, agreed, policy)


def _carry_out(state: GuardState, command: Input, policy: Policy) -> list[Fact]:
    match command:
        case PhaseCommand():
            return _set_phase(state, command, policy)
        case HaltCommand():
            return _halt(state, command)
        case ResumeCommand():
            return _resume(state, command)
        case ResetCommand():
            return _reset(state, command)
        case RebaselineCommand():
            return rebaseline.apply(state, command, policy)
        case PolicyCommand():
            return _change_policy(state, command, policy)
        case Restarted():
            return _restart(state, command)
        case BeginMaintenance() | ValidateState() | EndMaintenance():
            return maintenance.apply(state, command, policy)
        case _:
            raise TypeError(f"not a command: {command!r}")


def _unknown_scopes(command: Input, policy: Policy) -> CommandRefused | None:
    match command:
        case PhaseCommand(markets=named) | HaltCommand(markets=named) | ResumeCommand(markets=named):
            unknown = [market for market in named if market not in policy.markets]
        case ResetCommand(scopes=()):
            return CommandRefused(command.at_ns, "scopes", "none", "a market, or GLOBAL")
        case ResetCommand(scopes=named):
            unknown = [scope for scope in named if scope != GLOBAL_SCOPE and scope not in policy.markets]
        case RebaselineCommand(baselines=baselines, repaired=repaired):
            named = (*(baseline.market for baseline in baselines), *repaired)
            unknown = [market for market in named if market not in policy.markets]
        case _:
            return None
    if not unknown:
        return None
    return CommandRefused(command.at_ns, "markets", ", ".join(unknown), "markets that the policy names")


def _refused(state: GuardState, command: Input) -> CommandRefused | None:
    """Return why a command on known scopes has nothing to do, or must not."""
    match command:
        case PhaseCommand(phase=Phase.RECOVERING):
            return CommandRefused(
                command.at_ns, "phase", command.phase, "a phase other than RECOVERING, the guard's own"
            )
        case PhaseCommand(phase=Phase.OPEN | Phase.POST_ONLY) if state.maintenance is not None:
            expected = "MAINTENANCE or CANCEL_ONLY until the maintenance is ended"
            return CommandRefused(command.at_ns, "phase", command.phase, expected)
        case HaltCommand(expires_ns=int(expires_ns)) if expires_ns <= command.at_ns:
            return CommandRefused(command.at_ns, "expires", "a time in the past", "a time to come")
        case ResumeCommand(markets=markets):
            running = [scope for scope in markets or (GLOBAL_SCOPE,) if _halt_of(state, scope) is None]
            expected = "scopes that an operator has halted"
            return CommandRefused(command.at_ns, "markets", ", ".join(running), expected) if running else None
        case ResetCommand(scopes=scopes):
            closed = [scope for scope in scopes if _breaker_of(state, scope).state is BreakerState.CLOSED]
            expected = "scopes whose breaker is not CLOSED"
            return CommandRefused(command.at_ns, "scopes", ", ".join(closed), expected) if closed else None
        case RebaselineCommand():
            return rebaseline.refused(state, command)
        case _:
            return None


def _set_phase(state: GuardState, command: PhaseCommand, policy: Policy) -> list[Fact]:
    """Enter a phase. OPEN is reached through RECOVERING: leaving a restricted phase needs evidence."""
    facts: list[Fact] = []
    for name in command.markets or tuple(policy.markets):
        market = state.markets[name]
        facts += advance(state, market, policy.markets[name], command.at_ns)
        leaving = command.phase is Phase.OPEN and market.phase.commanded is not Phase.OPEN
        if leaving:
            market.agreeing = None
        if command.rollback:
            market.rollback_ns = command.at_ns
        changed = phases.transition(
            market.phase,
            name,
            command.at_ns,
            commanded=command.phase,
            recovering=market.phase.recovering or leaving,
            actor=command.actor,
            note=command.reason or f"the exchange entered {command.phase}",
        )
        market.phase.opens_ns = None
        facts += [changed] if changed else []
        facts += reopening.follow(state, market, command.at_ns)
    return facts


def _halt(state: GuardState, command: HaltCommand) -> list[Fact]:
    halt = Halt(command.actor, command.reason, command.at_ns, command.expires_ns)
    if not command.markets:
        state.global_halt = halt
    for name in command.markets:
        state.markets[name].halt = halt
    scopes = command.markets or (GLOBAL_SCOPE,)
    two_actors.withdraw(state, TwoActorAct.RESUME, scopes)
    facts: list[Fact] = [
        HaltChanged(command.at_ns, scope, True, command.actor, command.reason, command.expires_ns) for scope in scopes
    ]
    return facts + reopening.follow_all(state, command.at_ns)


def _resume(state: GuardState, command: ResumeCommand) -> list[Fact]:
    if not command.markets:
        state.global_halt = None
    for name in command.markets:
        state.markets[name].halt = None
    scopes = command.markets or (GLOBAL_SCOPE,)
    facts: list[Fact] = [HaltChanged(command.at_ns, scope, False, command.actor, command.reason) for scope in scopes]
    return facts + reopening.follow_all(state, command.at_ns)


def _halt_of(state: GuardState, scope: str) -> Halt | None:
    return state.global_halt if scope == GLOBAL_SCOPE else state.markets[scope].halt


def _breaker_of(state: GuardState, scope: str) -> Breaker:
    return state.global_breaker if scope == GLOBAL_SCOPE else state.markets[scope].breaker


def _reset(state: GuardState, command: ResetCommand) -> list[Fact]:
    """Close breakers. A market then has to show evidence again, and its feed position starts afresh."""
    facts: list[Fact] = []
    for scope in command.scopes:
        changed = breakers.reset(_breaker_of(state, scope), command.at_ns, command.actor, command.reason)
        facts += [changed] if changed else []
        if scope == GLOBAL_SCOPE:
            state.latched_ns.clear()
        else:
            facts += start_afresh(state.markets[scope], command.at_ns, "reset by an operator: evidence starts afresh")
            state.latched_ns.pop(scope, None)
    return facts + reopening.follow_all(state, command.at_ns)


def _change_policy(state: GuardState, command: PolicyCommand, policy: Policy) -> list[Fact]:
    """Take up added markets at first sight. Breakers, halts and trusted values stay.

    Those of removed markets stay too: a market that comes back must not come back healed.
    """
    added = tuple(market for market in policy.markets if market not in state.listed)
    removed = tuple(market for market in state.listed if market not in policy.markets)
    for name in added:
        state.markets.setdefault(name, new_market(name, command.at_ns))
    state.listed = tuple(policy.markets)
    facts: list[Fact] = [PolicyChanged(command.at_ns, command.revision, added, removed)]
    for name in added:
        facts += maintenance.take_up(state, state.markets[name], command.at_ns)
    while len(state.remembered) > policy.remembered_requests_max:
        state.remembered.popitem(last=False)
    return facts


def _restart(state: GuardState, command: Restarted) -> list[Fact]:
    """Make every market prove itself against what was last trusted. Breakers, halts and phases stay as they were."""
    facts: list[Fact] = []
    for market in state.markets.values():
        market.consistent_observations, market.warm = 0, False
        market.reconsidered = None
        facts += recover(market, command.at_ns, "the guard restarted")
    return facts + reopening.follow_all(state, command.at_ns)
