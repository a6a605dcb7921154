"""The guard's certificate: read whole and checked before it is used, and again when its files change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from circuit_guard.config.security import SecuritySettings
from circuit_guard.errors import CircuitGuardError
from circuit_guard.files import FileRefused, read_regular
from circuit_guard.threads import apart

TASK = "certificate watch"
PEM_BYTES_MAX = 1024 * 1024
"""The largest of the three files: the authorities of all browsers take a quarter of it."""

_log = structlog.stdlib.get_logger(__name__)


class CertificateError(CircuitGuardError):
    """The certificate, its key or the clients' authorities cannot be used."""


@dataclass(frozen=True, slots=True)
class Files:
    """What was in the three files. `client_ca` is None where no certificate is asked of clients."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """Return it as gRPC takes it."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], self.client_ca)


def read(security: SecuritySettings) -> Files:
    """Return the files' content, which is not judged yet. Raise CertificateError where one cannot be read."""
    assert security.server_certificate is not None  # noqa: S101  # the settings have both, or neither
    assert security.server_key is not None  # noqa: S101
    client_ca = security.client_ca
    return Files(
        _bytes("server_certificate", security.server_certificate),
        _bytes("server_key", security.server_key),
        None if client_ca is None else _bytes("client_ca", client_ca),
    )


def expiry_s(files: Files) -> float:
    """Return when the certificate expires, in seconds since the Unix epoch.

    Raise CertificateError for files that nobody could be served with: gRPC would say so only when clients connect.
    """
    certificate = _certificates("server_certificate", files.certificate)[0]
    try:
        key = load_pem_private_key(files.key, password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError("security.server_key was unreadable, expected a PEM key without a password") from error
    if key.public_key() != certificate.public_key():
        raise CertificateError("security.server_key was the key of another certificate than server_certificate")
    if files.client_ca is not None:
        _certificates("client_ca", files.client_ca)
    expires = certificate.not_valid_after_utc
    if expires <= datetime.now(UTC):
        raise CertificateError(f"security.server_certificate was expired since {expires}, expected a valid one")
    return expires.timestamp()


class CertificateWatch:
    """Holds the pair in use, and takes up a new one when the files change. A broken one changes nothing."""

    def __init__(self, security: SecuritySettings, told: Callable[[float, bool], None]) -> None:
        """Read the files. Raise CertificateError where they cannot be used.

        `told` is called with what was judged: when the pair in use expires, and whether the files are that pair.
        """
        self._security = security
        self._told = told
        self._used = self._offered = read(security)
        self._expiry_s = expiry_s(self._used)
        self._problem = self._reported = ""
        self._task: asyncio.Task[None] | None = None
        told(self._expiry_s, True)

    def credentials(self) -> grpc.ServerCredentials:
        """Return the credentials to serve with; they follow the pair in use."""
        mutual = self._used.client_ca is not None
        changed: Any = self._changed  # the stubs forget that it may return None
        return grpc.dynamic_ssl_server_credentials(self._used.configuration(), changed, mutual)

    def start(self) -> None:
        """Watch the files until `stop`."""
        self._task = asyncio.create_task(self._watch(), name=TASK)

    async def stop(self) -> None:
        """Stop watching the files."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def look(self) -> None:
        """Read the files once. A new pair serves every connection from now on; a problem is reported."""
        try:
            found = read(self._security)
            expires_s = self._expiry_s if found == self._used else expiry_s(found)
        except CertificateError as error:
            self._suspect(str(error))
            return
        if found != self._used or self._reported:
            _log.info("certificate_taken_up", expires_at=datetime.fromtimestamp(expires_s, UTC).isoformat())
            self._told(expires_s, True)
        self._used, self._expiry_s = found, expires_s
        self._problem = self._reported = ""

    def _suspect(self, problem: str) -> None:
        """Report a problem once, when two reads in a row see it: files that are being replaced do not match either."""
        if problem == self._problem != self._reported:
            _log.error("certificate_refused", problem=problem, in_use="the one before it")
            self._told(self._expiry_s, False)
            self._reported = problem
        self._problem = problem

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what gRPC is to use from this connection on; it asks on a thread of its own, at each handshake."""
        used = self._used
        if used is self._offered:
            return None
        self._offered = used
        return used.configuration()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._security.certificate_interval_s)
            await apart(self.look)


def _bytes(name: str, path: Path) -> bytes:
    try:
        return read_regular(path, PEM_BYTES_MAX)
    except FileRefused as error:
        raise CertificateError(f"security.{name}: {error}") from error


def _certificates(name: str, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CertificateError(f"security.{name} was unreadable, expected certificates in PEM") from error
