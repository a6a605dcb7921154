"""Why markets deny closures, since when, who may lift it and what to type: the heart of `status`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp

from circuit_guard.cli import words
from circuit_guard.core.gates import BREAKER_OPEN, FIRST_SIGHT, GLOBAL_BREAKER_OPEN, OPERATOR_HALT, PHASE_DENIES
from circuit_guard.core.rules.basis import BASIS_MISSING
from circuit_guard.core.types import GLOBAL_SCOPE
from circuit_guard.v1 import status_pb2, types_pb2

AUDIT = '--actor NAME --reason "WHY"'
_SHOWN_BY_THE_STATE = frozenset({BREAKER_OPEN, GLOBAL_BREAKER_OPEN, OPERATOR_HALT})
"""Reasons that repeat a breaker or a halt, which are shown themselves."""
_NO_CALLER = frozenset({BASIS_MISSING})
"""Reasons that blame a caller: here nobody has asked, and value_missing says what is missing."""
_ENDED_BY_A_COMMAND = frozenset({PHASE_DENIES, FIRST_SIGHT})
"""Reasons whose ending is said as a command."""
_CLOSED_TO_ALL = (types_pb2.PHASE_CANCEL_ONLY, types_pb2.PHASE_MAINTENANCE)


@dataclass(slots=True)
class Explanation:
    """One scope that denies, or several markets that deny for the same: what on-call asks first."""

    scopes: list[str]
    state: str
    """The halt, the breaker and the phase in one line."""
    lifted_by: types_pb2.LiftedBy
    """The hardest to wait for."""
    since: Timestamp | None = None
    """The earliest known beginning; None where data decide from moment to moment."""
    why: list[str] = field(default_factory=list)
    """What was found, with the values of the first scope."""
    lifting: list[str] = field(default_factory=list)
    """Who lifts it, and the command to type where a person can."""

    @property
    def content(self) -> tuple[object, ...]:
        """What has to be equal for markets to be shown as one: state, reasons and ending, whatever the values."""
        reasons = (line.partition(":")[0] for line in self.why)
        return (self.state, *reasons, *(line.replace(self.scopes[0], "") for line in self.lifting))


def explanations(status: status_pb2.GuardStatus) -> list[Explanation]:
    """Return why closures are denied: GLOBAL first, then the markets, the hardest to lift first."""
    markets: dict[tuple[object, ...], Explanation] = {}
    for market in status.markets:
        if not _denies_itself(market):
            continue
        one = explain_market(market, in_full=False, in_maintenance=status.HasField("maintenance"))
        known = markets.setdefault(one.content, one)
        if known is not one:
            known.scopes += one.scopes
            known.since = _earliest([known.since, one.since])
    ranked = sorted(map(_with_all_named, markets.values()), key=lambda one: -one.lifted_by)
    return [explain_global(status), *ranked] if denies_globally(status) else ranked


def denies_globally(status: status_pb2.GuardStatus) -> bool:
    """Tell whether the GLOBAL breaker or halt denies closures in every market."""
    return status.HasField("global_halt") or _opened(status.global_breaker)


def explain_global(status: status_pb2.GuardStatus) -> Explanation:
    """Return why everything is denied."""
    halt = status.global_halt if status.HasField("global_halt") else None
    return Explanation(
        scopes=[GLOBAL_SCOPE],
        state=_state(status.global_breaker, halt, ""),
        lifted_by=types_pb2.LIFTED_BY_OPERATOR,
        since=_since(status.global_breaker, halt),
        why=[*_why_halted(halt), *_why_opened(status.global_breaker)],
        lifting=list(_commands(GLOBAL_SCOPE, status.global_breaker, halt)),
    )


def explain_market(market: status_pb2.MarketStatus, *, in_full: bool, in_maintenance: bool = False) -> Explanation:
    """Return why one market denies; GLOBAL's part of it is left to GLOBAL.

    Not in full, what ends sooner than the rest is only named. `in_maintenance`: a maintenance has begun and not ended.
    """
    halt = market.halt if market.HasField("halt") else None
    opening = {(found.reason, found.subject) for found in market.breaker.findings} if _opened(market.breaker) else ()
    standing = [
        found
        for found in market.denying
        if found.reason not in _SHOWN_BY_THE_STATE | _NO_CALLER and (found.reason, found.subject) not in opening
    ]
    held = halt is not None or market.breaker.latched
    bar = types_pb2.LIFTED_BY_OPERATOR if held else max((found.lifted_by for found in standing), default=0)
    decisive = [found for found in standing if in_full or found.lifted_by >= bar]
    since = _since(market.breaker, halt)
    if market.phase in _CLOSED_TO_ALL:
        since = _earliest([since, market.phase_since])
    return Explanation(
        scopes=[market.market],
        state=_state(market.breaker, halt, f"phase {words.phase(market.phase)}", overdue=market.overdue),
        lifted_by=hardest(market),
        since=since,
        why=[*_why_halted(halt), *_why_opened(market.breaker), *_sentences(decisive), *_named(standing, decisive)],
        lifting=[
            *_commands(market.market, market.breaker, halt),
            *_phase_command(market, in_maintenance),
            *_by_itself(standing),
        ],
    )


def hardest(market: status_pb2.MarketStatus) -> types_pb2.LiftedBy:
    """Return what the longest-lasting denial in a market waits for; unspecified where nothing denies."""
    lifts = (found.lifted_by for found in market.denying if found.reason not in _NO_CALLER)
    return max(lifts, default=types_pb2.LIFTED_BY_UNSPECIFIED)


def reasons_of(market: status_pb2.MarketStatus) -> list[str]:
    """Return the reasons for which a market denies now: what opened its breaker, then the hardest to lift."""
    opening = market.breaker.findings if _opened(market.breaker) else ()
    ranked = sorted(market.denying, key=lambda found: -found.lifted_by)
    named = (found.reason for found in (*opening, *ranked))
    return list(dict.fromkeys(name for name in named if name not in {BREAKER_OPEN, *_NO_CALLER}))


def _denies_itself(market: status_pb2.MarketStatus) -> bool:
    return any(
        found.reason != GLOBAL_BREAKER_OPEN and not (found.reason == OPERATOR_HALT and found.subject == GLOBAL_SCOPE)
        for found in market.denying
    )


def _opened(breaker: status_pb2.BreakerStatus) -> bool:
    return breaker.state == types_pb2.BREAKER_STATE_OPEN


def _since(breaker: status_pb2.BreakerStatus, halt: status_pb2.Halt | None) -> Timestamp | None:
    return _earliest([halt.since if halt else None, breaker.since if _opened(breaker) else None])


def _state(
    breaker: status_pb2.BreakerStatus, halt: status_pb2.Halt | None, phase: str, *, overdue: bool = False
) -> str:
    halted, late = "HALTED by an operator" if halt else "", "OVERDUE" if overdue else ""
    return ", ".join(filter(None, [halted, words.breaker(breaker), phase, late]))


def _why_halted(halt: status_pb2.Halt | None) -> list[str]:
    return [f"{halt.actor} halted it at {words.time(halt.since)}: {halt.reason}"] if halt else []


def _why_opened(breaker: status_pb2.BreakerStatus) -> list[str]:
    return [f"opened for {line}" for line in _sentences(breaker.findings)] if _opened(breaker) else []


def _sentences(findings: Iterable[types_pb2.Finding]) -> list[str]:
    """Return one line for each reason: its sentence, and whatever else was found for the same."""
    lines: dict[str, str] = {}
    for found in findings:
        if found.reason in lines:
            lines[found.reason] += f"; {found.subject} was {found.observed}, expected {found.limit}"
        else:
            lines[found.reason] = f"{found.reason}: {found.sentence}"
    return list(lines.values())


def _named(standing: list[types_pb2.Finding], decisive: list[types_pb2.Finding]) -> list[str]:
    """Return in one line the reasons that are not given as sentences."""
    names = ", ".join(dict.fromkeys(found.reason for found in standing if found not in decisive))
    return [f"also {names}"] if names else []


def _commands(scope: str, breaker: status_pb2.BreakerStatus, halt: status_pb2.Halt | None) -> Iterator[str]:
    """Yield what an operator types to lift a halt and a breaker."""
    if halt:
        named = "--all" if scope == GLOBAL_SCOPE else scope
        yield f"an operator: circuit-guard resume {named} {AUDIT}"
        if halt.HasField("expires_at"):
            yield f"or itself, at {words.time(halt.expires_at)}"
    if breaker.latched:
        yield f"an operator, once the cause is gone: circuit-guard reset {scope} {AUDIT}"
    elif _opened(breaker):
        yield "itself, after a cooldown on healthy data"
        yield f"or an operator, at once: circuit-guard reset {scope} {AUDIT}"


def _phase_command(market: status_pb2.MarketStatus, in_maintenance: bool) -> Iterator[str]:
    """Yield how a phase ends. While a maintenance runs, no phase that lets closures through can be set."""
    if market.commanded_phase in _CLOSED_TO_ALL and in_maintenance:
        yield f"the maintenance's end, once the exchange's state is validated: circuit-guard maintenance end {AUDIT}"
    elif market.commanded_phase in _CLOSED_TO_ALL:
        yield f"the exchange, when it is back: circuit-guard phase POST_ONLY {market.market} {AUDIT}"


def _by_itself(standing: Iterable[types_pb2.Finding]) -> Iterator[str]:
    """Yield the endings that name no scope, each once, the hardest to wait for first."""
    named = {found.reason for found in standing}
    if FIRST_SIGHT in named:
        yield "an operator, who vouches for its funding index: circuit-guard rebaseline --help says how"
    lifts = {found.lifted_by for found in standing if found.reason not in _ENDED_BY_A_COMMAND}
    yield from map(words.lifted_by, sorted(lifts, reverse=True))


def _with_all_named(one: Explanation) -> Explanation:
    """Return the explanation with commands that name every market it stands for."""
    first, named = one.scopes[0], " ".join(one.scopes)
    one.lifting = [line.replace(f" {first} ", f" {named} ") for line in one.lifting]
    return one


def _earliest(stamps: Iterable[Timestamp | None]) -> Timestamp | None:
    known = [stamp for stamp in stamps if stamp is not None]
    return min(known, key=lambda stamp: stamp.ToNanoseconds(), default=None)
