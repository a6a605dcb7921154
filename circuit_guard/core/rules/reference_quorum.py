"""reference_quorum: a median of fewer than three is no median; two sources that agree can be wrong together."""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.types import Finding, Severity
from circuit_guard.core.view import MarketView


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny without a quorum in restricted phases, warn of it otherwise; without any reference always deny."""
    if view.closure is None or view.references.quorum:
        return
    observed = f"{view.references.count} fresh"
    limit = f"at least {policy.references.quorum} fresh"
    if view.references.count == 0:
        yield Finding(Reason.REFERENCE_MISSING, Severity.DENY, "references", observed, limit)
    else:
        severity = Severity.DENY if view.restricted else Severity.WARN
        yield Finding(Reason.REFERENCE_QUORUM, severity, "references", observed, limit)
