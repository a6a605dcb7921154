"""How the core's values read on a page: instants, durations, breakers, who lifts a denial, what happened."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from circuit_guard.core.breaker import Breaker
from circuit_guard.core.facts import BreakerChanged, HaltChanged, MarketReopened, MarketWarm, PhaseChanged
from circuit_guard.core.reasons import sentence
from circuit_guard.core.status import BreakerStatus
from circuit_guard.core.types import SECOND_NS, BreakerState, ExplainedLoss, Explanation, Finding, Lift, show
from circuit_guard.web.history import Event

LIFTED_BY = {
    Lift.FRESH_DATA: "the next good data",
    Lift.EVIDENCE: "good data that last",
    Lift.EXCHANGE: "the exchange, by entering another phase",
    Lift.CALLER: "the caller, by asking another question",
    Lift.OPERATOR: "an operator",
}
HARDNESS = (Lift.CALLER, Lift.FRESH_DATA, Lift.EVIDENCE, Lift.EXCHANGE, Lift.OPERATOR)
"""Who or what ends a denial, the hardest to wait for last."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BREAKERS = {
    BreakerState.CLOSED: "CLOSED",
    BreakerState.OPEN: "OPEN (denying)",
    BreakerState.HALF_OPEN: "HALF_OPEN (at a rising rate)",
}


def instant(at_ns: int) -> str:
    """Return an instant in UTC to the second: `2026-01-19 04:33:00Z`."""
    return f"{_moment(at_ns):%Y-%m-%d %H:%M:%S}Z"


def time_of_day(at_ns: int) -> str:
    """Return the time of day in UTC to the second: `04:33:00`."""
    return f"{_moment(at_ns):%H:%M:%S}"


def machine_time(at_ns: int) -> str:
    """Return an instant as RFC 3339 in UTC, to the microsecond."""
    return _moment(at_ns).isoformat()


def lasting(duration_ns: int) -> str:
    """Return a duration in its two largest units: `1 min 40 s`."""
    total_s = max(duration_ns // SECOND_NS, 0)
    parts = [(total_s // 86_400, "d"), (total_s // 3600 % 24, "h"), (total_s // 60 % 60, "min"), (total_s % 60, "s")]
    first = next((index for index, (amount, _) in enumerate(parts) if amount), len(parts) - 1)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount or unit == "s")


def breaker(status: BreakerStatus | Breaker) -> str:
    """Return a breaker's state with what it does: markets use the words OPEN and CLOSED the other way round."""
    return breaker_state(status.state, latched=status.latched)


def breaker_state(state: BreakerState, *, latched: bool) -> str:
    """Return a breaker's state with what it does."""
    return f"{_BREAKERS[state]}{', latched' if latched else ''}"


def markets(count: int) -> str:
    """Return a number of markets."""
    return f"{count} market{'' if count == 1 else 's'}"


def sentences(findings: Iterable[Finding]) -> list[str]:
    """Return one line for each reason: its sentence, and whatever else was found for the same."""
    lines: dict[str, str] = {}
    for found in findings:
        if found.reason in lines:
            lines[found.reason] += f"; {found.subject} was {found.observed}, expected {found.limit}"
        else:
            lines[found.reason] = f"{found.reason}: {sentence(found)}"
    return list(lines.values())


def explained_loss(loss: ExplainedLoss) -> str:
    """Return what trusted values say of an account: whether it is under water, and by how much at either end."""
    everywhere = "at every value that can honestly be"
    if loss.low is None or loss.high is None:
        return f"{loss.verdict}: nothing can be said, as nothing is trusted of {', '.join(loss.unknown[:6])}"
    low, high = show(abs(loss.low)), show(abs(loss.high))
    if loss.verdict is Explanation.EXPLAINED:
        return f"{loss.verdict}: under water by at least {high} {everywhere}, at worst by {low}"
    if loss.verdict is Explanation.UNEXPLAINED:
        return f"{loss.verdict}: healthy by at least {low} {everywhere}, at best by {high}"
    return (
        f"{loss.verdict}: under water by {low} at the worst values that can honestly be, healthy by {high} at the best"
    )


def rounded(value: Decimal | None, like: Decimal | None) -> str:
    """Return a computed price with the decimals of a published one; empty where it is not known."""
    if value is None:
        return ""
    exponent = like.as_tuple().exponent if like is not None else None
    decimals = max(-exponent, 0) if isinstance(exponent, int) else 8
    return show(round(value, decimals))


def happened(event: Event) -> str:
    """Return what happened to a scope, as one sentence."""
    match event:
        case BreakerChanged():
            return _breaker_changed(event)
        case HaltChanged():
            what, who = "halted" if event.halted else "resumed", f" by {event.actor}" if event.actor else ""
            until = f"; until {instant(event.expires_ns)}" if event.expires_ns is not None else ""
            return f"{what}{who}: {event.reason}{until}"
        case PhaseChanged():
            who = f" by {event.actor}" if event.actor else ""
            return f"phase {event.before} to {event.after}{who}: {event.note}"
        case MarketWarm():
            return "warm: its closures are judged from now on"
        case MarketReopened():
            return f"re-opens after {lasting(event.held_ns)}: closures go through at a rising rate"
        case _:
            value = "accounts are repaired" if event.after is None else f"funding index is {show(event.after)}"
            return f"rebaselined, {value}, says {event.actor}: {event.reason}"


def _breaker_changed(event: BreakerChanged) -> str:
    state = f"breaker {breaker_state(event.after, latched=event.latched)}"
    if event.actor:
        return f"{state}: reset by {event.actor}: {event.note}"
    opened = event.after is BreakerState.OPEN and event.findings
    return f"{state}: {' | '.join(sentences(event.findings))}" if opened else state


def _moment(at_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_ns // 1000)
