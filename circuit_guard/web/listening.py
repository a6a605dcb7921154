"""Sockets to listen on, for one address the same as those of gRPC."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from circuit_guard.config.addresses import NOT_HERE, addresses, is_wildcard

BACKLOG = 128


def listening(host: str, port: int) -> list[socket.socket]:
    """Return sockets bound to a host, which may be a name or in brackets, all on one port. Raise OSError."""
    if is_wildcard(host):
        try:
            return [_bound("[::]", port, both=True)]
        except OSError as error:
            if error.errno not in NOT_HERE:
                raise
            return [_bound("0.0.0.0", port)]  # noqa: S104  # every address was asked for
    with ExitStack() as opened:
        sockets = list[socket.socket]()
        for address in addresses(host):
            one = opened.enter_context(_bound(address, port))
            port = one.getsockname()[1]
            sockets.append(one)
        opened.pop_all()
    return sockets


def _bound(address: str, port: int, *, both: bool = False) -> socket.socket:
    family = socket.AF_INET6 if address.startswith("[") else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        made.bind((address.strip("[]"), port))
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made
