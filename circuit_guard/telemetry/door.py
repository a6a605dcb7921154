"""What stands before the services, in metrics: who was refused there, what was shed, and the certificate."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from math import inf

from prometheus_client import CollectorRegistry, Counter, Gauge

LISTENERS = ("grpc", "http")


class Refused(StrEnum):
    """Why an RPC was refused before anything of it took effect."""

    NOT_AUTHENTICATED = "not_authenticated"
    ROLE_MISSING = "role_missing"
    SOURCE_NOT_PERMITTED = "source_not_permitted"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    EXPIRED = "expired"


class DoorMetrics:
    """The metrics of who may come in. No label is anything that a caller has written."""

    def __init__(self, registry: CollectorRegistry) -> None:
        refused = Counter(
            "circuit_guard_rpcs_refused_total",
            "RPCs refused before anything of them took effect; expired: the caller's deadline had passed.",
            ["reason"],
            registry=registry,
        )
        self._refused = {reason: refused.labels(reason) for reason in Refused}
        self._waiting = Gauge(
            "circuit_guard_checks_waiting", "Requests of liquidators in work or waiting.", registry=registry
        )
        self._identities = Gauge(
            "circuit_guard_identities",
            "Identities in the settings; 0: everybody who can connect may do everything.",
            registry=registry,
        )
        insecure = Gauge(
            "circuit_guard_insecure_listener",
            "1 if others than this machine can reach the listener, and it does not know who they are.",
            ["listener"],
            registry=registry,
        )
        self._insecure = {listener: insecure.labels(listener) for listener in LISTENERS}
        self._expiry = Gauge(
            "circuit_guard_certificate_expiry_timestamp_seconds",
            "When the server certificate in use expires; +Inf without TLS.",
            registry=registry,
        )
        self._expiry.set(inf)
        self._current = Gauge(
            "circuit_guard_certificate_reload_successful",
            "1 if the certificate's files are what is in use; 0: they are broken, and the pair before them is.",
            registry=registry,
        )
        self._current.set(1)

    def refused(self, reason: Refused) -> None:
        """Count an RPC that was refused."""
        self._refused[reason].inc()

    def waiting(self, requests: Callable[[], int]) -> None:
        """Show how many requests of liquidators there are, whenever somebody looks."""
        self._waiting.set_function(requests)

    def certificate(self, expires_s: float, reloaded: bool) -> None:  # noqa: FBT001  # as `CertificateWatch` tells it
        """Show when the certificate in use expires, and whether the files on the disk are that certificate."""
        self._expiry.set(expires_s)
        self._current.set(reloaded)

    def started(self, identities: int, insecure: list[str]) -> None:
        """Show who may come in: how many identities there are, and which listeners are insecure."""
        self._identities.set(identities)
        for listener, gauge in self._insecure.items():
            gauge.set(listener in insecure)
