"""What the system says of a process and of all that it has started: the guard has a process that makes blocks."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

TICKS_PER_S, PAGE_BYTES = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def children(pid: int) -> list[int]:
    """Return the processes that a process has started itself."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            found += map(int, (task / "children").read_text().split())
    return found


def members(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    for member in found:
        found += children(member)
    return found


def rss_mb(pid: int) -> float:
    """Return how much memory they have, MB of a million bytes. What they share counts for each."""
    pages = 0
    for member in members(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            pages += int(Path(f"/proc/{member}/statm").read_text().split()[1])
    return pages * PAGE_BYTES / 1e6


def cpu_s(pid: int) -> float:
    """Return the CPU time of all their threads so far, user and system, and that of those which have ended."""
    ticks = 0
    for member in members(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_S
