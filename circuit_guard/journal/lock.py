"""One process a state directory: an advisory lock that the kernel drops with the process, however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path

from circuit_guard.journal.errors import JournalUnusable, StateDirectoryHeld

LOCK_NAME = "lock"
_HOLDER_BYTES_MAX = 1000


class DirectoryLock:
    """The lock on a state directory, held from construction until `release` or the end of the process.

    Its file says who holds it: pid, host, start time. Without the lock that content is left over and means nothing.
    Raises StateDirectoryHeld with the holder; JournalUnusable where the directory cannot be used.
    """

    def __init__(self, directory: Path, started_ns: int) -> None:
        path = directory / LOCK_NAME
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            problem = f"cannot be locked ({error.strerror})"
            raise JournalUnusable(path, problem, "name a directory that the guard may write to") from None
        try:
            _lock(descriptor, path)
            holder = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started_ns": started_ns})
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, holder.encode(), 0)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError):
                problem = f"cannot be written ({error.strerror})"
                raise JournalUnusable(path, problem, "free disk space, or name another directory") from None
            raise
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let another process have the directory."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = (
            os.pread(descriptor, _HOLDER_BYTES_MAX, 0).decode(errors="replace") or "a process that is just starting"
        )
        problem = f"another guard uses this state directory: {holder}"
        raise StateDirectoryHeld(
            path.parent, problem, "stop that process, or give each guard its own directory"
        ) from None
