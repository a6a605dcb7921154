"""Processes that fork: without its fork support gRPC hangs in the child, past every deadline, and can harm the parent.

gRPC has threads of its own, which a fork does not copy. With its fork support (GRPC_ENABLE_FORK_SUPPORT, which is on
unless it is set otherwise) a GuardClient works on in parent and child. grpc.aio has no such support.
"""

from __future__ import annotations

import os
from typing import Any

from grpc import aio

_ON = frozenset({"1", "t", "true", "y", "yes"})
_SUPPORTED = os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "1").lower() in _ON
"""gRPC reads it when it is imported, too."""
_begun: dict[bool, int] = {}
"""In which process a client was first made, of grpc.aio or not: its threads run there and in no child."""


def begin(library: Any) -> int:
    """Note that a client is made in this process, and return the process."""
    pid = os.getpid()
    _begun.setdefault(library is aio, pid)
    return pid


def problem(library: Any, made_in: int) -> str:
    """Return why a client that was made in a process must not be used in this one; empty where it may be."""
    pid, asynchronous = os.getpid(), library is aio
    if _SUPPORTED and not asynchronous:
        return ""
    remedy = "make clients after the fork only"
    if not asynchronous:
        remedy += ", or start the process with GRPC_ENABLE_FORK_SUPPORT=1"
    if made_in != pid:
        return f"this client was made in process {made_in}, which has forked, and is used in process {pid}: {remedy}"
    harmed = [begun for kind, begun in _begun.items() if begun != pid and (kind or not _SUPPORTED)]
    before = next(iter(harmed), None)
    if before is None:
        return ""
    return f"process {before} made a client before it forked, and gRPC no longer runs in process {pid}: {remedy}"


class NoChannel:
    """What a client has in place of a channel where gRPC would hang: it is never asked, and there is nothing to end."""

    def unary_unary(self, *_: Any, **__: Any) -> None:
        """Return nothing to call."""

    stream_stream = unary_unary

    def close(self) -> Any:
        """Do nothing: a client whose process forked never gets here."""
