"""A report for machines: one JSON object, and the compensation ledger as CSV.

Amounts and prices are decimals in quote currency, sizes are in base units, times are RFC 3339. The ledger has a line
for each closure that was wrongful, is undecided, or took too much, with every digit. An empty field is not known, or
does not apply.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from decimal import Decimal

from circuit_guard.core.formatting import cell, format_time
from circuit_guard.report.closures import CENT, Assessment, Closure
from circuit_guard.report.evidence import Corruption
from circuit_guard.report.incident import Incident, figures
from circuit_guard.report.sections import summary, tainted_accounts

JsonObject = dict[str, object]

COLUMNS: dict[str, Callable[[Closure], object]] = {
    "account_id": lambda closure: closure.ask.check.account_id,
    "market": lambda closure: closure.ask.check.market,
    "kind": lambda closure: closure.ask.check.kind,
    "answer": lambda closure: closure.ask.decision.verdict,
    "assessment": lambda closure: closure.assessment,
    "loss": lambda closure: closure.amounts and closure.loss,
    "taken": lambda closure: closure.amounts and closure.amounts.taken,
    "price_difference": lambda closure: closure.amounts and closure.amounts.price_difference,
    "false_funding": lambda closure: closure.amounts and closure.amounts.false_funding,
    "beyond_equity": lambda closure: closure.amounts and closure.amounts.beyond,
    "equity": lambda closure: closure.amounts and closure.amounts.equity,
    "size": lambda closure: closure.ask.check.size,
    "price_used": lambda closure: closure.amounts and closure.amounts.price_used,
    "true_price": lambda closure: closure.amounts and closure.amounts.true_price,
    "true_price_source": lambda closure: closure.amounts and closure.amounts.price_source,
    "funding_index_used": lambda closure: closure.amounts and closure.amounts.index_used,
    "true_funding_index": lambda closure: closure.amounts and closure.amounts.true_index,
    "cached_index": lambda closure: closure.amounts and closure.amounts.cached,
    "true_cached_index": lambda closure: closure.amounts and closure.amounts.true_cached,
    "explained_loss": lambda closure: closure.ask.decision.explained and closure.ask.decision.explained.verdict,
    "surplus_low": lambda closure: closure.ask.decision.explained and closure.ask.decision.explained.low,
    "surplus_high": lambda closure: closure.ask.decision.explained and closure.ask.decision.explained.high,
    "asked_at": lambda closure: format_time(closure.ask.check.at_ns),
    "times_asked": lambda closure: closure.asked,
    "request_id": lambda closure: closure.ask.check.request_id,
    "decision_id": lambda closure: closure.ask.decision.decision_id,
    "reasons": lambda closure: " ".join(closure.reasons()),
    "ground": lambda closure: closure.why,
}
"""The columns of the ledger in their order, each with its value; None is an empty field."""


def ledger(incident: Incident) -> str:
    """Return the ledger, in the order of time."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for closure in incident.closures:
        if closure.assessment is not Assessment.JUSTIFIED or closure.mispriced:
            values = [value_of(closure) for value_of in COLUMNS.values()]
            writer.writerow(map(_written, values))
    return text.getvalue()


def _written(value: object) -> object:
    """Return a value as the ledger has it: every digit of a number, and no text that a spreadsheet would run."""
    if isinstance(value, Decimal):
        return format(value, "f")
    return cell(value) if isinstance(value, str) else value


def as_json(incident: Incident) -> JsonObject:
    """Return the JSON object of a report."""
    evidence, point = incident.evidence, incident.rollback
    return {
        "from": format_time(evidence.window.from_ns),
        "to": format_time(evidence.window.to_ns),
        "summary": list(summary(incident)),
        "versions": evidence.versions,
        "policies": [
            {"revision": policy.revision, "shadow": policy.shadow, "since": format_time(policy.since_ns)}
            for policy in evidence.policies
        ],
        "journal": {"records": evidence.records, "last_record": evidence.last_sequence, "heads": dict(evidence.heads)},
        "closures": {
            assessment.value: {
                "allowed": _figures(incident.of(assessment, allowed=True)),
                "denied": _figures(incident.of(assessment, allowed=False)),
            }
            for assessment in Assessment
        },
        "first_corrupt": [_corrupt(corruption) for corruption in incident.first.values()],
        "rollback": point
        and {
            "checkpoint": point.checkpoint.sequence,
            "at": format_time(point.checkpoint.at_ns),
            "name": point.checkpoint.name,
            "digest": point.checkpoint.digest,
            "kept": point.kept,
        },
        "orders": {
            "cancel": [seen.order.order_id for seen in incident.orders if not seen.order.take_profit_or_stop_loss],
            "keep": [seen.order.order_id for seen in incident.orders if seen.order.take_profit_or_stop_loss],
        },
        "reconcile": {
            "tainted_accounts": tainted_accounts(incident),
            "decisions_dropped": evidence.dropped,
            "decisions_not_recorded": sum(not ask.recorded for ask in evidence.asks),
            "decisions_different": evidence.different,
            "gaps": [
                {"market": gap.market, "from": format_time(gap.from_ns), "to": _time(gap.until_ns)}
                for gap in evidence.gaps
            ],
            "held": [{"scope": held.scope, "why": held.why} for held in evidence.held],
        },
    }


def _figures(closures: list[Closure]) -> JsonObject:
    found = figures(closures)
    return {
        "closures": found.closures,
        "accounts": found.accounts,
        "loss": str(found.loss.quantize(CENT)),
        "beyond_equity": str(found.beyond.quantize(CENT)),
    }


def _corrupt(corruption: Corruption) -> JsonObject:
    finding = corruption.finding
    return {
        "market": corruption.market,
        "at": format_time(corruption.first.at_ns),
        "record": corruption.sequence,
        "reason": str(finding.reason),
        "subject": finding.subject,
        "observed": finding.observed,
        "expected": finding.limit,
        "until": _time(corruption.ended_ns),
        "observations": corruption.observations,
    }


def _time(at_ns: int | None) -> str | None:
    return None if at_ns is None else format_time(at_ns)
