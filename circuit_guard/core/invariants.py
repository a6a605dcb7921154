"""What always holds, whatever comes in, wherever the process dies, whatever policy is loaded.

Tests hold every state and every step against these, and recovery does so with what it has read: a state that breaks
one was not reached by this program, and nobody can vouch for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import pairwise

from circuit_guard.core.breaker import Breaker
from circuit_guard.core.facts import BreakerChanged, DecisionMade, Fact, HaltChanged, PhaseChanged
from circuit_guard.core.halts import Halt
from circuit_guard.core.inputs import (
    Check,
    EndMaintenance,
    Input,
    OrdersCheck,
    PhaseCommand,
    ResetCommand,
    ResumeCommand,
)
from circuit_guard.core.market import MarketState
from circuit_guard.core.phase import DENYING_PHASES
from circuit_guard.core.policy import Policy
from circuit_guard.core.reopening import denying
from circuit_guard.core.rules.unexplained_loss import ExplainedLossParameters, Halted
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import GLOBAL_SCOPE, BreakerState, Decision, Explanation, Phase, Verdict


def broken_in(state: GuardState) -> list[str]:
    """Return what does not hold of a state, one sentence each; nothing for one that this program has reached."""
    problems = [f"{name} is listed and has no state" for name in state.listed if name not in state.markets]
    breakers = [state.global_breaker, *(market.breaker for market in state.markets.values())]
    for breaker in breakers:
        problems += [f"{breaker.scope}: {rule}" for rule, holds in _BREAKER if not holds(breaker, state)]
    if not _in_order(state.global_halts):
        problems.append(f"{GLOBAL_SCOPE}: its halts are not of different actors, the longest first")
    for market in state.markets.values():
        problems += [f"{market.market}: {rule}" for rule, holds in _MARKET if not holds(market, state)]
    return problems


def broken_by(
    input_: Input | Check | OrdersCheck, before: GuardState, facts: Sequence[Fact], policy: Policy
) -> list[str]:
    """Return what one input may not do and did. `before` is the state that it met, or a copy of it."""
    return [problem for fact in facts for problem in _forbidden(input_, before, fact, policy)]


_BREAKER: tuple[tuple[str, Callable[[Breaker, GuardState], bool]], ...] = (
    ("a latched breaker is OPEN", lambda it, _: not it.latched or it.state is BreakerState.OPEN),
    ("an OPEN breaker says what opened it", lambda it, _: it.state is not BreakerState.OPEN or bool(it.findings)),
    ("a CLOSED breaker has no findings", lambda it, _: it.state is not BreakerState.CLOSED or not it.findings),
    ("a breaker did not change in the future", lambda it, state: it.since_ns <= state.now_ns),
)
_MARKET: tuple[tuple[str, Callable[[MarketState, GuardState], bool]], ...] = (
    ("RECOVERING is never commanded", lambda it, _: it.phase.commanded is not Phase.RECOVERING),
    ("a warm market was warm", lambda it, _: not it.warm or it.was_warm),
    (
        "a warm market has trusted values",
        lambda it, _: not it.warm or (it.trusted.mark_price is not None and _has_its_index(it)),
    ),
    (
        "what is trusted is a finite number",
        lambda it, _: all(value is None or value.is_finite() for value in _trusted(it)),
    ),
    (
        "a listed market that denies by halt, breaker or phase is held",
        lambda it, state: it.market not in state.listed or it.held_since_ns is not None or not denying(state, it),
    ),
    ("its halts are of different actors, the longest first", lambda it, _: _in_order(it.halts)),
    ("what is held has no ramp", lambda it, _: it.held_since_ns is None or it.ramp is None),
    (
        "a maintenance that runs lets no market out",
        lambda it, state: (
            state.maintenance is None or it.market not in state.listed or it.phase.commanded in DENYING_PHASES
        ),
    ),
)


def _in_order(standing: tuple[Halt, ...]) -> bool:
    sooner = any(first.ends_before(second) for first, second in pairwise(standing))
    return not sooner and len({halt.person for halt in standing}) == len(standing)


def _has_its_index(market: MarketState) -> bool:
    """Return whether a funding index is trusted, or none was since the policy said that none is judged."""
    return market.trusted.funding_index is not None or market.funding.last is None


def _trusted(market: MarketState) -> tuple[Decimal | None, ...]:
    trusted = market.trusted
    return trusted.mark_price, trusted.index_price, trusted.funding_index


def _forbidden(input_: Input | Check | OrdersCheck, before: GuardState, fact: Fact, policy: Policy) -> Iterator[str]:
    match fact:
        case BreakerChanged(before=BreakerState.OPEN, after=after) if after is not BreakerState.OPEN:
            if _breaker(before, fact.scope).latched and not isinstance(input_, ResetCommand):
                yield f"{fact.scope}: only a reset ends a latch, and {type(input_).__name__} did"
        case HaltChanged(halted=False, actor=actor):
            if actor and not isinstance(input_, ResumeCommand):
                yield f"{fact.scope}: only a resume or its own end lifts a halt, and {type(input_).__name__} did"
        case PhaseChanged(before=left, after=after) if left in DENYING_PHASES and after not in DENYING_PHASES:
            if not isinstance(input_, PhaseCommand | EndMaintenance):
                yield f"{fact.market}: only a command leaves {left}, and {type(input_).__name__} did"
        case DecisionMade(decision=decision, repeated=False) if decision.verdict is Verdict.ALLOW:
            yield from _allowed_in_spite(before, decision, policy)
        case DecisionMade(decision=decision) if decision.verdict is Verdict.ALLOW:
            yield from _repeated_in_spite(before, decision, fact.at_ns, policy)
        case _:
            return


def _breaker(state: GuardState, scope: str) -> Breaker:
    return state.global_breaker if scope == GLOBAL_SCOPE else state.markets[scope].breaker


def _repeated_in_spite(before: GuardState, decision: Decision, now_ns: int, policy: Policy) -> Iterator[str]:
    """Yield why a remembered ALLOW must not have answered."""
    if policy.remembered_allow_max_ns is None:
        return
    if now_ns - decision.at_ns > policy.remembered_allow_max_ns:
        yield f"{decision.market}: an ALLOW answered that was older than the policy lets it be"
    market = before.markets.get(decision.market)
    breakers = (before.global_breaker, market.breaker) if market else (before.global_breaker,)
    halts = (before.global_halt, market.halt) if market else (before.global_halt,)
    if any(breaker.state is BreakerState.OPEN for breaker in breakers):
        yield f"{decision.market}: a remembered ALLOW answered although a breaker was OPEN (denying)"
    if market is not None and market.phase.commanded in DENYING_PHASES:
        yield f"{decision.market}: a remembered ALLOW answered in {market.phase.commanded}"
    if any(halt is not None and (halt.expires_ns is None or halt.expires_ns > now_ns) for halt in halts):
        yield f"{decision.market}: a remembered ALLOW answered although an operator had halted closures"


def _allowed_in_spite(before: GuardState, decision: Decision, policy: Policy) -> Iterator[str]:
    """Yield what must have denied a closure, of what was so before the check and time alone does not end."""
    name, now_ns, loss = decision.market, decision.at_ns, decision.explained
    market = before.markets.get(name)
    if market is None or name not in policy.markets:
        yield f"{name}: a closure in a market that the policy does not name was allowed"
        return
    for halt in (before.global_halt, market.halt):
        if halt is not None and (halt.expires_ns is None or halt.expires_ns > now_ns):
            yield f"{name}: a closure was allowed although {halt.actor} had halted it"
    if policy.shadow:
        return
    excused = policy.markets[name].of(ExplainedLossParameters).halted is Halted.ALLOW_EXPLAINED
    excused = excused and loss is not None and loss.verdict is Explanation.EXPLAINED
    for breaker in (before.global_breaker, market.breaker):
        if breaker.latched and not excused:
            yield f"{name}: a closure was allowed although the breaker of {breaker.scope} was latched"
    if market.phase.commanded in DENYING_PHASES:
        yield f"{name}: a closure was allowed in {market.phase.commanded}"
    if not market.warm:
        yield f"{name}: a closure was allowed while it was warming"
