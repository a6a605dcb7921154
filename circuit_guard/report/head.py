"""The head of the document: what happened in three sentences, the figures, and what ties it to its evidence."""

from __future__ import annotations

from circuit_guard.report.closures import Assessment
from circuit_guard.report.document import Code, Paragraph, Section, Table, counted, listed, money
from circuit_guard.report.evidence import Corruption, Evidence
from circuit_guard.report.incident import Figures, Incident, figures
from circuit_guard.report.times import clock, day, exact

VALUES = {
    "mark_price": "mark price",
    "index_price": "index price",
    "funding_index": "funding index",
    "funding_rate": "funding rate",
    "funding_premium": "funding premium",
}
"""The published values by the names that people have for them; everything else is the order of the feed."""


def summary(incident: Incident) -> tuple[str, ...]:
    """Return what happened in three sentences that need no other page."""
    return _published(incident), _asked(incident), _outcome(incident)


def value_name(corruption: Corruption) -> str:
    """Return what of a market was wrong."""
    return VALUES.get(corruption.finding.subject, "order of the feed")


def figures_section(incident: Incident) -> Section:
    """Return the figures at a glance."""
    table = Table(("", "closures", "accounts", "amount"), _figures(incident), numbers=frozenset({1, 2, 3}))
    return Section("figures", "The figures", (table,))


def evidence_section(incident: Incident) -> Section:
    """Return what ties the document to the journal that it was made from."""
    evidence = incident.evidence
    told = (
        "Everything here was read from the guard's journal, and its inputs were run again. A journal that still has"
        " these heads is the one that was read, which this proves:"
    )
    command = Code("circuit-guard journal verify STATE_DIRECTORY --head recorder=HASH --head audit=HASH")
    rows = [
        ("window", f"{exact(evidence.window.from_ns)} to {exact(evidence.window.to_ns)}"),
        ("circuit_guard", ", ".join(evidence.versions) or "not known"),
        *(("policy", _policy(evidence, number)) for number in range(len(evidence.policies))),
        ("markets", counted(len(evidence.markets), "market")),
        ("records in the window", f"{evidence.records:,}"),
        ("read up to record", str(evidence.last_sequence)),
        *((f"head of {chain}", head) for chain, head in evidence.heads.items()),
    ]
    return Section("evidence", "What this rests on", (Paragraph(told), command, Table(("", ""), tuple(rows))))


def _published(incident: Incident) -> str:
    window, corruptions = incident.evidence.window, list(incident.first.values())
    if not corruptions:
        span = f"from {clock(window.from_ns)} to {clock(window.to_ns)} (UTC)"
        return f"No value that the exchange published {span} was found to be wrong."
    by_value: dict[str, list[str]] = {}
    for corruption in corruptions:
        by_value.setdefault(value_name(corruption), []).append(corruption.market)
    ends = [corruption.ended_ns for corruption in incident.evidence.corruptions]
    last_ns = None if None in ends else max(end for end in ends if end is not None)
    until = "to the end of this report" if last_ns is None else f"to {clock(last_ns)[11:19]}"
    first_ns = incident.evidence.corruptions[0].first.at_ns
    values = listed([f"the {name} of {listed(markets)}" for name, markets in by_value.items()])
    return (
        f"On {day(first_ns)}, from {clock(first_ns)[11:19]} {until} (UTC), the exchange published values that cannot be"
        f" true: {values}."
    )


def _asked(incident: Incident) -> str:
    wrongful = figures([*incident.wrongful_allowed, *incident.wrongful_denied])
    everybody = figures(incident.closures)
    if not wrongful.closures:
        asked = counted(everybody.accounts, "account")
        return f"Forced closures of {asked} were asked about, and none of them was found to be wrongful."
    asked = counted(wrongful.accounts, "account")
    return (
        "An exchange closes an account by force once its losses eat up what it has put in, and works that out from such"
        f" values, so its engine asked to close {asked} that were healthy in truth."
    )


def _outcome(incident: Incident) -> str:
    allowed, denied = figures(incident.wrongful_allowed), figures(incident.wrongful_denied)
    cost = f"estimated to have cost their accounts {money(allowed.loss)} in quote currency"
    spared = f"an estimated {money(denied.loss)} in quote currency"
    if allowed.closures and denied.closures:
        went = counted(allowed.closures, "closure")
        return (
            f"The guard let {went} through, {cost}; it denied {denied.closures}, which spared their accounts {spared}."
        )
    if allowed.closures:
        why = (
            "The guard was in shadow, where it judges and stops nothing"
            if incident.evidence.shadow
            else "None was denied"
        )
        return f"{why}: {counted(allowed.closures, 'closure')} went ahead, {cost}."
    if denied.closures:
        return (
            f"The guard denied every one of them, which spared their accounts {spared}; nothing wrongful was allowed."
        )
    held = len(incident.of(Assessment.JUSTIFIED, allowed=False))
    return (
        f"Nothing wrongful was allowed, and {counted(held, 'justified closure')} stayed denied."
        if held
        else ("Nothing wrongful was allowed, and no justified closure stayed denied.")
    )


def _figures(incident: Incident) -> tuple[tuple[str, ...], ...]:
    rows = []
    for assessment in Assessment:
        for allowed in (True, False):
            found = figures(incident.of(assessment, allowed=allowed))
            amount = ""
            if assessment is Assessment.WRONGFUL:
                amount = f"{money(found.loss)} {'lost' if allowed else 'spared'}"
            rows.append(_row(f"{assessment}, {'allowed' if allowed else 'denied'}", found, amount))
    rows.append(_row("all that were asked about", figures(incident.closures), ""))
    return tuple(rows)


def _row(name: str, found: Figures, amount: str) -> tuple[str, ...]:
    return name, f"{found.closures:,}", f"{found.accounts:,}", amount


def _policy(evidence: Evidence, number: int) -> str:
    policy = evidence.policies[number]
    since = f", from {clock(policy.since_ns)}" if number else ""
    return f"{policy.revision}{since}{', in shadow: nothing but halts was enforced' if policy.shadow else ', enforced'}"
