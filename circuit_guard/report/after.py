"""What is left to do: where a rollback would go back to, which orders go and stay, what people have to reconcile."""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.types import GLOBAL_SCOPE, show
from circuit_guard.report.closures import Assessment, Closure
from circuit_guard.report.document import Code, Element, Paragraph, Points, Section, Table, counted, listed, money
from circuit_guard.report.evidence import Gap, OrderSeen
from circuit_guard.report.incident import Incident, figures
from circuit_guard.report.times import clock, exact

NAMED_MAX = 20
"""So many accounts or markets are named in a line; the CSV file and the tables have all."""


def rollback_section(incident: Incident) -> Section:
    """Return the last checkpoint before the first corrupt value."""
    point, first = incident.rollback, next(iter(incident.evidence.corruptions), None)
    if first is None:
        told = "Nothing was found to be corrupt, so there is nothing to go back before."
        return Section("rollback", "Rollback point", (Paragraph(told),))
    if point is None:
        told = "No checkpoint is known to be from before the first corrupt value: choose an earlier --from."
        return Section("rollback", "Rollback point", (Paragraph(told),))
    checkpoint = point.checkpoint
    between = [c for c in incident.closures if c.allowed and checkpoint.at_ns < c.ask.check.at_ns < first.first.at_ns]
    told = "The last checkpoint before the first corrupt value. A rollback to it undoes everything that came after"
    undone = f", with {counted(len(between), 'closure')} that the guard allowed before the fault." if between else "."
    kept = "yes" if point.kept else "no: retention has dropped its state; its digest still proves a copy of it"
    rows = (
        ("checkpoint", str(checkpoint.sequence)),
        ("name", checkpoint.name or "made by the clock"),
        ("time", exact(checkpoint.at_ns)),
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
    """Return which orders are to go and which may stay, after a rollback to that point."""
    rule = (
        "After a rollback every order that rests is to be cancelled, but for take-profit and stop-loss orders, which"
        " belong to positions that are there again. CheckOrders answers rollback_cancel for the former once the"
        " rollback is announced. The guard knows only orders that it was asked about: the exchange's own book has them"
        " all."
    )
    command = Code('circuit-guard phase MAINTENANCE --all --rollback --reason "rolled back"')
    orders = incident.orders
    if not orders:
        none = Paragraph("It was asked about no order since then.")
        return Section("orders", "Orders to cancel and to keep", (Paragraph(rule), command, none))
    table = Table(
        ("to do", "order", "market", "side", "price", "created", "last asked about"), tuple(map(_order, orders))
    )
    return Section("orders", "Orders to cancel and to keep", (Paragraph(rule), command, table))


def reconcile_section(incident: Incident) -> Section:
    """Return what nobody but people can settle."""
    points = (*_of_accounts(incident), *_of_records(incident), *_of_markets(incident))
    elements: list[Element] = [Points(points)] if points else [Paragraph("Nothing.")]
    return Section("reconcile", "What remains to reconcile", tuple(elements))


def to_keep(seen: OrderSeen) -> bool:
    """Return whether an order may stay after a rollback: a take-profit or stop-loss."""
    return seen.order.take_profit_or_stop_loss


def tainted_accounts(incident: Incident) -> list[str]:
    """Return the accounts that were asked about and were settled with a wrong funding index."""
    return sorted({closure.ask.check.account_id for closure in incident.closures if closure.tainted})


def _order(seen: OrderSeen) -> tuple[str, ...]:
    order = seen.order
    return (
        "keep" if to_keep(seen) else "cancel",
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
    undecided = incident.of(Assessment.UNDECIDED, allowed=True)
    by_reason: dict[str, list[Closure]] = {}
    for closure in undecided:
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
        booked = "whoever covers such debts has it on its books"
        yield f"{money(beyond)} was charged beyond what the accounts held: {booked}."


def _of_records(incident: Incident) -> Iterator[str]:
    evidence = incident.evidence
    if evidence.begins_ns > evidence.window.from_ns:
        yield f"The journal begins at {exact(evidence.begins_ns)}, after the beginning of the window."
    if evidence.dropped:
        was = _verb(evidence.dropped, "answer", "was", "were")
        yield f"{was} not recorded, as the disk was too slow: the journal says so."
    unrecorded = sum(not ask.recorded for ask in evidence.asks)
    if unrecorded:
        yield f"{_verb(unrecorded, 'answer', 'has', 'have')} no record: told here is what the inputs lead to."
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
