"""What a host to listen on means, for every port alike: gRPC and the operating system resolve names differently."""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address

NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""The errors of an address, or a family of addresses, that this machine does not have."""


def is_wildcard(host: str) -> bool:
    """Return whether a host is every address: `[::]` and `0.0.0.0` both mean IPv4 and IPv6."""
    try:
        return ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False


def addresses(host: str) -> list[str]:
    """Return the addresses of a host to bind, IPv6 in brackets: of a name all that this machine has. Raise OSError.

    A name may have addresses that the machine lacks, as localhost has where there is no IPv6.
    """
    found = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    here, missing = list[str](), None
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.bind((address[0], 0))
        except OSError as error:
            if error.errno not in NOT_HERE:
                raise
            missing = error
            continue
        here.append(f"[{address[0]}]" if family == socket.AF_INET6 else str(address[0]))
    if not here and missing is not None:
        raise missing
    return here
