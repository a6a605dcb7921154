"""Certificates made for a test, and the guard's files among them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from grpc import aio

from circuit_guard.config.security import SecuritySettings

SINCE = datetime(2020, 1, 1, tzinfo=UTC)
UNTIL = datetime(2090, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes


class Signer:
    """An authority: it signs certificates for names."""

    def __init__(self, name: str = "test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._certificate = self._build(self._name, self._key, UNTIL, x509.BasicConstraints(ca=True, path_length=0))
        self.pem = self._certificate.public_bytes(Encoding.PEM)

    def issue(self, *names: str | x509.GeneralName, until: datetime = UNTIL) -> Pair:
        """Return a certificate for DNS names, URIs and addresses, or names of a given type, with its key."""
        return self.issue_with(x509.SubjectAlternativeName([_name(name) for name in names]), until)

    def issue_with(
        self, extension: x509.ExtensionType, until: datetime = UNTIL, common_name: str = "not looked at"
    ) -> Pair:
        """Return a certificate with an extension, whatever that says, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
        certificate = self._build(subject, key, until, extension)
        pem = certificate.public_bytes(Encoding.PEM)
        return Pair(pem, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def _build(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime, extension: x509.ExtensionType
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(SINCE).not_valid_after(until)
        return builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints)).sign(
            self._key, SHA256()
        )


class Authority(Signer):
    """The authority whose certificates the guard takes, with the guard's files in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.write_server(self.issue("localhost", "127.0.0.1"))
        (folder / "ca.pem").write_bytes(self.pem)

    def write_server(self, pair: Pair) -> None:
        """Write the server's pair, as whoever renews certificates does."""
        (self.folder / "server.pem").write_bytes(pair.certificate)
        (self.folder / "server-key.pem").write_bytes(pair.key)

    def settings(self, *, mutual: bool = True, **changes: Any) -> SecuritySettings:
        """Return settings with the server's files, and with the authority's for clients."""
        files: dict[str, Any] = {
            "server_certificate": self.folder / "server.pem",
            "server_key": self.folder / "server-key.pem",
        }
        if mutual:
            files["client_ca"] = self.folder / "ca.pem"
        return SecuritySettings.model_construct(**(files | changes))

    def channel(self, address: str, pair: Pair | None = None) -> aio.Channel:
        """Return a channel that trusts this authority and shows a certificate, or none."""
        own = (None, None) if pair is None else (pair.key, pair.certificate)
        return aio.secure_channel(address, grpc.ssl_channel_credentials(self.pem, *own))


def _name(name: str | x509.GeneralName) -> x509.GeneralName:
    if isinstance(name, x509.GeneralName):
        return name
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
