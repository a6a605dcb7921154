"""What operators do: halt, resume, reset, set the phase, change the policy. Each names who and why."""

from __future__ import annotations

from circuit_guard.core import breaker as breakers
from circuit_guard.core import phase as phases
from circuit_guard.core.facts import CommandRefused, Fact, HaltChanged, PolicyChanged
from circuit_guard.core.inputs import (
    HaltCommand,
    Input,
    PhaseCommand,
    PolicyCommand,
    ResetCommand,
    Restarted,
    ResumeCommand,
)
from circuit_guard.core.market import BasisDoubt, Feed, Halt, MarketState
from circuit_guard.core.policy import Policy
from circuit_guard.core.progress import advance, recover
from circuit_guard.core.state import GuardState, new_market
from circuit_guard.core.types import GLOBAL_SCOPE, BreakerState, Phase


def apply(state: GuardState, command: Input, policy: Policy) -> list[Fact]:
    """Carry out a command whole, or refuse it whole: one unknown market refuses it for all."""
    refused = _unknown_scopes(command, policy)
    if refused is not None:
        return [refused]
    match command:
        case PolicyCommand():
            return _change_policy(state, command, policy)
        case Restarted():
            return _restart(state, command)
        case PhaseCommand():
            return _set_phase(state, command, policy)
        case HaltCommand():
            return _halt(state, command)
        case ResumeCommand():
            return _resume(state, command)
        case ResetCommand():
            return _reset(state, command)
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
        case _:
            return None
    if not unknown:
        return None
    return CommandRefused(command.at_ns, "markets", ", ".join(unknown), "markets that the policy names")


def _set_phase(state: GuardState, command: PhaseCommand, policy: Policy) -> list[Fact]:
    """Enter a phase. OPEN is reached through RECOVERING: leaving a restricted phase needs evidence."""
    if command.phase is Phase.RECOVERING:
        return [CommandRefused(command.at_ns, "phase", command.phase, "a phase other than RECOVERING, the guard's own")]
    facts: list[Fact] = []
    for name in command.markets or tuple(policy.markets):
        market = state.markets[name]
        facts += advance(market, policy.markets[name], command.at_ns)
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
        facts += [changed] if changed else []
    return facts


def _halt(state: GuardState, command: HaltCommand) -> list[Fact]:
    halt = Halt(command.actor, command.reason, command.at_ns)
    if not command.markets:
        state.global_halt = halt
    for name in command.markets:
        state.markets[name].halt = halt
    scopes = command.markets or (GLOBAL_SCOPE,)
    return [HaltChanged(command.at_ns, scope, True, command.actor, command.reason) for scope in scopes]


def _resume(state: GuardState, command: ResumeCommand) -> list[Fact]:
    scopes = command.markets or (GLOBAL_SCOPE,)
    running = [scope for scope in scopes if _halt_of(state, scope) is None]
    if running:
        return [CommandRefused(command.at_ns, "markets", ", ".join(running), "scopes that an operator has halted")]
    if not command.markets:
        state.global_halt = None
    for name in command.markets:
        state.markets[name].halt = None
    return [HaltChanged(command.at_ns, scope, False, command.actor, command.reason) for scope in scopes]


def _halt_of(state: GuardState, scope: str) -> Halt | None:
    return state.global_halt if scope == GLOBAL_SCOPE else state.markets[scope].halt


def _reset(state: GuardState, command: ResetCommand) -> list[Fact]:
    """Close breakers. A market then has to show evidence again, and its feed position starts afresh."""
    named = {s: state.global_breaker if s == GLOBAL_SCOPE else state.markets[s].breaker for s in command.scopes}
    closed = [scope for scope, breaker in named.items() if breaker.state is BreakerState.CLOSED]
    if closed:
        return [CommandRefused(command.at_ns, "scopes", ", ".join(closed), "scopes whose breaker is not CLOSED")]
    facts: list[Fact] = []
    for scope, breaker in named.items():
        changed = breakers.reset(breaker, command.at_ns, command.actor, command.reason)
        facts += [changed] if changed else []
        if scope == GLOBAL_SCOPE:
            state.latched_ns.clear()
        else:
            facts += _start_afresh(state.markets[scope], command.at_ns)
            state.latched_ns.pop(scope, None)
    return facts


def _start_afresh(market: MarketState, at_ns: int) -> list[Fact]:
    """Forget where the feed stood and what was held against it; never what was trusted."""
    accrued_ns, event_time_ns, received_ns = market.feed.accrued_ns, market.feed.event_time_ns, market.feed.received_ns
    market.feed = Feed(event_time_ns=event_time_ns, received_ns=received_ns, accrued_ns=accrued_ns)
    market.rejections, market.standing = (), {}
    market.reconsidered = market.diverged_mark = market.reverted_ns = None
    market.basis_doubt = BasisDoubt()
    market.consistent_observations, market.warm = 0, False
    return recover(market, at_ns, "reset by an operator: evidence starts afresh")


def _change_policy(state: GuardState, command: PolicyCommand, policy: Policy) -> list[Fact]:
    """Take up added markets at first sight. Breakers, halts and trusted values stay.

    Those of removed markets stay too: a market that comes back must not come back healed.
    """
    added = tuple(market for market in policy.markets if market not in state.listed)
    removed = tuple(market for market in state.listed if market not in policy.markets)
    for name in added:
        state.markets.setdefault(name, new_market(name, command.at_ns))
    state.listed = tuple(policy.markets)
    while len(state.remembered) > policy.remembered_requests_max:
        state.remembered.popitem(last=False)
    return [PolicyChanged(command.at_ns, command.revision, added, removed)]


def _restart(state: GuardState, command: Restarted) -> list[Fact]:
    """Make every market prove itself against what was last trusted. Breakers, halts and phases stay as they were."""
    facts: list[Fact] = []
    for market in state.markets.values():
        market.consistent_observations, market.warm = 0, False
        market.reconsidered = None
        facts += recover(market, command.at_ns, "the guard restarted")
    return facts
