"""How a client connects: address, TLS, token, and how soon it finds a restarted guard again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc

from circuit_guard.client import arguments
from circuit_guard.client.arguments import ArgumentError

UNIX_PREFIX = "unix:"

_TCP = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:]+)\]|(?P<host>[A-Za-z0-9_.-]+)):(?P<port>[0-9]{1,5})")
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")

_RETRY = {
    "methodConfig": [
        {
            "name": [
                {"service": "circuit_guard.v1.LiquidationGuardService"},
                {"service": "circuit_guard.v1.OrderGuardService"},
            ],
            "retryPolicy": {
                "maxAttempts": 2,
                "initialBackoff": "0.01s",
                "maxBackoff": "0.01s",
                "backoffMultiplier": 1,
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        },
        {"name": [{"service": "circuit_guard.v1.LiquidationGuardService", "method": "CheckLiquidationStream"}]},
    ]
}
"""One more try, at once and within the deadline, where the connection was lost: for instance to a guard that has just
been restarted. It asks under the same request_id, so a guard that had already decided repeats its decision. CANCELLED:
gRPC closes the inherited connection of a forked process, beside its first call. On a stream the client does so."""

OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # a guard is near; a proxy from the environment must not see what it is asked
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.min_reconnect_backoff_ms", 1000),  # how long one attempt to connect may take; 20 s if not given
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2000),  # also after how long unacknowledged bytes end a connection
    ("grpc.client_idle_timeout_ms", 2**31 - 1),  # connecting anew would take a part of some call's deadline
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.service_config", json.dumps(_RETRY)),
)

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM: the authority that signed the guard's certificate, and for mTLS this client's certificate and key.

    They are read when a client is made. gRPC in Python does not take a renewed client certificate into a connection
    that exists: make a new client where certificates are short-lived.
    """

    ca: Path | str
    certificate: Path | str | None = None
    key: Path | str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            missing = "key" if self.key is None else "certificate"
            raise ArgumentError(f"Tls.{missing}", None, "the path of a file, as the other one is given")

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files. Raise ArgumentError for the first that cannot be read."""
        return grpc.ssl_channel_credentials(
            root_certificates=_pem("Tls.ca", self.ca),
            private_key=None if self.key is None else _pem("Tls.key", self.key),
            certificate_chain=None if self.certificate is None else _pem("Tls.certificate", self.certificate),
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the guard is and as whom it is asked. The token is never shown, and never sent where others could read it.

    `address` is host:port, or unix:path.
    """

    address: str
    tls: Tls | None = None
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        local = _is_local(self.address)
        if self.tls is not None:
            arguments.instance("tls", self.tls, Tls)
        if self.token is None:
            return
        if not _is_token(self.token):
            raise ArgumentError("token", "***", "1 to 4096 printable ASCII characters without space")
        if self.tls is None and not local:
            expected = f"TLS where a token is sent to {self.address}, which is neither loopback nor a unix socket"
            raise ArgumentError("tls", None, expected)

    def options(self) -> list[tuple[str, str | int]]:
        """Return the options of its channel. A unix socket has no name: a certificate there has to be localhost's."""
        unix = [("grpc.default_authority", "localhost")] if self.address.startswith(UNIX_PREFIX) else []
        return [*OPTIONS, *unix]

    def opener(self, library: Any) -> Callable[[], Any]:
        """Return what opens a new channel of `grpc` or of `grpc.aio`. Files are read now, and by no later channel."""
        if self.tls is None:
            return partial(library.insecure_channel, self.address, self.options())
        return partial(library.secure_channel, self.address, self.tls.credentials(), self.options())

    def metadata(self) -> Metadata:
        """Return what is sent with each call."""
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)


def _is_token(token: object) -> bool:
    return isinstance(token, str) and _TOKEN.fullmatch(token) is not None


def _is_local(address: object) -> bool:
    """Return whether what is sent there stays on this machine. Raise ArgumentError for what is not an address."""
    if isinstance(address, str) and address.startswith(UNIX_PREFIX) and address != UNIX_PREFIX:
        return True
    match = _TCP.fullmatch(address) if isinstance(address, str) else None
    if match is None or not 0 < int(match["port"]) < 65_536:
        raise ArgumentError("address", address, 'host:port or unix:path, for instance "127.0.0.1:50051"')
    host = match["six"] or match["host"]
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _pem(name: str, file: Path | str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ArgumentError(name, str(file), f"a file in PEM that can be read ({error.strerror})") from error
