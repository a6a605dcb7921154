"""Where the server listens, who gets through to it, and what one connection may take of it."""

from __future__ import annotations

import socket

import grpc
from grpc import aio

from circuit_guard.config.addresses import addresses, is_wildcard
from circuit_guard.config.settings import Settings
from circuit_guard.config.settings_values import UNIX_PREFIX
from circuit_guard.errors import CircuitGuardError

KEEPALIVE_S = 60
"""A connection that is silent for this long is pinged."""
KEEPALIVE_TIMEOUT_S = 20
"""A pinged connection that does not answer within this time is closed."""
PING_INTERVAL_MIN_S = 5
"""Clients that ping more often than this, with or without a call, are cut off (GOAWAY, ENHANCE_YOUR_CALM)."""

MS = 1000

Option = tuple[str, int]


class ListenError(CircuitGuardError):
    """An address to listen on is not available: another process listens there, or it is not of this machine."""


def server_options(settings: Settings) -> list[Option]:
    """Return the limits that gRPC itself keeps, before anything of ours runs."""
    limits = settings.limits
    options = [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.grpc.message_bytes_max),
        ("grpc.max_concurrent_streams", limits.streams_max),
        ("grpc.http.overload_protection", 0),  # it counts RPCs that have just ended, and so refuses honest clients
        ("grpc.max_allowed_incoming_connections", limits.connections_max),
        ("grpc.max_connection_idle_ms", limits.connection_idle_s * MS),
        ("grpc.server_handshake_timeout_ms", limits.handshake_s * MS),
        ("grpc.keepalive_time_ms", KEEPALIVE_S * MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * MS),
        ("grpc.http2.min_ping_interval_without_data_ms", PING_INTERVAL_MIN_S * MS),
        ("grpc.keepalive_permit_without_calls", 1),  # else an idle client may ping every two hours
    ]
    if settings.security.mutual:
        options.append(("grpc.max_connection_age_ms", limits.connection_age_s * MS))
        options.append(("grpc.max_connection_age_grace_ms", settings.grpc.drain_grace_s * MS))
    return options


def bind(
    server: aio.Server, listen: str, credentials: grpc.ServerCredentials | None, setting: str = "grpc.listen"
) -> str:
    """Bind the server and return where, with the port that was bound; without credentials in plain text.

    Raise ListenError, which names the setting.
    """
    if listen.startswith(UNIX_PREFIX):
        _refuse_live_socket(listen)
    host, _, port = listen.rpartition(":")
    try:
        literal = [listen] if listen.startswith(UNIX_PREFIX) or is_wildcard(host) else None
        for address in literal or addresses(host):
            place = address if literal else f"{address}:{port}"
            bound = server.add_secure_port(place, credentials) if credentials else server.add_insecure_port(place)
            port = str(bound)
    except (RuntimeError, OSError) as error:
        raise _taken(listen, setting) from error
    return listen if listen.startswith(UNIX_PREFIX) else f"{host}:{port}"


def _refuse_live_socket(listen: str) -> None:
    """Refuse a socket on which another process answers: gRPC would take it over without a word."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(listen.removeprefix(UNIX_PREFIX))
        except OSError:
            return
    raise _taken(listen)


def _taken(listen: str, setting: str = "grpc.listen") -> ListenError:
    expected = "an address of this machine, host:port or unix:path, that no other process listens on"
    return ListenError(f"{setting} was {listen}, expected {expected}")
