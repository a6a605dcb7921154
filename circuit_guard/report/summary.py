"""What a report says, for machines. Amounts are decimals as strings, in quote currency; times are RFC 3339."""

from __future__ import annotations

from circuit_guard.core.types import Finding
from circuit_guard.report.after import tainted_accounts, to_keep
from circuit_guard.report.closures import CENT, Assessment
from circuit_guard.report.evidence import Corruption
from circuit_guard.report.head import summary
from circuit_guard.report.incident import Figures, Incident, RollbackPoint, figures
from circuit_guard.report.times import exact

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
            "cancel": [seen.order.order_id for seen in incident.orders if not to_keep(seen)],
            "keep": [seen.order.order_id for seen in incident.orders if to_keep(seen)],
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
