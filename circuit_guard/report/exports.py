"""A report for machines: one JSON object, and the compensation ledger as CSV.

Amounts and prices are decimals in quote currency, sizes are in base units, times are RFC 3339. The ledger has a line
for each closure that was wrongful, is undecided, or took too much, with every digit. An empty field is not known, or
does not apply.
"""

from __future__ import annotations

import csv
import io
from decimal import Decimal

from circuit_guard.core.types import Finding
from circuit_guard.report.closures import CENT, Assessment, Closure
from circuit_guard.report.document import exact
from circuit_guard.report.evidence import Corruption
from circuit_guard.report.incident import Figures, Incident, RollbackPoint, figures
from circuit_guard.report.sections import summary, tainted_accounts

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


JsonObject = dict[str, object]


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
