"""Who may come in, in metrics: who was refused, what was shed, and the certificate."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from math import inf

from circuit_guard.telemetry.families import Families

LISTENERS = ("grpc", "http")


class Refused(StrEnum):
    """Why an RPC was refused before anything of it took effect."""

    NOT_AUTHENTICATED = "not_authenticated"
    ROLE_MISSING = "role_missing"
    SOURCE_NOT_PERMITTED = "source_not_permitted"
    RATE_LIMITED = "rate_limited"
    BYTES_USED_UP = "bytes_used_up"
    OVERLOADED = "overloaded"
    EXPIRED = "expired"


class AdmissionMetrics:
    """The metrics of who may come in. No label is anything that a caller has written."""

    def __init__(self, families: Families) -> None:
        self._families = families
        self._refused = {reason: families.counters["rpcs_refused_total"].labels(reason) for reason in Refused}
        self._insecure = {listener: families.gauges["insecure_listener"].labels(listener) for listener in LISTENERS}
        self.certificate(inf, True)
        self._families.gauges["identities_last_reload_successful"].set(1)

    def refused(self, reason: Refused) -> None:
        """Count an RPC that was refused."""
        self._refused[reason].inc()

    def waiting(self, requests: Callable[[], int]) -> None:
        """Show how many requests of liquidators there are, whenever somebody looks."""
        self._families.gauges["checks_waiting"].set_function(requests)

    def certificate(self, expires_s: float, reloaded: bool) -> None:  # noqa: FBT001  # as `CertificateWatch` tells it
        """Show when the certificate in use expires, and whether the files on the disk are that certificate."""
        self._families.gauges["certificate_expiry_timestamp_seconds"].set(expires_s)
        self._families.gauges["certificate_reload_successful"].set(reloaded)

    def identities(self, identities: int, reloaded: bool) -> None:  # noqa: FBT001  # as `IdentitiesWatch` tells it
        """Show how many identities there are, and whether they are those of the settings file."""
        self._families.gauges["identities"].set(identities)
        self._families.gauges["identities_last_reload_successful"].set(reloaded)

    def started(self, identities: int, insecure: list[str]) -> None:
        """Show who may come in: how many identities there are, and which listeners are insecure."""
        self._families.gauges["identities"].set(identities)
        for listener, gauge in self._insecure.items():
            gauge.set(listener in insecure)
