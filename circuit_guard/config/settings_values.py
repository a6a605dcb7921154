"""The kinds of value that settings are written with. Each takes text as well, as environment variables are text."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from circuit_guard.config.toml import expected

UNIX_PREFIX = "unix:"
UNIX_PATH_BYTES_MAX = 107
"""The kernel's limit for the path of a unix socket."""

_TCP = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")


def only_this_machine(listen: str) -> bool:
    """Return whether nobody outside this machine can reach an address: a unix socket, or loopback."""
    if listen.startswith(UNIX_PREFIX):
        return True
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tcp_address(value: object) -> str:
    match = _TCP.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match["port"]) > 65_535:
        raise expected('host:port with a port from 0 (any free one) to 65535, e.g. "127.0.0.1:50051" or "[::1]:50051"')
    return match[0]


def _grpc_address(value: object) -> str:
    if not isinstance(value, str) or not value.startswith(UNIX_PREFIX):
        return _tcp_address(value)
    path = value.removeprefix(UNIX_PREFIX)
    if not 0 < len(path.encode(errors="replace")) <= UNIX_PATH_BYTES_MAX:
        raise expected(f"{UNIX_PREFIX} and a path of 1 to {UNIX_PATH_BYTES_MAX} bytes")
    return value


def _file_path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise expected("the path of a file")
    return Path(value)


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise expected("true or false")
    return value == "true"


_TEXT_SCHEMA = WithJsonSchema({"type": "string", "minLength": 1})
TcpAddress = Annotated[str, PlainValidator(_tcp_address), _TEXT_SCHEMA]
OptionalTcpAddress = Annotated[str | None, PlainValidator(_tcp_address), _TEXT_SCHEMA]
GrpcAddress = Annotated[str, PlainValidator(_grpc_address), _TEXT_SCHEMA]
FilePath = Annotated[Path, PlainValidator(_file_path), _TEXT_SCHEMA]
OptionalFilePath = Annotated[Path | None, PlainValidator(_file_path), _TEXT_SCHEMA]
Switch = Annotated[bool, PlainValidator(_switch), WithJsonSchema({"type": "boolean"})]
