"""The place of a journal in use: the directory, lock and files that were opened, and the anchor beside them.

A path can come to name something else while the process runs: the directory is moved, the file deleted, a copy put
there. What is written to the handle is then lost to the next start. So the place is looked at before anything that was
written is promised, and the journal's own file is locked, by whatever name another process opens it.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from circuit_guard.journal.anchor import ANCHOR_NAME, SLOT_BYTES, SLOTS, Anchor, read_anchor
from circuit_guard.journal.errors import JournalUnusable, StateDirectoryHeld
from circuit_guard.journal.permissions import refuse_irregular
from circuit_guard.journal.reader import FILE_NAMES, JOURNAL_NAME
from circuit_guard.journal.record import Chain
from circuit_guard.journal.store import End

LOCK_NAME = "lock"
STATE_NAMES = (LOCK_NAME, *FILE_NAMES)
"""The files of a state directory."""
_HOLDER_BYTES_MAX = 1000
_HELD = "stop that process, or give each guard its own directory"


class Place:
    """A state directory in use. Made by `held`; the journal joins once it is open. Used by one thread at a time."""

    def __init__(self, directory: Path, lock: int, left: Mapping[str, object]) -> None:
        self._directory = directory
        self._lock = lock
        self._journal: int | None = None
        self._anchor: int | None = None
        self._identity = ""
        self._generation = 0
        self._bytes_min = 0
        """What the journal's file had when it was opened: nothing that the guard does makes it smaller."""
        self._inodes = {
            directory: _inode(directory),
            directory / LOCK_NAME: (os.fstat(lock).st_ino, os.fstat(lock).st_dev),
        }
        self.left = left
        """What the last holder left in the lock file: its process, and the identity of its journal once it had one."""

    @property
    def known_journal(self) -> str:
        """The identity of the journal that the directory held before; empty where it never had one."""
        return _journal_of(self.left)

    def lock_journal(self) -> None:
        """Lock the journal's own file, by whatever name it is opened, if there is one. Raise StateDirectoryHeld.

        Before SQLite opens it: two that open one file by two names would each keep a log of their own.
        """
        path = self._directory / JOURNAL_NAME
        if self._journal is not None or not path.exists():
            return
        try:
            self._journal = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = "another guard uses this journal, by another name of the file or without its lock file"
            raise StateDirectoryHeld(self._directory, problem, _HELD) from None
        except OSError as error:
            remedy = "name a directory and files that the guard may write to"
            raise JournalUnusable(path, f"cannot be written ({error.strerror})", remedy) from None

    def hold(self, identity: str, ends: Mapping[Chain, End]) -> None:
        """Go on with this journal: note which files it has, and anchor where it ends."""
        self._identity = identity
        for name in (JOURNAL_NAME, f"{JOURNAL_NAME}-wal"):
            path = self._directory / name
            if path.exists():
                self._inodes[path] = _inode(path)
        self._bytes_min = (self._directory / JOURNAL_NAME).stat().st_size
        before, path = read_anchor(self._directory), self._directory / ANCHOR_NAME
        self._generation = before.generation if before is not None else 0
        try:
            self._anchor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            os.posix_fallocate(self._anchor, 0, SLOT_BYTES * SLOTS)
        except OSError as error:
            problem = f"cannot be written ({error.strerror})"
            raise JournalUnusable(path, problem, "free disk space, and let the guard write there") from None
        self._inodes[path] = _inode(path)
        self.anchor(ends)
        _write_holder(self._lock, {**_holder(int(str(self.left["started_ns"]))), "journal": identity})
        os.fsync(self._lock)
        _sync_directory(self._directory)

    def anchor(self, ends: Mapping[Chain, End]) -> None:
        """Have the ends of the chains on the disk, beside the journal."""
        assert self._anchor is not None  # noqa: S101  # `hold` came first
        self._generation += 1
        slot = Anchor(self._identity, ends, self._generation).packed()
        os.pwrite(self._anchor, slot, self._generation % SLOTS * SLOT_BYTES)
        os.fdatasync(self._anchor)

    def check(self) -> None:
        """Raise JournalUnusable where a path does not name what was opened any more."""
        for path, inode in self._inodes.items():
            try:
                found = path.stat()
            except OSError as error:
                raise _moved(path, error.strerror or str(error)) from None
            if (found.st_ino, found.st_dev) != inode:
                raise _moved(path, "another one has taken its place")
            if path.name == JOURNAL_NAME and found.st_size < self._bytes_min:
                raise _moved(path, "it was cut")

    def close(self) -> None:
        """Let another process have the journal. The lock on the directory ends with `held`."""
        for descriptor in (self._anchor, self._journal):
            if descriptor is not None:
                os.close(descriptor)
        self._anchor = self._journal = None


@contextmanager
def held(directory: Path, started_ns: int) -> Iterator[Place]:
    """Hold the lock on a state directory while the context lasts; the end of the process releases it as well.

    Its file says who holds it: pid, host, start time, and which journal. Without the lock only the last still counts.
    Raises StateDirectoryHeld with the holder; JournalUnusable where the directory cannot be used.
    """
    path = directory / LOCK_NAME
    refuse_irregular(directory, *STATE_NAMES)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        problem = f"cannot be locked ({error.strerror})"
        raise JournalUnusable(path, problem, "name a directory that the guard may write to") from None
    try:
        left = _lock(descriptor, path, _holder(started_ns))
        place = Place(directory, descriptor, {**left, "started_ns": started_ns})
        try:
            yield place
        finally:
            place.close()
    finally:
        os.close(descriptor)


def known_journal(directory: Path) -> str:
    """Return the identity of the journal that a directory held, as its lock file says; empty where it never had one."""
    try:
        return _journal_of(_left((directory / LOCK_NAME).read_bytes()))
    except OSError:
        return ""


def _journal_of(left: Mapping[str, object]) -> str:
    said = left.get("journal")
    return said if isinstance(said, str) else ""


def _holder(started_ns: int) -> dict[str, object]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "started_ns": started_ns}


def _lock(descriptor: int, path: Path, holder: dict[str, object]) -> dict[str, object]:
    """Take the lock, and return what its last holder left."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        left = _left(os.pread(descriptor, _HOLDER_BYTES_MAX, 0))
        known = {"journal": left["journal"]} if "journal" in left else {}
        _write_holder(descriptor, {**holder, **known})
    except BlockingIOError:
        other = os.pread(descriptor, _HOLDER_BYTES_MAX, 0).decode(errors="replace") or "a process that is just starting"
        raise StateDirectoryHeld(path.parent, f"another guard uses this state directory: {other}", _HELD) from None
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise JournalUnusable(path, problem, "free disk space, or name another directory") from None
    return left


def _left(content: bytes) -> dict[str, object]:
    try:
        left = json.loads(content)
    except ValueError:
        return {}
    return left if isinstance(left, dict) else {}


def _write_holder(descriptor: int, holder: dict[str, object]) -> None:
    said = json.dumps(holder).encode()
    os.pwrite(descriptor, said, 0)
    os.ftruncate(descriptor, len(said))


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_ino, found.st_dev


def _sync_directory(directory: Path) -> None:
    """Have the names in the directory on the disk as well as the files."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _moved(path: Path, what: str) -> JournalUnusable:
    problem = f"is not what the guard opened any more ({what}): it was moved, deleted, replaced or cut while in use"
    return JournalUnusable(path, problem, "put back what was there and restart the guard")
