"""The closures, the accounts that they were of, and how the amounts are estimated."""

from __future__ import annotations

from circuit_guard.core.types import CheckKind, ExplainedLoss, show
from circuit_guard.report.closures import Closure
from circuit_guard.report.document import Code, Element, Paragraph, Section, Table, counted, money
from circuit_guard.report.incident import Incident, figures
from circuit_guard.report.times import clock

FORMULA = """\
taken = s * (true mark price - price used)
      + s * ((funding index used - true funding index) + (true cached index - cached index))
loss  = taken, but never more than the account truly held
s: what was closed, in base units, negative for a short position"""


def closures_section(incident: Incident) -> Section:
    """Return every closure asked about."""
    told = (
        "Every forced closure that the engine asked about, once where it was asked again. The explained loss says"
        " whether the account was under water at every value that can honestly be (EXPLAINED) or healthy at all of"
        " them (UNEXPLAINED), with the lowest and the highest margin surplus over those values. The assessment adds"
        " what was learned later. An allowed closure is taken to have been carried out."
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
        " price - s * (funding index - cached index) - s * entry price. So a closure at values that are not true"
        " takes the difference between what that is at true values and at the values used; the entry price drops"
        " out."
    )
    true = (
        "The true mark price is the one that was published, where no rule doubted it, else the median of the"
        " reference prices at that time. The true funding index is the published one, where no rule doubted it; else"
        " it is carried from the nearest trusted value, before or after, by the published premium: index + premium *"
        " time / period. The cached index of an account that was settled with a wrong value is replaced by the true"
        " index of that time."
    )
    left_out = (
        "Not in it: liquidation fees and penalties, slippage of the closing trade, and what the position would have"
        " made or lost since. What was charged beyond what an account held stands in a column of its own: whoever"
        " covers such debts, an insurance fund for instance, has it on its books."
    )
    return Section(
        "method", "How amounts are estimated", (Paragraph(worth), Code(FORMULA), *map(Paragraph, (true, left_out)))
    )


def surplus(loss: ExplainedLoss | None) -> str:
    """Return the bounds of the margin surplus."""
    if loss is None or loss.low is None or loss.high is None:
        return ""
    return f"{money(loss.low)} .. {money(loss.high)}"


def _closure(closure: Closure) -> tuple[str, ...]:
    check, decision = closure.ask.check, closure.ask.decision
    kind = "" if check.kind is CheckKind.LIQUIDATION else f" ({check.kind})"
    again = f", asked {closure.asked} times" if closure.asked > 1 else ""
    return (
        clock(check.at_ns),
        check.account_id,
        f"{check.market}{kind}",
        show(check.size),
        f"{decision.verdict}{again}",
        f"{closure.assessment}: {closure.why}",
        "no account given" if decision.explained is None else decision.explained.verdict.value,
        surplus(decision.explained),
        ", ".join(closure.reasons()),
    )


def _amounts(found: list[Closure], noun: str) -> Table:
    columns = ("account", "market", "price difference", "false funding", "taken", noun, "beyond what it held")
    rows = [_row(closure) for closure in sorted(found, key=lambda closure: closure.loss, reverse=True)]
    total = figures(found)
    name = counted(total.accounts, "account")
    rows.append(("total", name, "", "", money(total.loss + total.beyond), money(total.loss), money(total.beyond)))
    return Table(columns, tuple(rows), numbers=frozenset(range(2, 7)), total=True)


def _row(closure: Closure) -> tuple[str, ...]:
    check, valued = closure.ask.check, closure.amounts
    head = (check.account_id, check.market)
    if valued is None:
        return (*head, "not known", "not known", "not known", "not known", "not known")
    parts = (valued.price_difference, valued.false_funding, valued.taken, valued.loss, valued.beyond)
    return (*head, *map(money, parts))
