"""The whole document, in the order in which it is read."""

from __future__ import annotations

from circuit_guard.report.accounts import accounts_section, closures_section, method_section
from circuit_guard.report.after import orders_section, reconcile_section, rollback_section
from circuit_guard.report.document import Document
from circuit_guard.report.events import corruption_section, timeline_section
from circuit_guard.report.head import evidence_section, figures_section, summary
from circuit_guard.report.incident import Incident
from circuit_guard.report.times import clock


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
