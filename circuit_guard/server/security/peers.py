"""What a client's certificate says whose it is: its alternative names, each with its type, read from the certificate.

gRPC hands the names over as plain text, in which a DNS name that holds a URI looks like that URI, and one with a NUL in
it like what stands before the NUL. So they are read here again, from the certificate that gRPC has verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from circuit_guard.errors import CircuitGuardError, shown

CERTIFICATES_KEPT = 1024
"""Certificates that were read already: one that asks a thousand times a second is read once."""


class NameType(StrEnum):
    """The types of alternative names that say whose a certificate is. Common names and e-mail addresses never do."""

    DNS = "DNS"
    URI = "URI"
    IP = "IP"


@dataclass(frozen=True, slots=True)
class PeerName:
    """An alternative name as it is compared: DNS names without regard to case, URIs and addresses exactly."""

    type: NameType
    value: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A client's certificate."""

    names: tuple[PeerName, ...]
    sha256: str
    """The SHA-256 of the certificate (DER), 64 digits: by this it is revoked."""


class PeerCertificateError(CircuitGuardError):
    """A client's certificate says nothing that can be believed."""


def expected_name(entry: str) -> PeerName:
    """Return the name that an entry of the settings stands for."""
    if "://" in entry:
        return PeerName(NameType.URI, entry)
    try:
        return PeerName(NameType.IP, str(ip_address(entry)))
    except ValueError:
        return PeerName(NameType.DNS, entry.lower())


@lru_cache(maxsize=CERTIFICATES_KEPT)
def peer_of(pem: bytes) -> Peer:
    """Return what a certificate says. Raise PeerCertificateError where a reader could take it for another's."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        stated = _alternative_names(certificate)
    except Exception as error:
        raise PeerCertificateError(f"the certificate cannot be read ({str(error)[:200]})") from error
    for name in stated:
        _refuse_ambiguous(name)
    uris = [name.value for name in stated if isinstance(name, x509.UniformResourceIdentifier)]
    if len(uris) > 1 and any(uri.lower().startswith("spiffe:") for uri in uris):
        raise PeerCertificateError(f"the certificate has {len(uris)} URIs, expected one: SPIFFE allows no more")
    names = dict.fromkeys(found for name in stated if (found := _name(name)) is not None)
    return Peer(tuple(names), sha256(certificate.public_bytes(Encoding.DER)).hexdigest())


def _alternative_names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _refuse_ambiguous(name: x509.GeneralName) -> None:
    """Raise PeerCertificateError for a name that one reader takes for another than the next."""
    if not isinstance(name, x509.DNSName | x509.UniformResourceIdentifier | x509.RFC822Name):
        return
    if not all("!" <= character <= "~" for character in name.value):
        expected = "printable ASCII without spaces"
        raise PeerCertificateError(f"the certificate has the name {shown(name.value)}, expected {expected}")
    if isinstance(name, x509.DNSName) and set(":/@") & set(name.value):
        raise PeerCertificateError(f"the certificate has the DNS name {shown(name.value)}, expected a host's name")


def _name(name: x509.GeneralName) -> PeerName | None:
    match name:
        case x509.DNSName():
            return PeerName(NameType.DNS, name.value.lower())
        case x509.UniformResourceIdentifier():
            return PeerName(NameType.URI, name.value)
        case x509.IPAddress():
            return PeerName(NameType.IP, str(name.value))
    return None
