"""Every start says who may come in, at the level that it deserves."""

from __future__ import annotations

import structlog

from circuit_guard.config.settings import Settings, exposed
from circuit_guard.telemetry.admission import AdmissionMetrics

_log = structlog.stdlib.get_logger(__name__)


def announce(settings: Settings, address: str, metrics: AdmissionMetrics) -> None:
    """Log and show who may connect to the address that the guard listens on, and what they may do."""
    security, insecure = settings.security, exposed(settings)
    metrics.started(len(security.identities), [path.partition(".")[0] for path in insecure])
    if insecure:
        means = "whoever reaches this machine over the network reaches these listeners, and is not asked who they are"
        _log.critical("insecure_network", listeners=insecure, means=means, override="security.insecure_network")
    if security.identities:
        _log.info("access_by_identity", identities=sorted(security.identities), mutual_tls=security.mutual)
    else:
        means = f"everybody who can connect to {address} may do everything, and actors are taken on their word"
        _log.warning("access_open", means=means, lifted_by="security.identities in the settings")
