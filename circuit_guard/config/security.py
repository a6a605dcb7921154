"""The settings of who may connect, who is taken for whom, and how much one of them may ask for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from circuit_guard.config.settings_values import OptionalFilePath, Switch
from circuit_guard.config.toml import Listed, Name, Table, Whole
from circuit_guard.errors import Problem, shown

IDENTITY_NAME = Name("a name of 1 to 64 letters, digits and . _ : / - that starts with a letter or digit")


class Role(StrEnum):
    """What an identity may do. Which RPC needs which is in `server.security.table`."""

    LIQUIDATOR = "liquidator"
    """Asks before forced closures and about orders."""
    PUBLISHER = "publisher"
    """Publishes observations and references, of its own sources only."""
    OPERATOR = "operator"
    """Halts, resumes, resets, runs maintenances, and sees everything."""
    VIEWER = "viewer"
    """Sees everything and changes nothing."""


Roles = Annotated[tuple[Role, ...], Listed("|".join(Role), f"roles: {', '.join(Role)}", Role)]
Sources = Annotated[tuple[str, ...], Listed("[!-~]{1,128}", "sources, as publishers name them")]
Subjects = Annotated[
    tuple[str, ...],
    Listed(
        r"[a-z][a-z0-9+.-]*://[!-~]{1,2000}|[A-Za-z0-9]([A-Za-z0-9._-]{0,253}[A-Za-z0-9])?",
        "names of certificates: DNS names without wildcards, IPv4 addresses, or URIs such as spiffe://...",
    ),
]
Fingerprints = Annotated[
    tuple[str, ...],
    Listed(
        "[0-9A-Fa-f]{64}|[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31}",
        "SHA-256 fingerprints of certificates, as `openssl x509 -noout -fingerprint -sha256` prints them",
        lambda entry: entry.replace(":", "").lower(),
    ),
]
TokenHashes = Annotated[
    tuple[str, ...],
    Listed("[0-9a-f]{64}", "SHA-256 hashes of 64 digits 0-9 a-f, as `circuit-guard token new` prints them"),
]


class IdentityTable(Table):
    """One that may connect: how it is known, and what it may do."""

    roles: Roles = ()
    """What it may do: liquidator, publisher, operator, viewer."""
    certificates: Subjects = ()
    """The alternative names by which its certificates are known: DNS names, IPv4 addresses, or URIs such as SPIFFE ids.
    Each is compared with the names of its own type."""
    token_sha256: TokenHashes = ()
    """SHA-256 hashes of its bearer tokens; two while one replaces the other. `circuit-guard token new` makes one."""
    sources: Sources = ()
    """The source that it may publish for, and nobody else: for publishers, and only for them. More than one need
    several_sources."""
    several_sources: Switch = False
    """Let it have more than one source: with two of a market's three references it decides their median alone, and with
    the exchange's source and a reference it confirms itself. Every start says so."""


class SecuritySettings(Table):
    """Who may connect. Without identities everybody who can connect may do everything, which each start logs."""

    server_certificate: OptionalFilePath = None
    """The guard's certificate with its chain, PEM. With it gRPC speaks TLS only; a new one is taken up by itself."""
    server_key: OptionalFilePath = None
    """The key of the certificate, PEM, without a password."""
    client_ca: OptionalFilePath = None
    """The authorities, PEM, of which every client must show a certificate: mTLS. Without it none is asked for."""
    certificate_interval_s: Annotated[int, Whole(1, 3600, text=True)] = 10
    """Seconds between two looks at the three files."""
    insecure_network: Switch = False
    """Listen beyond this machine without mTLS or without identities. Every start says so at level critical."""
    revoked_certificates: Fingerprints = ()
    """SHA-256 fingerprints of clients' certificates that are of nobody any more, whatever they say."""
    identities: dict[str, IdentityTable] = Field(
        default_factory=dict, json_schema_extra={"propertyNames": {"pattern": f"^{IDENTITY_NAME.pattern}$"}}
    )
    """Who may do what, by name. Every act is recorded under this name."""

    @property
    def mutual(self) -> bool:
        """Whether every client has to show a certificate."""
        return None not in (self.server_certificate, self.server_key, self.client_ca)


class LimitSettings(Table):
    """How much of the guard one client may take. What goes beyond is refused at once, and never queued."""

    connections_max: Annotated[int, Whole(1, 100_000, text=True)] = 64
    """Connections at a time; a further one is closed."""
    streams_max: Annotated[int, Whole(1, 10_000, text=True)] = 100
    """RPCs at a time on one connection; further ones wait in the client, and not where they would hold up others."""
    handshake_s: Annotated[int, Whole(1, 120, text=True)] = 10
    """Seconds that a new connection has for TLS and its first frame; one that is slower is closed."""
    connection_idle_s: Annotated[int, Whole(1, 86_400, text=True)] = 600
    """Seconds after which a connection without RPCs is closed; clients connect again by themselves."""
    connection_age_s: Annotated[int, Whole(1, 86_400, text=True)] = 3600
    """Seconds after which a connection over mTLS is closed: no certificate stays longer after it has expired."""
    checks_waiting_max: Annotated[int, Whole(1, 100_000, text=True)] = 400
    """Requests of liquidators in work at a time; further ones get RESOURCE_EXHAUSTED. The rest of
    grpc.concurrent_rpcs_max is kept for publishers and operators."""
    check_streams_max: Annotated[int, Whole(1, 100_000, text=True)] = 200
    """CheckLiquidationStream streams of all liquidators at a time; further ones get RESOURCE_EXHAUSTED. They never take
    more than half of what grpc.concurrent_rpcs_max leaves beside watchers and checks_waiting_max."""
    checks_per_s: Annotated[int, Whole(1, 10_000_000, text=True)] = 50_000
    """Checks and orders per second that one identity may ask about."""
    market_data_per_s: Annotated[int, Whole(1, 10_000_000, text=True)] = 20_000
    """Observations and references per second that one identity may publish."""
    bytes_per_s: Annotated[int, Whole(65_536, 10**9, text=True)] = 16_000_000
    """Bytes of requests per second from one liquidator or publisher, whatever they hold. What waits for the disk is
    memory."""
    journal_bytes_per_day: Annotated[int, Whole(1_000_000, 10**13, text=True)] = 4_000_000_000
    """Bytes of requests that one liquidator may have recorded while the journal is larger than `journal.bytes_max`: it
    keeps each for 24 h at least. They can be used up at once, and come back over a day. While the journal has room
    nobody is refused for this; halts and market data never are."""
    views_per_s: Annotated[int, Whole(1, 100_000, text=True)] = 20
    """Statuses and watches per second that one identity may ask for, so that no dashboard starves the rest. Operators
    are not limited."""


_ONE_SOURCE = (
    "one source: a publisher with two of a market's three references decides their median alone; give each source an "
    "identity of its own, or set several_sources = true"
)


def security_problems(security: SecuritySettings) -> Iterator[Problem]:
    """Return what contradicts itself in the table."""
    yield from _files(security)
    for name, identity in security.identities.items():
        path = f"security.identities.{name}"
        if not re.fullmatch(IDENTITY_NAME.pattern, name):
            yield Problem("security.identities", shown(name), IDENTITY_NAME.expected)
        if not identity.roles:
            yield Problem(f"{path}.roles", "not given", f"at least one of {', '.join(Role)}")
        if not identity.certificates and not identity.token_sha256:
            yield Problem(path, "known by nothing", "certificates or token_sha256: nobody could be it")
        if identity.certificates and security.client_ca is None:
            yield Problem(f"{path}.certificates", "given", "security.client_ca beside it: without it none are shown")
        publishes = Role.PUBLISHER in identity.roles
        if publishes and not identity.sources:
            yield Problem(f"{path}.sources", "not given", "the sources that this publisher may publish for")
        if len(identity.sources) > 1 and not identity.several_sources:
            yield Problem(f"{path}.sources", f"{len(identity.sources)} sources", _ONE_SOURCE)
        if identity.sources and not publishes:
            yield Problem(f"{path}.sources", "given", "none without the role publisher")
    yield from _twice(security)


def _files(security: SecuritySettings) -> Iterator[Problem]:
    if (security.server_certificate is None) is not (security.server_key is None):
        missing = "server_certificate" if security.server_certificate is None else "server_key"
        yield Problem(f"security.{missing}", "not given", "both server_certificate and server_key, or neither")
    if security.client_ca is not None and security.server_certificate is None:
        yield Problem("security.client_ca", "given", "server_certificate and server_key beside it: clients come by TLS")


def _twice(security: SecuritySettings) -> Iterator[Problem]:
    """Return a problem for everything that two identities claim: who it is would depend on their order."""
    for key in ("certificates", "token_sha256", "sources"):
        entries = [_same(key, entry) for identity in security.identities.values() for entry in getattr(identity, key)]
        for entry, count in Counter(entries).items():
            if count > 1:
                what = "one identity alone: give one identity several certificates or tokens instead"
                yield Problem(f"security.identities.*.{key}", f"{shown(entry)}, {count} times", what)


def _same(key: str, entry: str) -> str:
    """Return an entry as it is compared: DNS names without regard to case."""
    return entry.lower() if key == "certificates" and "://" not in entry else entry
