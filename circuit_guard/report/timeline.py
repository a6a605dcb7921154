"""The records of a journal as lines of a timeline, in words that a reader needs no other page for."""

from __future__ import annotations

from circuit_guard.core import facts
from circuit_guard.core.reasons import info_of
from circuit_guard.core.sentences import findings_of, headline, scope_of, sentence
from circuit_guard.core.types import GLOBAL_SCOPE, SECOND_NS, BreakerState
from circuit_guard.journal.record import CheckpointNote, DecisionsDropped, Start
from circuit_guard.report.evidence import Happening

SAME_WITHIN_NS = 2 * SECOND_NS
"""The same happening in several markets within this time is one line."""


def happening(at_ns: int, scope: str, value: object, *, shadow: bool) -> Happening | None:
    """Return what a record says as one line; None for what no reader of a report asks for.

    `shadow`: whether the guard was in shadow then, so that no breaker stopped anything.
    """
    match value:
        case facts.BreakerChanged():
            named = "" if value.scope == GLOBAL_SCOPE else value.scope
            kind = "stop" if value.after is BreakerState.OPEN else "open"
            return Happening(value.at_ns, named, _without_values(value, shadow=shadow), kind)
        case facts.HaltChanged():
            return Happening(at_ns, value.scope, sentence(value), "stop" if value.halted else "open")
        case facts.PhaseChanged():
            return Happening(at_ns, value.market, sentence(value))
        case facts.MarketReopened():
            return Happening(at_ns, value.market, sentence(value, shadow=shadow), "open")
        case (
            facts.MaintenanceBegan()
            | facts.StateValidated()
            | facts.MaintenanceEnded()
            | facts.Rebaselined()
            | facts.ActProposed()
            | facts.PolicyChanged()
            | facts.CommandRefused()
        ):
            return Happening(at_ns, scope_of(value), sentence(value), "act")
        case Start():
            return Happening(at_ns, "", f"circuit_guard {value.program_version} starts to write, on {value.host}")
        case CheckpointNote() if scope:
            return Happening(at_ns, "", f"checkpoint {scope} is kept")
        case DecisionsDropped():
            return Happening(at_ns, "", f"{value.count} answers were not recorded: the disk was too slow", "stop")
        case _:
            return None


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


def _without_values(changed: facts.BreakerChanged, *, shadow: bool) -> str:
    """Return the sentence with the meaning of the gravest finding only, so that markets alike share a line."""
    gravest = max(findings_of(changed), key=lambda finding: finding.severity, default=None)
    return headline(changed, shadow=shadow) + (f": {info_of(gravest).sentence}" if gravest else "")
