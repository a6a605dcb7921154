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

from circuit_guard.core.types import Finding
from circuit_guard.report.closures import CENT, Assessment, Closure
from circuit_guard.report.document import exact
from circuit_guard.report.evidence import Corruption
from circuit_guard.report.incident import Figures, Incident, RollbackPoint, figures
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
    "asked_at": lambda closure: exact(closure.ask.check.at_ns),
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
            writer.writerow([format(value, "f") if isinstance(value, Decimal) else value for value in values])
    return text.getvalue()


def as_json(incident: Incident) -> JsonObject:
    """Return the JSON object of a report."""
    evidence = incident.evidence
    return {
        "from": exact(evidence.window.from_ns),
        "to": exact(evidence.window.to_ns),
        "summary": list(summary(incident)),
        "versions": evidence.versions,
        "policies": [
            {"revision": policy.revision, "shadow": policy.shadow, "since": exact(policy.since_ns)}
            for policy in evidence.policies
        ],
        "journal": {"records": evidence.records, "last_record": evidence.last_sequence, "heads": dict(evidence.heads)},
        "closures": {assessment.value: _assessed(incident, assessment) for assessment in Assessment},
        "first_corrupt": [_corrupt(corruption) for corruption in incident.first.values()],
        "rollback": None if incident.rollback is None else _rollback(incident.rollback),
        "orders": {
            "cancel": [seen.order.order_id for seen in incident.orders if not seen.order.take_profit_or_stop_loss],
            "keep": [seen.order.order_id for seen in incident.orders if seen.order.take_profit_or_stop_loss],
        },
        "reconcile": _reconcile(incident),
    }


def _assessed(incident: Incident, assessment: Assessment) -> JsonObject:
    found = {allowed: figures(incident.of(assessment, allowed=allowed)) for allowed in (True, False)}
    return {"allowed": _figures(found[True]), "denied": _figures(found[False])}


def _figures(found: Figures) -> JsonObject:
    return {
        "closures": found.closures,
        "accounts": found.accounts,
        "loss": str(found.loss.quantize(CENT)),
        "beyond_equity": str(found.beyond.quantize(CENT)),
    }


def _corrupt(corruption: Corruption) -> JsonObject:
    finding: Finding = corruption.finding
    return {
        "market": corruption.market,
        "at": exact(corruption.first.at_ns),
        "record": corruption.sequence,
        "reason": str(finding.reason),
        "subject": finding.subject,
        "observed": finding.observed,
        "expected": finding.limit,
        "until": None if corruption.ended_ns is None else exact(corruption.ended_ns),
        "observations": corruption.observations,
    }


def _rollback(point: RollbackPoint) -> JsonObject:
    checkpoint = point.checkpoint
    return {
        "checkpoint": checkpoint.sequence,
        "at": exact(checkpoint.at_ns),
        "name": checkpoint.name,
        "digest": checkpoint.digest,
        "kept": point.kept,
    }


def _reconcile(incident: Incident) -> JsonObject:
    evidence = incident.evidence
    return {
        "tainted_accounts": tainted_accounts(incident),
        "decisions_dropped": evidence.dropped,
        "decisions_not_recorded": sum(not ask.recorded for ask in evidence.asks),
        "decisions_different": evidence.different,
        "gaps": [
            {
                "market": gap.market,
                "from": exact(gap.from_ns),
                "to": None if gap.until_ns is None else exact(gap.until_ns),
            }
            for gap in evidence.gaps
        ],
        "held": [{"scope": held.scope, "why": held.why} for held in evidence.held],
    }
