"""The records of a journal as lines of a timeline, in words that a reader needs no other page for."""

from __future__ import annotations

from circuit_guard.core.facts import (
    ActProposed,
    BreakerChanged,
    CommandRefused,
    HaltChanged,
    MaintenanceBegan,
    MaintenanceEnded,
    MarketReopened,
    PhaseChanged,
    PolicyChanged,
    Rebaselined,
    StateValidated,
)
from circuit_guard.core.reasons import REASONS, Reason
from circuit_guard.core.types import (
    GLOBAL_SCOPE,
    SECOND_NS,
    BreakerState,
    Finding,
    Outcome,
    Phase,
    show,
    show_seconds,
)
from circuit_guard.journal.record import CheckpointNote, DecisionsDropped, Start
from circuit_guard.report.document import clock
from circuit_guard.report.evidence import Happening

SAME_WITHIN_NS = 2 * SECOND_NS
"""The same happening in several markets within this time is one line."""

PHASES = {
    Phase.OPEN: "trading as usual",
    Phase.POST_ONLY: "only resting orders are taken",
    Phase.CANCEL_ONLY: "orders can only be cancelled",
    Phase.MAINTENANCE: "the exchange is down for maintenance",
    Phase.RECOVERING: "the guard waits for evidence that the data are sound",
}


def happening(at_ns: int, scope: str, value: object, *, shadow: bool) -> Happening | None:
    """Return what a record says as one line; None for what no reader of a report asks for.

    `shadow`: whether the guard was in shadow then, so that no breaker stopped anything.
    """
    match value:
        case BreakerChanged():
            return _breaker(value, shadow=shadow)
        case HaltChanged():
            verb, kind = ("halted", "stop") if value.halted else ("resumed", "open")
            until = "" if value.expires_ns is None else f", until {clock(value.expires_ns)}"
            return Happening(at_ns, value.scope, f"closures {verb}{_by(value.actor)}{until}: {value.reason}", kind)
        case PhaseChanged():
            what = f"phase {value.before} to {value.after}{_by(value.actor)} ({PHASES[value.after]})"
            return Happening(at_ns, value.market, what + (f": {value.note}" if value.note else ""))
        case MarketReopened():
            held = "would have been held" if shadow else "held"
            what = f"{held} for {show_seconds(value.held_ns)}; closures go through again, at a rising rate"
            return Happening(at_ns, value.market, what, "open")
        case Start():
            return Happening(at_ns, "", f"circuit_guard {value.program_version} starts to write, on {value.host}")
        case CheckpointNote() if scope:
            return Happening(at_ns, "", f"checkpoint {scope} is kept")
        case DecisionsDropped():
            return Happening(at_ns, "", f"answers not recorded, as the disk was too slow: {value.count}", "stop")
        case _:
            return _act(at_ns, value)


def joined(happenings: list[Happening]) -> list[Happening]:
    """Return the lines in time order, one for what happened to several markets at about the same time."""
    lines: list[Happening] = []
    last: dict[tuple[str, str], int] = {}
    for told in sorted(happenings, key=lambda told: told.at_ns):
        place = last.get((told.what, told.kind))
        if place is not None and told.scope and told.at_ns - lines[place].at_ns <= SAME_WITHIN_NS:
            if told.scope not in lines[place].scope.split(", "):
                lines[place] = lines[place]._replace(scope=f"{lines[place].scope}, {told.scope}")
            continue
        last[told.what, told.kind] = len(lines)
        lines.append(told)
    return lines


def _act(at_ns: int, value: object) -> Happening | None:
    match value:
        case MaintenanceBegan():
            what = f"maintenance begun{_by(value.actor)}: {value.reason}; checkpoint {value.checkpoint} is kept for it"
        case StateValidated():
            bad = [found.market for found in value.outcomes if found.outcome is not Outcome.OK]
            found = f"not clean: {', '.join(bad)}" if bad else "all clean"
            what = (
                f"the restarted exchange's state is compared{_by(value.actor)}, {len(value.outcomes)} markets: {found}"
            )
        case MaintenanceEnded():
            latched = f"; latched: {', '.join(value.latched)}" if value.latched else ""
            what = f"maintenance ended{_by(value.actor)}: {value.reason}; {len(value.clean)} markets clean{latched}"
        case Rebaselined():
            return Happening(at_ns, value.market, _rebaselined(value), "act")
        case ActProposed():
            scopes = ", ".join(value.scopes)
            what = f"{value.act} of {scopes} proposed{_by(value.actor)}: {value.reason}; it waits for a second person"
        case PolicyChanged():
            what = f"policy {value.revision} takes effect"
            what += f", adding {', '.join(value.added)}" if value.added else ""
            what += f", without {', '.join(value.removed)}" if value.removed else ""
        case CommandRefused():
            what = f"a command was refused: {value.subject} was {value.observed}, expected {value.expected}"
        case _:
            return None
    return Happening(at_ns, "", what, "act")


def _rebaselined(value: Rebaselined) -> str:
    if value.after is None:
        return f"accounts repaired, says {value.actor}: {value.reason}; no value taints accounts there any more"
    source = "" if value.checkpoint is None else f", that of checkpoint {value.checkpoint}"
    given = f"funding index declared to be {show(value.after)}{source}, instead of {show(value.before)}"
    return f"{given}{_by(value.actor)}: {value.reason}"


def _breaker(changed: BreakerChanged, *, shadow: bool) -> Happening:
    everywhere = changed.scope == GLOBAL_SCOPE
    what, kind = _breaker_words(changed, shadow=shadow)
    return Happening(changed.at_ns, "" if everywhere else changed.scope, what, kind)


def _breaker_words(changed: BreakerChanged, *, shadow: bool) -> tuple[str, str]:
    if changed.after is BreakerState.OPEN:
        verb = "latch" if changed.latched else "trip"
        stopped = f"{verb}, in shadow: closures would be stopped" if shadow else f"{verb}: closures stopped"
        until = "until an operator resets it" if changed.latched else "until good data last"
        return f"{stopped} {until}: {_why(changed.findings)}", "stop"
    if changed.actor:
        return f"breaker reset{_by(changed.actor)}: {changed.note}", "open"
    if changed.after is BreakerState.HALF_OPEN:
        return "breaker half open: closures go through at a rising rate", "open"
    return "breaker closed: it holds closures no more", "open"


def _why(findings: tuple[Finding, ...]) -> str:
    gravest = max(findings, key=lambda finding: finding.severity, default=None)
    return "" if gravest is None else REASONS[Reason(gravest.reason)].sentence


def _by(actor: str) -> str:
    return f" by {actor}" if actor else ""
