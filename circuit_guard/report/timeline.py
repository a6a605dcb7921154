"""The timeline, and the first corrupt value of each market with its evidence."""

from __future__ import annotations

from circuit_guard.core.formatting import counted
from circuit_guard.core.reasons import info_of, rule_of, sentence
from circuit_guard.core.types import SECOND_NS, show
from circuit_guard.report.document import Element, Paragraph, Section, Table, clock
from circuit_guard.report.evidence import VALUES, Corruption, Happening, value_name
from circuit_guard.report.incident import Incident

SAME_WITHIN_NS = 2 * SECOND_NS
"""The same happening in several markets within this time is one line."""


def timeline_section(incident: Incident) -> Section:
    """Return everything that changed, in the order of time."""
    lines = _joined([*_corruptions(incident), *_gaps(incident), *incident.evidence.happenings, *_ends(incident)])
    rows = tuple((clock(line.at_ns), line.scope or "all", line.what) for line in lines)
    table = Table(("time (UTC)", "market", "what happened"), rows, marks=tuple(line.kind for line in lines))
    return Section("timeline", "Timeline", (table,))


def corruption_section(incident: Incident) -> Section:
    """Return the first corrupt value of each market: what it was, what was expected, what was trusted before."""
    if not incident.first:
        doubted = incident.evidence.doubted
        told = "None was found." + (f" Doubted for a moment: {counted(doubted, 'observation')}." if doubted else "")
        return Section("first-corrupt", "First corrupt values", (Paragraph(told),))
    told = (
        "The first value of each market that cannot be true, as the exchange published it, with the rule that found"
        " it and the last value that had passed every rule."
    )
    values = ("value", "observed", "expected", "rule", "last trusted before", "corrupt observations")
    rows = tuple(_evidence(corruption, incident) for corruption in incident.first.values())
    elements: list[Element] = [Paragraph(told), Table(("market", "time (UTC)", *values), rows)]
    early = [corruption.market for corruption in incident.first.values() if corruption.begun_before]
    if early:
        hint = "choose an earlier --from to see the first there was"
        elements.append(Paragraph(f"{', '.join(early)}: it had begun before the records that were read; {hint}."))
    return Section("first-corrupt", "First corrupt values", tuple(elements))


def _joined(happenings: list[Happening]) -> list[Happening]:
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


def _evidence(corruption: Corruption, incident: Incident) -> tuple[str, ...]:
    finding = corruption.finding
    every = [found for found in incident.evidence.corruptions if found.market == corruption.market]
    ended_ns = every[-1].ended_ns
    until = "still at the end" if ended_ns is None else f"until {clock(ended_ns)}"
    before = [f"{VALUES[known.name]} {show(known.value)} at {clock(known.seen_ns)}" for known in corruption.before]
    return (
        corruption.market,
        clock(corruption.first.at_ns),
        value_name(corruption),
        finding.observed,
        finding.limit,
        f"{rule_of(finding.reason)} ({finding.reason}): {info_of(finding).sentence}",
        "; ".join(before) or "nothing was trusted yet",
        f"{sum(found.observations for found in every)}, {until}",
    )


def _corruptions(incident: Incident) -> list[Happening]:
    told: list[Happening] = []
    for found in incident.evidence.corruptions:
        first = found is incident.first[found.market]
        what = f"{'first' if first else 'another'} corrupt value: {sentence(found.finding)}"
        told.append(Happening(found.first.at_ns, found.market, what, "corrupt"))
        if found.ended_ns is not None:
            told.append(Happening(found.ended_ns, found.market, "what is published is sound again", "open"))
    return told


def _gaps(incident: Incident) -> list[Happening]:
    told: list[Happening] = []
    for gap in incident.evidence.gaps:
        told.append(Happening(gap.from_ns, gap.market, "the last observation before a gap in the feed"))
        if gap.until_ns is not None:
            told.append(Happening(gap.until_ns, gap.market, "the first observation after a gap in the feed"))
    return [line for line in told if line.at_ns in incident.evidence.window]


def _ends(incident: Incident) -> list[Happening]:
    """Return the first and the last wrongful closure that was allowed, or where none was, that were denied."""
    found, verb = incident.wrongful_allowed, "allowed"
    if not found:
        found, verb = incident.wrongful_denied, "denied"
    if not found:
        return []
    return [
        Happening(
            closure.ask.decision.at_ns,
            closure.ask.check.market,
            f"the {which} wrongful closure is {verb}: account {closure.ask.check.account_id}",
            "stop" if verb == "allowed" else "",
        )
        for which, closure in zip(("first", "last"), [*found[:1], *found[1:][-1:]], strict=False)
    ]
