"""What operators do: halt, resume, reset, set the phase, change the policy. Each names who and why."""

from __future__ import annotations

from circuit_guard.core import breaker as breakers
from circuit_guard.core import halts, maintenance, own_clock, rebaseline, remembered, reopening, two_actors
from circuit_guard.core import phase as phases
from circuit_guard.core.breaker import Breaker
from circuit_guard.core.facts import ActProposed, CommandRefused, Fact, HaltChanged, PolicyChanged
from circuit_guard.core.formatting import instant
from circuit_guard.core.halts import HALTS_MAX, Halt
from circuit_guard.core.inputs import (
    BeginMaintenance,
    ClockCorrected,
    ClockMoved,
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
from circuit_guard.core.own_clock import OwnClock
from circuit_guard.core.policy import Policy, TwoActorAct
from circuit_guard.core.progress import advance, recover, start_afresh
from circuit_guard.core.state import GuardState, new_market
from circuit_guard.core.types import GLOBAL_SCOPE, BreakerState, Phase


def apply(state: GuardState, command: Input, policy: Policy) -> list[Fact]:
    """Carry out a command whole, or refuse it whole: one unknown market refuses it for all."""
    unknown = _unknown_scopes(command, policy)
    if unknown is not None:
        return [unknown]
    expired = _expired_before(state, command, policy)
    refused = _refused(state, command, policy)
    if refused is not None:
        return [*expired, refused]
    match two_actors.agreed(state, command, policy):
        case ActProposed() as proposed:
            return [proposed]
        case agreed:
            return expired + _carry_out(state, agreed, policy)


def _expired_before(state: GuardState, command: Input, policy: Policy) -> list[Fact]:
    """End the halts that are over before a new one, with all that was due by then: the new one does not extend them."""
    if not isinstance(command, HaltCommand):
        return []
    halted = [state.markets[name] for name in command.markets if state.markets[name].halt is not None]
    return [fact for one in halted for fact in advance(state, one, policy.markets[one.market], command.at_ns)]


def _carry_out(  # noqa: C901  # one case for each kind of command
    state: GuardState, command: Input, policy: Policy
) -> list[Fact]:
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
            state.clock = OwnClock()
            return _prove_again(state, command.at_ns, "the guard restarted")
        case ClockMoved(at_ns=at_ns, wall_ahead_ns=wall_ahead_ns):
            return own_clock.wall_moved(state.clock, wall_ahead_ns, at_ns)
        case ClockCorrected():
            return _correct_clock(state, command)
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
        case RebaselineCommand(baselines=baselines, repaired=repaired, rescaled=rescaled):
            named = (*(baseline.market for baseline in baselines), *repaired, *rescaled)
            unknown = [market for market in named if market not in policy.markets]
        case _:
            return None
    if not unknown:
        return None
    return CommandRefused(command.at_ns, "markets", ", ".join(unknown), "markets that the policy names")


def _refused(state: GuardState, command: Input, policy: Policy) -> CommandRefused | None:
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
        case HaltCommand(markets=markets):
            new = _halt_of(command)
            standing = {scope: state.halts(scope) for scope in markets or (GLOBAL_SCOPE,)}
            full = [name for name, them in standing.items() if len(them) >= HALTS_MAX and halts.own(them, new) is None]
            expected = f"scopes with fewer than {HALTS_MAX} halts of other actors: resume first"
            return CommandRefused(command.at_ns, "markets", ", ".join(full), expected) if full else None
        case ResumeCommand(markets=markets):
            running = [scope for scope in markets or (GLOBAL_SCOPE,) if not state.halts(scope)]
            expected = "scopes that an operator has halted"
            return CommandRefused(command.at_ns, "markets", ", ".join(running), expected) if running else None
        case ResetCommand(scopes=scopes):
            closed = [scope for scope in scopes if _breaker_of(state, scope).state is BreakerState.CLOSED]
            expected = "scopes whose breaker is not CLOSED"
            return CommandRefused(command.at_ns, "scopes", ", ".join(closed), expected) if closed else None
        case RebaselineCommand():
            return rebaseline.refused(state, command, policy)
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
            identity=command.identity,
        )
        market.phase.opens_ns = None
        facts += [changed] if changed else []
        facts += reopening.follow(state, market, command.at_ns)
    return facts


def _halt(state: GuardState, command: HaltCommand) -> list[Fact]:
    scopes = command.markets or (GLOBAL_SCOPE,)
    two_actors.withdraw(state, TwoActorAct.RESUME, scopes)
    facts: list[Fact] = [_add_halt(state, scope, _halt_of(command)) for scope in scopes]
    return facts + reopening.follow_all(state, command.at_ns)


def _halt_of(command: HaltCommand) -> Halt:
    return Halt(command.actor, command.reason, command.at_ns, command.expires_ns, command.identity)


def _add_halt(state: GuardState, scope: str, new: Halt) -> HaltChanged:
    """Add a halt beside those of others, in place of its actor's own. One that would end sooner changes nothing."""
    standing = state.halts(scope)
    longer = halts.own(standing, new)
    if longer is not None and new.expires_ns is not None and new.ends_before(longer):
        why = f"the halt that stands lasts longer ({longer.reason}), and one until {instant(new.expires_ns)}"
        note = f"{why} changes nothing: {new.reason}"
        return HaltChanged(new.since_ns, scope, True, new.actor, note, longer.expires_ns, True, new.identity)
    state.set_halts(scope, halts.with_new(standing, new))
    return HaltChanged(new.since_ns, scope, True, new.actor, new.reason, new.expires_ns, identity=new.identity)


def _resume(state: GuardState, command: ResumeCommand) -> list[Fact]:
    scopes = command.markets or (GLOBAL_SCOPE,)
    for scope in scopes:
        state.set_halts(scope, ())
    facts: list[Fact] = [
        HaltChanged(command.at_ns, scope, False, command.actor, command.reason, identity=command.identity)
        for scope in scopes
    ]
    return facts + reopening.follow_all(state, command.at_ns)


def _breaker_of(state: GuardState, scope: str) -> Breaker:
    return state.global_breaker if scope == GLOBAL_SCOPE else state.markets[scope].breaker


def _reset(state: GuardState, command: ResetCommand) -> list[Fact]:
    """Close breakers. A market then has to show evidence again, and its feed position starts afresh."""
    facts: list[Fact] = []
    for scope in command.scopes:
        breaker = _breaker_of(state, scope)
        changed = breakers.reset(breaker, command.at_ns, command.actor, command.reason, command.identity)
        facts += [changed] if changed else []
        if scope == GLOBAL_SCOPE:
            state.latched_ns.clear()
        else:
            facts += start_afresh(state.markets[scope], command.at_ns, "reset by an operator: evidence starts afresh")
            state.markets[scope].references.own_price = None  # whoever resets says that the price is right now
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
    remembered.shorten(state, policy.remembered_requests_max)
    return facts


def _correct_clock(state: GuardState, command: ClockCorrected) -> list[Fact]:
    """Go on by the corrected clock as after a restart: ages, gaps and evidence from before it mean nothing."""
    changed = own_clock.corrected(state.clock, command.by_ns, command.at_ns, catching_up=command.catching_up)
    if command.catching_up:
        return changed
    return changed + _prove_again(state, command.at_ns, "the guard's clock was corrected")


def _prove_again(state: GuardState, at_ns: int, note: str) -> list[Fact]:
    """Make every market prove itself against what was last trusted. Breakers, halts and phases stay as they were."""
    facts: list[Fact] = []
    for market in state.markets.values():
        market.consistent_observations, market.warm = 0, False
        market.reconsidered = None
        facts += recover(market, at_ns, note)
    return facts + reopening.follow_all(state, at_ns)
