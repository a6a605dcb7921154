"""Who else could write to a state directory, and files that nobody else may read.

A guard does not go on from what others may have put there.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from circuit_guard.files import KINDS
from circuit_guard.journal.errors import JournalUnusable

OTHERS = stat.S_IWGRP | stat.S_IWOTH


def refuse_writable(directory: Path, *names: str) -> None:
    """Raise JournalUnusable where the directory, or a file of these names in it, is a symlink or others may write it.

    A directory with the setgid bit is taken as it is: so Kubernetes marks a volume that it gives to the pod's fsGroup
    (2775, an emptyDir 2777), and nobody beyond the pod reaches it. Its files then may be the group's as well.
    """
    found = directory.lstat()
    _refuse_symlink(directory, found.st_mode)
    of_pod = bool(found.st_mode & stat.S_ISGID)
    if not of_pod:
        _refuse_mode(directory, found.st_mode, OTHERS, "0700 or 0755", "go-w")
    for path in (directory / name for name in names):
        if not path.is_symlink() and not path.exists():
            continue
        mode = path.lstat().st_mode
        _refuse_symlink(path, mode)
        if of_pod:
            _refuse_mode(path, mode, stat.S_IWOTH, "0660 or less", "o-w")
        else:
            _refuse_mode(path, mode, OTHERS, "0600 or 0644", "go-w")


def refuse_irregular(directory: Path, *names: str) -> None:
    """Raise JournalUnusable where one of the names is that of a FIFO, a socket, a device or a directory.

    To open a FIFO waits for a writer, and to open a device can do something: so this comes before anything is opened.
    """
    for path in (directory / name for name in names):
        try:
            mode = path.stat().st_mode
        except OSError:  # whoever opens it says why
            continue
        if not stat.S_ISREG(mode):
            what = KINDS.get(stat.S_IFMT(mode), "no file")
            raise JournalUnusable(path, f"is {what}, expected a regular file", "put back the guard's own file")


def _refuse_symlink(path: Path, mode: int) -> None:
    if stat.S_ISLNK(mode):
        remedy = f"name the directory itself in journal.directory: {path.resolve() if path.exists() else path}"
        raise JournalUnusable(path, "is a symlink, expected no way to have another put in its place", remedy)


def _refuse_mode(path: Path, mode: int, forbidden: int, expected: str, change: str) -> None:
    if mode & forbidden:
        problem = f"has the mode {stat.S_IMODE(mode):04o}, expected {expected}: others can write it"
        raise JournalUnusable(path, problem, f"look at what it holds, then run: chmod {change} {path}")


def create_private(path: Path) -> None:
    """Make an empty file that only its owner may read: exports hold accounts. Raise OSError; a symlink is not followed.

    What was left at the path by a writer that was killed is replaced.
    """
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


def write_private(path: Path, text: str) -> None:
    """Write a text to a file that only its owner may read, or that was there before. Raise OSError for a symlink."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
