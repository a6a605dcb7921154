"""The sections of a report, and the whole document in the order in which it is read."""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.formatting import counted, format_time
from circuit_guard.core.types import GLOBAL_SCOPE, CheckKind, show
from circuit_guard.report.closures import Assessment, Closure
from circuit_guard.report.document import (
    Code,
    Document,
    Element,
    Paragraph,
    Points,
    Section,
    Table,
    clock,
    day,
    listed,
    money,
)
from circuit_guard.report.evidence import Gap, OrderSeen, value_name
from circuit_guard.report.incident import Incident, figures
from circuit_guard.report.timeline import corruption_section, timeline_section


def summary(incident: Incident) -> tuple[str, ...]:
    """Return what happened in three sentences that need no other page."""
    return _published(incident), _asked(incident), _outcome(incident)


def figures_section(incident: Incident) -> Section:
    """Return the figures at a glance."""
    rows = []
    for assessment in Assessment:
        for allowed in (True, False):
            found = figures(incident.of(assessment, allowed=allowed))
            wrongful = assessment is Assessment.WRONGFUL
            amount = f"{money(found.loss)} {'lost' if allowed else 'spared'}" if wrongful else ""
            name = f"{assessment}, {'allowed' if allowed else 'denied'}"
            rows.append((name, f"{found.closures:,}", f"{found.accounts:,}", amount))
    everything = figures(incident.closures)
    rows.append(("all that were asked about", f"{everything.closures:,}", f"{everything.accounts:,}", ""))
    table = Table(("", "closures", "accounts", "amount"), tuple(rows), numbers=frozenset({1, 2, 3}))
    return Section("figures", "The figures", (table,))


def evidence_section(incident: Incident) -> Section:
    """Return what ties the document to the journal that it was made from."""
    evidence = incident.evidence
    told = (
        "Everything here was read from the guard's journal, and its inputs were run again. A journal that still has"
        " these heads is the one that was read, which this proves:"
    )
    command = Code("circuit-guard journal verify STATE_DIRECTORY --head recorder=HASH --head audit=HASH")
    policies = []
    for number, policy in enumerate(evidence.policies):
        since = f", from {clock(policy.since_ns)}" if number else ""
        enforced = "in shadow: nothing but halts was enforced" if policy.shadow else "enforced"
        policies.append(("policy", f"{policy.revision}{since}, {enforced}"))
    rows = [
        ("window", f"{format_time(evidence.window.from_ns)} to {format_time(evidence.window.to_ns)}"),
        ("circuit_guard", ", ".join(evidence.versions) or "not known"),
        *policies,
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
    went = counted(allowed.closures, "closure")
    cost = f"estimated to have cost their accounts {money(allowed.loss)} in quote currency"
    spared = f"which spared their accounts an estimated {money(denied.loss)} in quote currency"
    if allowed.closures and denied.closures:
        return f"The guard let {went} through, {cost}; it denied {denied.closures}, {spared}."
    if allowed.closures:
        shadow = incident.evidence.shadow
        why = "The guard was in shadow, where it judges and stops nothing" if shadow else "None was denied"
        return f"{why}: {went} went ahead, {cost}."
    if denied.closures:
        return f"The guard denied every one of them, {spared}; nothing wrongful was allowed."
    held = len(incident.of(Assessment.JUSTIFIED, allowed=False))
    stayed = f"{counted(held, 'justified closure')} stayed" if held else "no justified closure stayed"
    return f"Nothing wrongful was allowed, and {stayed} denied."


FORMULA = """\
taken = s * (true mark price - price used)
      + s * ((funding index used - true funding index) + (true cached index - cached index))
loss  = taken, but never more than the account truly held
s: what was closed, in base units, negative for a short position"""


def closures_section(incident: Incident) -> Section:
    """Return every closure asked about."""
    told = (
        "Every forced closure that the engine asked about. A closure asked about again is listed once. The explained"
        " loss says whether the account was under water at every value that can honestly be (EXPLAINED) or healthy at"
        " all of them (UNEXPLAINED). The surplus is the lowest and the highest margin surplus over those values. The"
        " assessment adds what was learned later. An allowed closure is assumed to have been carried out."
    )
    columns = (
        "first asked",
        "account",
        "market",
        "size",
        "answer",
        "assessment",
        "explained loss",
        "surplus",
        "reasons",
    )
    rows = tuple(_closure(closure) for closure in incident.closures)
    return Section("closures", "Closures", (Paragraph(told), Table(columns, rows, numbers=frozenset({3, 7}))))


def accounts_section(incident: Incident) -> Section:
    """Return the accounts that were closed wrongfully, or would have been, with what each lost or was spared."""
    elements: list[Element] = []
    for found, verb, noun in (
        (incident.wrongful_allowed, "Closed wrongfully: the estimated loss of each account.", "loss"),
        (incident.wrongful_denied, "Closures that were denied: what each account was spared.", "spared"),
    ):
        if found:
            elements += [Paragraph(verb), _amounts(found, noun)]
    if not elements:
        return Section("accounts", "Accounts affected", (Paragraph("No closure was found to be wrongful."),))
    elements.append(Paragraph("The CSV file beside this document is the ledger: the same amounts, with every digit."))
    return Section("accounts", "Accounts affected", tuple(elements))


def method_section() -> Section:
    """Return how amounts are estimated, and what is not in them."""
    worth = (
        "What a position adds to its account follows from the margin surplus (docs/design.md, section 3): s * mark"
        " price - s * (funding index - cached index) - s * entry price. A closure at wrong values takes the"
        " difference between this amount at true values and at the values used. The entry price cancels out."
    )
    true = (
        "If no rule doubted the published mark price, it is the true one. Otherwise the true mark price is the median"
        " of the reference prices at that time. If no rule doubted the published funding index, it is the true one."
        " Otherwise it is carried from the nearest trusted value, before or after, by the published premium: index +"
        " premium * time / period. If an account was settled with a wrong index, its cached index is replaced by the"
        " true index of that time."
    )
    left_out = (
        "The amounts leave out liquidation fees and penalties, slippage of the closing trade, and what the position"
        " would have gained or lost since. A separate column shows what was charged beyond what an account held. The"
        " party that covers such debts, such as an insurance fund, has that amount on its books."
    )
    return Section(
        "method", "How amounts are estimated", (Paragraph(worth), Code(FORMULA), *map(Paragraph, (true, left_out)))
    )


def _closure(closure: Closure) -> tuple[str, ...]:
    check, decision = closure.ask.check, closure.ask.decision
    kind = "" if check.kind is CheckKind.LIQUIDATION else f" ({check.kind})"
    again = f", asked {closure.asked} times" if closure.asked > 1 else ""
    loss = decision.explained
    return (
        clock(check.at_ns),
        check.account_id,
        f"{check.market}{kind}",
        show(check.size),
        f"{decision.verdict}{again}",
        f"{closure.assessment}: {closure.why}",
        "no account given" if loss is None else loss.verdict.value,
        "" if loss is None or loss.low is None or loss.high is None else f"{money(loss.low)} .. {money(loss.high)}",
        ", ".join(closure.reasons()),
    )


def _amounts(found: list[Closure], noun: str) -> Table:
    columns = ("account", "market", "price difference", "false funding", "taken", noun, "beyond what it held")
    rows = []
    for closure in sorted(found, key=lambda closure: closure.loss, reverse=True):
        amounts: tuple[str, ...] = ("not known",) * 5
        if (valued := closure.amounts) is not None:
            parts = (valued.price_difference, valued.false_funding, valued.taken, valued.loss, valued.beyond)
            amounts = tuple(map(money, parts))
        rows.append((closure.ask.check.account_id, closure.ask.check.market, *amounts))
    total = figures(found)
    name = counted(total.accounts, "account")
    rows.append(("total", name, "", "", money(total.loss + total.beyond), money(total.loss), money(total.beyond)))
    return Table(columns, tuple(rows), numbers=frozenset(range(2, 7)), total=True)


NAMED_MAX = 20
"""The most accounts or markets that a line names; the CSV file and the tables have all."""


def rollback_section(incident: Incident) -> Section:
    """Return the last checkpoint before the first corrupt value."""
    point, first = incident.rollback, next(iter(incident.evidence.corruptions), None)
    if first is None or point is None:
        told = (
            "Nothing was found to be corrupt, so there is nothing to go back before."
            if first is None
            else "No checkpoint is known to be from before the first corrupt value: choose an earlier --from."
        )
        return Section("rollback", "Rollback point", (Paragraph(told),))
    checkpoint = point.checkpoint
    between = [c for c in incident.closures if c.allowed and checkpoint.at_ns < c.ask.check.at_ns < first.first.at_ns]
    told = "The last checkpoint before the first corrupt value. A rollback to it undoes everything that came after"
    undone = f", with {counted(len(between), 'closure')} that the guard allowed before the fault." if between else "."
    kept = "yes" if point.kept else "no: retention has dropped its state; its digest still proves a copy of it"
    rows = (
        ("checkpoint", str(checkpoint.sequence)),
        ("name", checkpoint.name or "made by the clock"),
        ("time", format_time(checkpoint.at_ns)),
        ("SHA-256", checkpoint.digest),
        ("before the first corrupt value", f"{(first.first.at_ns - checkpoint.at_ns) / 1e9:.1f} s"),
        ("kept in the journal", kept),
    )
    number = checkpoint.sequence
    commands = (
        f"circuit-guard checkpoint show STATE_DIRECTORY {number}\n"
        f'circuit-guard rebaseline --checkpoint {number} --all --reason "rolled back to checkpoint {number}"'
    )
    return Section("rollback", "Rollback point", (Paragraph(told + undone), Table(("", ""), rows), Code(commands)))


def orders_section(incident: Incident) -> Section:
    """Return which orders to cancel and which may stay after a rollback to that point."""
    rule = (
        "After a rollback, cancel every resting order except take-profit and stop-loss orders: these belong to"
        " positions that exist again. Once the rollback is announced, CheckOrders answers rollback_cancel for every"
        " order to cancel. The guard knows only the orders it was asked about. The exchange's own book has all of"
        " them."
    )
    command = Code('circuit-guard phase MAINTENANCE --all --rollback --reason "rolled back"')
    columns = ("to do", "order", "market", "side", "price", "created", "last asked about")
    found: Element = Paragraph("The guard has not been asked about any order since then.")
    if incident.orders:
        found = Table(columns, tuple(map(_order, incident.orders)))
    return Section("orders", "Orders to cancel and to keep", (Paragraph(rule), command, found))


def reconcile_section(incident: Incident) -> Section:
    """Return what only people can settle."""
    points = (*_of_accounts(incident), *_of_records(incident), *_of_markets(incident))
    elements: list[Element] = [Points(points)] if points else [Paragraph("Nothing.")]
    return Section("reconcile", "What remains to reconcile", tuple(elements))


def tainted_accounts(incident: Incident) -> list[str]:
    """Return the accounts that were asked about and were settled with a wrong funding index."""
    return sorted({closure.ask.check.account_id for closure in incident.closures if closure.tainted})


def _order(seen: OrderSeen) -> tuple[str, ...]:
    order = seen.order
    return (
        "keep" if order.take_profit_or_stop_loss else "cancel",
        order.order_id,
        order.market,
        order.side.value,
        "market" if order.price is None else show(order.price),
        "not given" if order.created_at_ns is None else clock(order.created_at_ns),
        clock(seen.at_ns),
    )


def _of_accounts(incident: Incident) -> Iterator[str]:
    tainted = tainted_accounts(incident)
    if tainted:
        count = counted(len(tainted), "account")
        yield f"{count} settled with a wrong funding index, to be repaired: {_named(tainted)}."
    for known in incident.evidence.tainted:
        yield f"{known.market}: any account settled with a funding index within {known.values} is to be repaired."
    by_reason: dict[str, list[Closure]] = {}
    for closure in incident.of(Assessment.UNDECIDED, allowed=True):
        by_reason.setdefault(closure.why, []).append(closure)
    for why, found in by_reason.items():
        accounts = list(dict.fromkeys(closure.ask.check.account_id for closure in found))
        yield f"{counted(len(found), 'closure')} allowed and undecided, {why}: {_named(accounts)}."
    unvalued = [c for c in (*incident.wrongful_allowed, *incident.wrongful_denied) if c.amounts is None]
    if unvalued:
        accounts = [closure.ask.check.account_id for closure in unvalued]
        count = counted(len(unvalued), "wrongful closure")
        yield f"{count} without an amount, as no true value is known: {_named(accounts)}."
    mispriced = [closure for closure in incident.closures if closure.allowed and closure.mispriced]
    if mispriced:
        count, accounts = counted(len(mispriced), "closure"), [closure.ask.check.account_id for closure in mispriced]
        took = f"justified, but carried out at values that were not true, which took {money(figures(mispriced).loss)}"
        yield f"{count} {took}: {_named(accounts)}."
    beyond = figures(incident.wrongful_allowed).beyond
    if beyond:
        booked = "the party that covers such debts has it on its books"
        yield f"{money(beyond)} was charged beyond what the accounts held: {booked}."


def _of_records(incident: Incident) -> Iterator[str]:
    evidence = incident.evidence
    if evidence.begins_ns > evidence.window.from_ns:
        yield f"The journal begins at {format_time(evidence.begins_ns)}, after the beginning of the window."
    if evidence.dropped:
        was = _verb(evidence.dropped, "answer", "was", "were")
        yield f"{was} not recorded, as the disk was too slow: the journal says so."
    unrecorded = sum(not ask.recorded for ask in evidence.asks)
    if unrecorded:
        yield f"{_verb(unrecorded, 'answer', 'has', 'have')} no record: this report shows what the inputs lead to."
    if evidence.different:
        does = _verb(evidence.different, "recorded answer", "does", "do")
        other = "this version of circuit_guard decides otherwise, or the records were changed"
        yield f"{does} not follow from the recorded inputs: {other}."
    if evidence.doubted:
        was = _verb(evidence.doubted, "observation", "was", "were")
        yield f"{was} doubted for a moment, as in any crash, and not proved to be wrong."


def _of_markets(incident: Incident) -> Iterator[str]:
    evidence = incident.evidence
    for from_ns, until_ns, markets in _joined(evidence.gaps):
        until = "to the end" if until_ns is None else f"to {clock(until_ns)}"
        yield f"No observation from {clock(from_ns)} {until}: {_named(markets)}."
    for held in evidence.held:
        yield f"{'Everything' if held.scope == GLOBAL_SCOPE else held.scope}, at the end of the window: {held.why}."


def _verb(count: int, thing: str, one: str, many: str) -> str:
    return f"{counted(count, thing)} {one if count == 1 else many}"


def _joined(gaps: list[Gap]) -> list[tuple[int, int | None, list[str]]]:
    """Return the gaps with one line for those of the same seconds."""
    lines: dict[tuple[int, int | None], tuple[int, int | None, list[str]]] = {}
    for gap in gaps:
        seconds = (gap.from_ns // 10**9, None if gap.until_ns is None else gap.until_ns // 10**9)
        lines.setdefault(seconds, (gap.from_ns, gap.until_ns, []))[2].append(gap.market)
    return list(lines.values())


def _named(names: list[str]) -> str:
    more = len(names) - NAMED_MAX
    return listed(names) if more <= 0 else f"{', '.join(names[:NAMED_MAX])} and {more} more"


def compose(incident: Incident) -> Document:
    """Return the report of an incident."""
    window = incident.evidence.window
    return Document(
        title=f"Incident report: {clock(window.from_ns)[:19]} to {clock(window.to_ns)[:19]} UTC",
        summary=summary(incident),
        sections=(
            figures_section(incident),
            timeline_section(incident),
            corruption_section(incident),
            accounts_section(incident),
            reconcile_section(incident),
            rollback_section(incident),
            orders_section(incident),
            closures_section(incident),
            method_section(),
            evidence_section(incident),
        ),
    )
