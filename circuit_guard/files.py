"""Files that people name: read where that cannot block, and no further than a bound.

A path may come to name a FIFO, a device or a file without end. Opening the one waits for a writer, reading the other
never ends.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from circuit_guard.errors import CircuitGuardError, Problem

KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class FileRefused(CircuitGuardError):
    """The file at `path` cannot be read: `value` says what is there."""

    def __init__(self, path: Path, value: str, expected: str, *, missing: bool = False) -> None:
        super().__init__(path, value, expected)
        self.path = path
        self.value = value
        self.expected = expected
        self.missing = missing

    def problem(self, wanted: str) -> Problem:
        """Return it as a problem of a document, which was to be `wanted`."""
        return Problem("file", self.value, self.expected or wanted)

    def __str__(self) -> str:
        return f"{self.path} was {self.value}, expected {self.expected or 'a readable file'}"


def read_regular(path: Path, bytes_max: int) -> bytes:
    """Return the content of a regular file. Raise FileRefused for anything else, and for more than `bytes_max` bytes.

    Nothing else is opened: opening a device can do something. Opening does not wait, nor does reading a regular file.
    """
    try:
        _require_regular(path, path.stat())
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with open(descriptor, "rb") as file:  # noqa: PTH123  # a path would be opened anew
            found = os.fstat(descriptor)
            _require_regular(path, found)
            if found.st_size > bytes_max:
                raise _larger(path, found.st_size, bytes_max)
            data = file.read(bytes_max + 1)
    except FileNotFoundError:
        raise FileRefused(path, "missing", "", missing=True) from None
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise FileRefused(path, f"unreadable ({reason})", "") from problem
    if len(data) > bytes_max:
        raise _larger(path, len(data), bytes_max)
    return data


def _require_regular(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = KINDS.get(stat.S_IFMT(found.st_mode), "no file")
        raise FileRefused(path, kind, "a regular file")


def _larger(path: Path, size: int, bytes_max: int) -> FileRefused:
    return FileRefused(path, f"{size} bytes or more", f"at most {bytes_max} bytes")
