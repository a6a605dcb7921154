"""Why scopes deny closures, since when, and how that ends: what on-call asks first. Pure, from the guard's status."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from circuit_guard.core import formatting, halts, reasons, sentences
from circuit_guard.core.gates import BREAKER_OPEN, FIRST_SIGHT, GLOBAL_BREAKER_OPEN, OPERATOR_HALT, PHASE_DENIES
from circuit_guard.core.halts import Halt
from circuit_guard.core.phase import DENYING_PHASES
from circuit_guard.core.state import Maintenance
from circuit_guard.core.status import BreakerStatus, GuardStatus, MarketStatus
from circuit_guard.core.types import GLOBAL_SCOPE, BreakerState, Finding, Lift, Outcome

AUDIT = '--actor NAME --reason "WHY"'
HALTS_SHOWN_MAX = 6
_SHOWN_BY_THE_STATE = frozenset({BREAKER_OPEN, GLOBAL_BREAKER_OPEN, OPERATOR_HALT})
"""Reasons that repeat a breaker or a halt, which are shown themselves."""
_ENDED_BY_A_COMMAND = frozenset({PHASE_DENIES, FIRST_SIGHT})


@dataclass(frozen=True, slots=True)
class Ending:
    """One way in which a denial ends. `command` is what a person types, empty where nobody has to."""

    what: str
    command: str = ""

    def __str__(self) -> str:
        """Return what has to happen, and the command."""
        return f"{self.what}: {self.command}" if self.command else self.what


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one scope denies, or several markets for the same reasons. Of several, the values are those of the first."""

    scopes: tuple[str, ...]
    state: str
    """The halt, the breaker and the phase in one line."""
    hardest: Lift | None
    """What the longest-lasting denial waits for; None where nothing denies."""
    since_ns: int | None
    """The earliest known beginning; None where data decide from moment to moment."""
    why: tuple[str, ...]
    endings: tuple[Ending, ...]

    @property
    def content(self) -> tuple[object, ...]:
        """What markets that are shown as one have in common: state, reasons and endings, whatever the values."""
        named = tuple(line.partition(":")[0] for line in self.why)
        return (self.state, named, tuple(str(ending).replace(self.scopes[0], "") for ending in self.endings))


def headline(status: GuardStatus) -> str:
    """Return in one sentence what on-call asks first."""
    count = len(status.markets)
    denying = sum(bool(market.denying) for market in status.markets)
    if denying:
        return f"{denying} of {formatting.markets(count)} {'denies' if denying == 1 else 'deny'} closures"
    return f"Closures go through in {f'all {count} markets' if count > 1 else 'the only market'}"


def notes(status: GuardStatus) -> list[str]:
    """Return what holds for the whole guard and is not as usual, one line each."""
    found = []
    if status.shadow:
        found.append("SHADOW: the denials below are not enforced, except operators' halts")
    if status.clock:
        found.append(f"CLOCK {status.clock}")
    found += [f"NOT IN FORCE: {refused}" for refused in status.refused_files]
    if (running := status.maintenance) is not None:
        since, lasted = formatting.instant(running.since_ns), formatting.lasting(status.at_ns - running.since_ns)
        who = f"by {running.actor}: {running.reason}; checkpoint {running.checkpoint}"
        found.append(f"MAINTENANCE since {since}, for {lasted}, {who}")
        found.append(_validated(running))
    for asked in status.proposals:
        what = f"{asked.act} of {formatting.scopes(asked.scopes)}, proposed by {asked.actor}: {asked.reason}"
        until = formatting.instant(asked.expires_ns)
        found.append(f"NOT IN EFFECT: {what}; somebody else must ask for the same before {until}")
    return found


def explanations(status: GuardStatus) -> list[Explanation]:
    """Return why closures are denied: GLOBAL first, then the markets, the hardest to lift first, those alike as one."""
    alike: dict[tuple[object, ...], list[Explanation]] = {}
    for market in status.markets:
        if denies_itself(market):
            one = explain_market(market, in_maintenance=status.maintenance is not None, in_full=False)
            alike.setdefault(one.content, []).append(one)
    found = sorted(map(_as_one, alike.values()), key=lambda one: _hardness(one.hardest), reverse=True)
    whole = explain_global(status, in_full=False)
    return [whole, *found] if whole else found


def explain_global(status: GuardStatus, *, in_full: bool = True) -> Explanation | None:
    """Return why everything is denied; None where neither the GLOBAL breaker nor a GLOBAL halt does.

    Not in full, halts that end sooner than the longest are only counted.
    """
    breaker, standing = status.global_breaker, status.global_halts
    if not standing and not opened(breaker):
        return None
    return Explanation(
        scopes=(GLOBAL_SCOPE,),
        state=_state(breaker, standing),
        hardest=Lift.OPERATOR,
        since_ns=_since(breaker, standing),
        why=(*_why_halted(standing, in_full=in_full), *_why_opened(breaker)),
        endings=tuple(_commands(GLOBAL_SCOPE, breaker, standing)),
    )


def explain_market(market: MarketStatus, *, in_maintenance: bool, in_full: bool = True) -> Explanation:
    """Return why one market denies; GLOBAL's part of it is left to GLOBAL.

    Not in full, what ends sooner than the rest is only named. `in_maintenance`: a maintenance has begun and not ended.
    """
    breaker, halted = market.breaker, market.halts
    opening = {(found.reason, found.subject) for found in breaker.findings} if opened(breaker) else set()
    standing = [
        found
        for found in market.denying
        if found.reason not in _SHOWN_BY_THE_STATE and (found.reason, found.subject) not in opening
    ]
    bar = Lift.OPERATOR if halted or breaker.latched else sentences.hardest(standing)
    told = [found for found in standing if in_full or reasons.lift(found) is bar]
    others = sentences.codes(found for found in standing if found not in told)
    since = [_since(breaker, halted), market.phase_since_ns if market.phase in DENYING_PHASES else None]
    return Explanation(
        scopes=(market.market,),
        state=_state(breaker, halted, f"phase {market.phase}", "OVERDUE" if market.overdue else ""),
        hardest=hardest(market),
        since_ns=min((at_ns for at_ns in since if at_ns is not None), default=None),
        why=(
            *_why_halted(halted, in_full=in_full),
            *_why_opened(breaker),
            *sentences.by_reason(told),
            *([f"also {others}"] if others else []),
        ),
        endings=(
            *_commands(market.market, breaker, halted),
            *_phase_command(market, in_maintenance=in_maintenance),
            *_by_itself(standing),
        ),
    )


def opened(breaker: BreakerStatus) -> bool:
    """Tell whether a breaker denies."""
    return breaker.state is BreakerState.OPEN


def denies_itself(market: MarketStatus) -> bool:
    """Tell whether a market denies for more than GLOBAL's breaker or halt."""
    return any(
        found.reason != GLOBAL_BREAKER_OPEN and not (found.reason == OPERATOR_HALT and found.subject == GLOBAL_SCOPE)
        for found in market.denying
    )


def hardest(market: MarketStatus) -> Lift | None:
    """Return what the longest-lasting denial in a market waits for; None where nothing denies."""
    return sentences.hardest(market.denying)


def hardest_first(markets: Iterable[MarketStatus]) -> list[MarketStatus]:
    """Return markets in the order in which they are shown: the hardest to lift first, those that deny nothing last."""
    return sorted(markets, key=lambda market: _hardness(hardest(market)), reverse=True)


def reasons_of(market: MarketStatus) -> list[str]:
    """Return the reasons for which a market denies now: what opened its breaker, then the hardest to lift."""
    opening = market.breaker.findings if opened(market.breaker) else ()
    ranked = sorted(market.denying, key=lambda found: reasons.lift(found).hardness, reverse=True)
    named = (str(found.reason) for found in (*opening, *ranked))
    return list(dict.fromkeys(name for name in named if name != BREAKER_OPEN))


def _validated(running: Maintenance) -> str:
    if running.validated is None:
        return "MAINTENANCE nothing is validated yet: circuit-guard maintenance validate DUMP --actor NAME"
    outcomes = running.validated.outcomes
    clean = sum(found.outcome is Outcome.OK for found in outcomes)
    at = formatting.instant(running.validated.at_ns)
    return f"MAINTENANCE state validated at {at}: {formatting.markets(clean)} clean, {len(outcomes) - clean} not"


def _hardness(lift: Lift | None) -> int:
    return -1 if lift is None else lift.hardness


def _as_one(alike: list[Explanation]) -> Explanation:
    """Return one explanation for markets that are alike, with commands that name them all."""
    first, scopes = alike[0], tuple(scope for one in alike for scope in one.scopes)
    named = f" {' '.join(scopes)} "
    return replace(
        first,
        scopes=scopes,
        since_ns=min((one.since_ns for one in alike if one.since_ns is not None), default=None),
        endings=tuple(replace(one, command=one.command.replace(f" {scopes[0]} ", named)) for one in first.endings),
    )


def _since(breaker: BreakerStatus, standing: Sequence[Halt]) -> int | None:
    known = [halt.since_ns for halt in standing]
    known += [breaker.since_ns] if opened(breaker) else []
    return min(known, default=None)


def _state(breaker: BreakerStatus, standing: Sequence[Halt], *rest: str) -> str:
    shown = f"breaker {formatting.breaker(breaker.state, latched=breaker.latched)}"
    return ", ".join(filter(None, ["HALTED by an operator" if standing else "", shown, *rest]))


def _why_halted(standing: Sequence[Halt], *, in_full: bool) -> list[str]:
    """Return a line per halt, of many the longest; not in full, of the longest alone. The others are counted."""
    shown, others = standing[: HALTS_SHOWN_MAX if in_full else 1], standing[HALTS_SHOWN_MAX if in_full else 1 :]
    lines = [f"{halt.actor} halted it at {formatting.instant(halt.since_ns)}: {halt.reason}" for halt in shown]
    return [*lines, halts.others_said(others)] if others else lines


def _why_opened(breaker: BreakerStatus) -> list[str]:
    return [f"opened for {line}" for line in sentences.by_reason(breaker.findings)] if opened(breaker) else []


def _commands(scope: str, breaker: BreakerStatus, standing: Sequence[Halt]) -> Iterator[Ending]:
    """Yield what an operator types to lift halts and a breaker."""
    if standing:
        named = "--all" if scope == GLOBAL_SCOPE else scope
        lifted = f", which lifts all {len(standing)} halts" if len(standing) > 1 else ""
        yield Ending(f"An operator must resume it{lifted}", f"circuit-guard resume {named} {AUDIT}")
        if (ends_ns := standing[0].expires_ns) is not None:
            which = "The last halt" if len(standing) > 1 else "The halt"
            yield Ending(f"{which} ends by itself at {formatting.instant(ends_ns)}")
    if breaker.latched:
        yield Ending(
            "An operator must reset the breaker once the cause is gone", f"circuit-guard reset {scope} {AUDIT}"
        )
    elif opened(breaker):
        yield Ending("The breaker closes by itself once data have been healthy for its cooldown")
        yield Ending("An operator can reset it at once", f"circuit-guard reset {scope} {AUDIT}")


def _phase_command(market: MarketStatus, *, in_maintenance: bool) -> Iterator[Ending]:
    """Yield how a phase ends. While a maintenance runs, no phase that lets closures through can be set."""
    if market.commanded_phase not in DENYING_PHASES:
        return
    if in_maintenance:
        command = f"circuit-guard maintenance end {AUDIT}"
        yield Ending("An operator must end the maintenance once the exchange's state is validated", command)
    else:
        command = f"circuit-guard phase POST_ONLY {market.market} {AUDIT}"
        yield Ending("The exchange must leave this phase when it is back", command)


def _by_itself(standing: Iterable[Finding]) -> Iterator[Ending]:
    """Yield the endings that name no scope, each once, the hardest to wait for first."""
    standing = list(standing)
    if any(found.reason == FIRST_SIGHT for found in standing):
        yield Ending("An operator must confirm its funding index", "circuit-guard rebaseline --help")
    lifts = {reasons.lift(found) for found in standing if found.reason not in _ENDED_BY_A_COMMAND}
    for one in sorted(lifts, key=lambda lift: lift.hardness, reverse=True):
        yield Ending(formatting.ENDINGS[one])
