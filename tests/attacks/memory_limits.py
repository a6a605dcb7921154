"""The memory limit that is shipped, in force for a process and all that it starts."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.crash.guard_process import ROOT

MIB = 1024 * 1024
_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


def shipped_bytes() -> int:
    """Return the limit of deploy/, which is the same for systemd and for Kubernetes."""
    unit = (ROOT / "deploy/systemd/circuit-guard.service").read_text()
    manifest = (ROOT / "deploy/kubernetes/statefulset.yaml").read_text()
    [systemd] = re.findall(r"^MemoryMax=(\d+)G$", unit, re.MULTILINE)
    kubernetes = set(re.findall(r"limits: \{memory: (\d+)Gi\}", manifest))
    assert kubernetes == {systemd}
    return int(systemd) * 1024 * MIB


@contextmanager
def limited(size: int) -> Iterator[list[str]]:
    """Give a command that becomes the one after it, with this limit: of a cgroup, else of each process's data."""
    try:
        group = _group(size)
    except OSError:
        yield ["prlimit", f"--data={size}"]
        return
    try:
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    finally:
        _removed(group)


def _group(size: int) -> Path:
    """Return a new cgroup with a memory limit. Raise OSError where there can be none."""
    v2 = (_V2 / "cgroup.controllers").exists()
    group = (_V2 if v2 else _V1) / f"circuit-guard-test-{os.getpid()}-{time.monotonic_ns()}"
    group.mkdir()
    try:
        (group / ("memory.max" if v2 else "memory.limit_in_bytes")).write_text(str(size))
    except OSError:
        group.rmdir()
        raise
    return group


def _removed(group: Path) -> None:
    for _ in range(100):
        with suppress(OSError):  # the last process has not gone yet
            group.rmdir()
            return
        time.sleep(0.1)
