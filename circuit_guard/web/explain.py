"""Why a scope denies closures, since when, who lifts it and what to type. Pure, from the core's status."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from circuit_guard.core.gates import BREAKER_OPEN, FIRST_SIGHT, GLOBAL_BREAKER_OPEN, OPERATOR_HALT, PHASE_DENIES
from circuit_guard.core.market import Halt
from circuit_guard.core.phase import DENYING_PHASES
from circuit_guard.core.reasons import lift
from circuit_guard.core.status import BreakerStatus, GuardStatus, MarketStatus
from circuit_guard.core.types import GLOBAL_SCOPE, BreakerState, Finding, Lift
from circuit_guard.web import words

AUDIT = '--actor NAME --reason "WHY"'
_SHOWN_BY_THE_STATE = frozenset({BREAKER_OPEN, GLOBAL_BREAKER_OPEN, OPERATOR_HALT})
"""Reasons that repeat a breaker or a halt, which are shown themselves."""
_ENDED_BY_A_COMMAND = frozenset({PHASE_DENIES, FIRST_SIGHT})


@dataclass(frozen=True, slots=True)
class Ending:
    """One way in which a denial ends. `command` is what a person types, empty where nobody has to."""

    who: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What on-call asks first. `since_ns` None: data decide from moment to moment."""

    since_ns: int | None
    why: tuple[str, ...]
    endings: tuple[Ending, ...]


def explain_global(status: GuardStatus) -> Explanation | None:
    """Return why everything is denied; None where neither the GLOBAL breaker nor a GLOBAL halt does."""
    breaker, halt = status.global_breaker, status.global_halt
    if halt is None and not opened(breaker):
        return None
    return Explanation(
        since_ns=_since(breaker, halt),
        why=(*_why_halted(halt), *_why_opened(breaker)),
        endings=tuple(_commands(GLOBAL_SCOPE, breaker, halt)),
    )


def explain_market(market: MarketStatus, *, in_maintenance: bool) -> Explanation:
    """Return why one market denies; GLOBAL's part is left to GLOBAL. Empty where the market itself denies nothing."""
    opening = {(found.reason, found.subject) for found in market.breaker.findings} if opened(market.breaker) else set()
    standing = [
        found
        for found in market.denying
        if found.reason not in _SHOWN_BY_THE_STATE and (found.reason, found.subject) not in opening
    ]
    since = [_since(market.breaker, market.halt), market.phase_since_ns if market.phase in DENYING_PHASES else None]
    return Explanation(
        since_ns=min((at_ns for at_ns in since if at_ns is not None), default=None),
        why=(*_why_halted(market.halt), *_why_opened(market.breaker), *words.sentences(standing)),
        endings=(
            *_commands(market.market, market.breaker, market.halt),
            *_phase_command(market, in_maintenance=in_maintenance),
            *_by_itself(standing),
        ),
    )


def opened(breaker: BreakerStatus) -> bool:
    """Tell whether a breaker denies."""
    return breaker.state is BreakerState.OPEN


def hardness(market: MarketStatus) -> int:
    """Return how hard it is to wait for the end of what denies a market; -1 where nothing does."""
    return max((words.HARDNESS.index(lift(found)) for found in market.denying), default=-1)


def reasons_of(market: MarketStatus) -> list[str]:
    """Return the reasons for which a market denies now: what opened its breaker, then the hardest to lift."""
    opening = market.breaker.findings if opened(market.breaker) else ()
    ranked = sorted(market.denying, key=lambda found: -words.HARDNESS.index(lift(found)))
    named = (found.reason for found in (*opening, *ranked))
    return list(dict.fromkeys(str(name) for name in named if name != BREAKER_OPEN))


def _since(breaker: BreakerStatus, halt: Halt | None) -> int | None:
    known = [halt.since_ns] if halt else []
    known += [breaker.since_ns] if opened(breaker) else []
    return min(known, default=None)


def _why_halted(halt: Halt | None) -> list[str]:
    return [f"{halt.actor} halted it at {words.instant(halt.since_ns)}: {halt.reason}"] if halt else []


def _why_opened(breaker: BreakerStatus) -> list[str]:
    return [f"opened for {line}" for line in words.sentences(breaker.findings)] if opened(breaker) else []


def _commands(scope: str, breaker: BreakerStatus, halt: Halt | None) -> Iterator[Ending]:
    """Yield what an operator types to lift a halt and a breaker."""
    if halt:
        named = "--all" if scope == GLOBAL_SCOPE else scope
        yield Ending("an operator", f"circuit-guard resume {named} {AUDIT}")
        if halt.expires_ns is not None:
            yield Ending(f"or itself, at {words.instant(halt.expires_ns)}")
    if breaker.latched:
        yield Ending("an operator, once the cause is gone", f"circuit-guard reset {scope} {AUDIT}")
    elif opened(breaker):
        yield Ending("itself, after a cooldown on healthy data")
        yield Ending("or an operator, at once", f"circuit-guard reset {scope} {AUDIT}")


def _phase_command(market: MarketStatus, *, in_maintenance: bool) -> Iterator[Ending]:
    """Yield how a phase ends. While a maintenance runs, no phase that lets closures through can be set."""
    if market.commanded_phase not in DENYING_PHASES:
        return
    if in_maintenance:
        ended = f"circuit-guard maintenance end {AUDIT}"
        yield Ending("the maintenance's end, once the exchange's state is validated", ended)
    else:
        yield Ending("the exchange, when it is back", f"circuit-guard phase POST_ONLY {market.market} {AUDIT}")


def _by_itself(standing: Iterable[Finding]) -> Iterator[Ending]:
    """Yield the endings that name no scope, each once, the hardest to wait for first."""
    standing = list(standing)
    if any(found.reason == FIRST_SIGHT for found in standing):
        yield Ending("an operator, who vouches for its funding index", "circuit-guard rebaseline --help")
    lifts: set[Lift] = {lift(found) for found in standing if found.reason not in _ENDED_BY_A_COMMAND}
    yield from (Ending(words.LIFTED_BY[one]) for one in reversed(words.HARDNESS) if one in lifts)
