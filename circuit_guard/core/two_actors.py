"""Acts that the policy wants two people for: the first proposes, and another who asks for the same makes it happen."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from circuit_guard.core.facts import ActProposed
from circuit_guard.core.inputs import Baseline, Input, RebaselineCommand, ResetCommand, ResumeCommand
from circuit_guard.core.policy import Policy, TwoActorAct
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import GLOBAL_SCOPE


def agreed(state: GuardState, command: Input, policy: Policy) -> Input | ActProposed:
    """Return the command if it may take effect, in the names of all who asked for it; else the proposal that it is.

    Asking again alone proposes anew: identities tell two actors apart where there are any, else names as given.
    Reasons may differ, what is to be done may not.
    """
    match command:
        case ResumeCommand(markets=markets):
            act, scopes = TwoActorAct.RESUME, markets or (GLOBAL_SCOPE,)
        case ResetCommand(scopes=scopes):
            act = TwoActorAct.RESET
        case RebaselineCommand(baselines=baselines, repaired=repaired, rescaled=rescaled):
            act = TwoActorAct.REBASELINE
            scopes = (*(baseline.market for baseline in baselines), *repaired, *rescaled)
        case _:
            return command
    if act not in policy.two_actors:
        return command
    now_ns, subject = command.at_ns, _subject(command)
    state.proposals = {known: item for known, item in state.proposals.items() if item.expires_ns > now_ns}
    first = state.proposals.get(subject)
    if first is None or _person(first) == _person(command):
        expires_ns = now_ns + policy.two_actors_within_ns
        proposal = ActProposed(now_ns, act, tuple(scopes), command.actor, command.reason, expires_ns, command.identity)
        state.proposals[subject] = proposal
        return proposal
    del state.proposals[subject]
    identity = f"{first.identity} and {command.identity}" if first.identity else command.identity
    return replace(command, actor=f"{first.actor} and {command.actor}", identity=identity)


def withdraw(state: GuardState, act: TwoActorAct, scopes: Collection[str]) -> None:
    """Forget what was proposed for these scopes: they were halted or tripped anew, and nobody agreed to lift that."""
    for subject, proposal in tuple(state.proposals.items()):
        if proposal.act == act and not set(scopes).isdisjoint(proposal.scopes):
            del state.proposals[subject]


def _person(asked: ResumeCommand | ResetCommand | RebaselineCommand | ActProposed) -> str:
    """Return what tells who asked from others: one identity is one actor, whatever names it gives."""
    return asked.identity or asked.actor


def _subject(command: ResumeCommand | ResetCommand | RebaselineCommand) -> str:
    """Return what would be done, without who asks, why and when."""
    match command:
        case ResumeCommand(markets=markets):
            return f"resume {sorted(markets)}"
        case ResetCommand(scopes=scopes):
            return f"reset {sorted(scopes)}"
        case RebaselineCommand(baselines=baselines, checkpoint=checkpoint, repaired=repaired, factor=factor):
            values = sorted((item.market, *_values(item)) for item in baselines)
            scaled = "" if factor is None else f" times {factor.normalize():f} {sorted(command.rescaled)}"
            return f"rebaseline {values} {checkpoint} {sorted(repaired)}{scaled}"


def _values(baseline: Baseline) -> tuple[str, ...]:
    """Return the values that a baseline gives, as text; one that gives a funding index alone is that alone."""
    more = (baseline.mark_price, baseline.index_price, baseline.funding_premium)
    return (str(baseline.funding_index), *(map(str, more) if any(one is not None for one in more) else ()))
