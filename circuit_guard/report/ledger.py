"""The compensation ledger as CSV: a line for each closure that was wrongful, is undecided, or took too much. Exact.

Amounts and prices are in quote currency, sizes in base units. An empty field is not known, or does not apply.
"""

from __future__ import annotations

import csv
import io
from decimal import Decimal

from circuit_guard.report.closures import Assessment, Closure
from circuit_guard.report.incident import Incident
from circuit_guard.report.times import exact

COLUMNS = (
    "account_id",
    "market",
    "kind",
    "answer",
    "assessment",
    "loss",
    "taken",
    "price_difference",
    "false_funding",
    "beyond_equity",
    "equity",
    "size",
    "price_used",
    "true_price",
    "true_price_source",
    "funding_index_used",
    "true_funding_index",
    "cached_index",
    "true_cached_index",
    "explained_loss",
    "surplus_low",
    "surplus_high",
    "asked_at",
    "times_asked",
    "request_id",
    "decision_id",
    "reasons",
    "ground",
)


def ledger(incident: Incident) -> str:
    """Return the ledger, in the order of time."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for closure in incident.closures:
        if closure.assessment is not Assessment.JUSTIFIED or closure.mispriced:
            writer.writerow(_row(closure))
    return text.getvalue()


def _row(closure: Closure) -> dict[str, str]:
    check, decision = closure.ask.check, closure.ask.decision
    row = {
        "account_id": check.account_id,
        "market": check.market,
        "kind": check.kind.value,
        "answer": decision.verdict.value,
        "assessment": closure.assessment.value,
        "size": _exact(check.size),
        "asked_at": exact(check.at_ns),
        "times_asked": str(closure.asked),
        "request_id": check.request_id,
        "decision_id": decision.decision_id,
        "reasons": " ".join(closure.reasons()),
        "ground": closure.why,
    }
    if decision.explained is not None:
        row["explained_loss"] = decision.explained.verdict.value
        row["surplus_low"], row["surplus_high"] = _exact(decision.explained.low), _exact(decision.explained.high)
    return row | _amounts(closure)


def _amounts(closure: Closure) -> dict[str, str]:
    valued = closure.amounts
    if valued is None:
        return {}
    return {
        "loss": _exact(closure.loss),
        "taken": _exact(valued.taken),
        "price_difference": _exact(valued.price_difference),
        "false_funding": _exact(valued.false_funding),
        "beyond_equity": _exact(valued.beyond),
        "equity": _exact(valued.equity),
        "price_used": _exact(valued.price_used),
        "true_price": _exact(valued.true_price),
        "true_price_source": valued.price_source.value,
        "funding_index_used": _exact(valued.index_used),
        "true_funding_index": _exact(valued.true_index),
        "cached_index": _exact(valued.cached),
        "true_cached_index": _exact(valued.true_cached),
    }


def _exact(value: Decimal | None) -> str:
    return "" if value is None else format(value, "f")
