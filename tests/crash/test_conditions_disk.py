"""A disk that is full, or that may only be read: nothing is answered, the reason is told, and what was durable stays.

RLIMIT_FSIZE lets every write beyond a size fail, and the kernel lets root do what modes forbid only where it may
override them: both hold for whoever runs the tests. Where user namespaces are allowed, real file systems are mounted.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from grpc import aio

from circuit_guard.journal.reader import JOURNAL_NAME
from circuit_guard.v1 import types_pb2
from tests.crash.client import STARTING, Client, observation, shown
from tests.crash.conditions import BTC, HALT, assert_denying, assert_refusing
from tests.crash.guard_process import MARKETS, GuardProcess

pytestmark = pytest.mark.system

STOPPED = "the engine has stopped: treat this as a deny"
NOT_WRITTEN = "it cannot be read or written (SQLite says: disk I/O error); mend the disk or its permissions"
CAP_DAC_OVERRIDE = 1
PR_CAPBSET_DROP = 24


def python_before(statement: str) -> list[str]:
    """Return a command that runs a statement of Python and then becomes the command after it."""
    return [sys.executable, "-c", f"import ctypes, os, resource, sys; {statement}; os.execv(sys.argv[1], sys.argv[1:])"]


def writes_up_to(size: int) -> list[str]:
    return python_before(f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))")


def mounted(*mount: str) -> list[str]:
    """Return a command that mounts, for itself alone, and then becomes the command after it."""
    script = f'{" && ".join(mount)} && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]


def can_mount() -> bool:
    try:
        return (
            subprocess.run([*mounted("mount -t tmpfs tmpfs /mnt"), "true"], check=False, capture_output=True).returncode
            == 0
        )
    except FileNotFoundError:
        return False


needs_mount = pytest.mark.skipif(not can_mount(), reason="user namespaces that may mount are not allowed here")


@asynccontextmanager
async def talking_to(process: GuardProcess) -> AsyncIterator[Client]:
    """Give a client of a guard, and make sure of the guard's end."""
    try:
        async with aio.insecure_channel(process.address, STARTING) as channel:
            await channel.channel_ready()
            yield Client(channel)
    finally:
        process.remains()


async def halted_by(folder: Path) -> None:
    """Leave a folder behind in which a guard has halted BTC, durably, before it was killed."""
    async with talking_to(GuardProcess(folder)) as client:
        await client.halt(BTC, HALT)


async def assert_as_before(folder: Path) -> None:
    """Hold that a guard goes on with the halt that was acknowledged, and denies everything."""
    process = GuardProcess(folder)
    async with talking_to(process) as client:
        status = await client.status()
        assert list(status.not_ready_reasons) == []
        assert shown(status)["halt", BTC] == HALT
        for market in MARKETS:
            assert (await client.check(market, f"after-{market}")).verdict == types_pb2.VERDICT_DENY
    assert process.verify().ok


# Full


async def halts_until_refused(client: Client) -> tuple[list[str], aio.AioRpcError]:
    """Publish and halt until the guard refuses; return the reasons of the halts asked for, and the error."""
    asked: list[str] = []
    while True:
        asked.append(f"drill-{len(asked)}")
        try:
            await client.refer(MARKETS)
            await client.observe(*(observation(market, len(asked)) for market in MARKETS))
            await client.halt(BTC, asked[-1])
        except aio.AioRpcError as error:
            return asked, error


async def assert_stops(client: Client, reason: str) -> list[str]:
    """Hold that a guard whose disk fills up stops, shows what it knew, and says why; return the halts asked for."""
    asked, error = await halts_until_refused(client)
    assert error.details() == STOPPED
    assert len(asked) > 2
    await assert_denying(client, STOPPED)
    status = await client.status()
    assert (status.ready, list(status.not_ready_reasons)) == (False, [reason])
    return asked


async def test_disk_when_full_while_running_then_nothing_is_answered_and_a_restart_has_all_that_was(
    tmp_path: Path,
) -> None:
    process, path = GuardProcess(tmp_path), tmp_path / "state" / JOURNAL_NAME
    async with talking_to(process) as client:
        await client.status()
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (400_000, 400_000))
        reason = f"the engine stopped on JournalFailed: {path}: {NOT_WRITTEN}; restart the guard"
        asked = await assert_stops(client, reason)

    mended = GuardProcess(tmp_path)
    async with talking_to(mended) as client:
        halted = shown(await client.status())["halt", BTC]
        assert halted in asked[-2:], "the last one was not acknowledged, and may be there"
        for market in MARKETS:
            assert (await client.check(market, f"after-{market}")).verdict == types_pb2.VERDICT_DENY
    assert mended.verify().ok


@needs_mount
async def test_disk_when_a_file_system_is_full_while_running_then_the_reason_says_so(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    process = GuardProcess(tmp_path, mounted(f"mount -t tmpfs -o size=500k,mode=700 tmpfs {state}"))
    async with talking_to(process) as client:
        problem = "the disk is full (SQLite says: database or disk is full); free disk space and start again"
        reason = f"the engine stopped on JournalFailed: {state / JOURNAL_NAME}: {problem}; restart the guard"
        await assert_stops(client, reason)


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (0, "lock: cannot be written (File too large); free disk space, or name another directory"),
        (1000, f"{JOURNAL_NAME}: {NOT_WRITTEN}"),
    ],
)
async def test_start_when_the_disk_is_full_then_it_refuses_and_goes_on_once_there_is_room(
    tmp_path: Path, size: int, told: str
) -> None:
    await halted_by(tmp_path)

    process = GuardProcess(tmp_path, writes_up_to(size))
    async with talking_to(process):
        await assert_refusing(process.address, f"the journal cannot be used: {tmp_path / 'state' / told}")

    await assert_as_before(tmp_path)


# Read-only


@contextmanager
def without_write_permission(path: Path) -> Iterator[None]:
    """Take away the permission to write to a file."""
    mode = path.stat().st_mode
    path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        path.chmod(mode)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("lock", "cannot be locked (Permission denied); name a directory that the guard may write to"),
        (
            JOURNAL_NAME,
            "cannot be written (Permission denied); name a directory and files that the guard may write to",
        ),
    ],
)
async def test_start_when_a_file_may_only_be_read_then_it_refuses_and_goes_on_once_it_may(
    tmp_path: Path, name: str, told: str
) -> None:
    await halted_by(tmp_path)
    drop_override = python_before(f"ctypes.CDLL(None).prctl({PR_CAPBSET_DROP}, {CAP_DAC_OVERRIDE})")

    path = tmp_path / "state" / name
    with without_write_permission(path):
        process = GuardProcess(tmp_path, drop_override)
        async with talking_to(process):
            await assert_refusing(process.address, f"the journal cannot be used: {path}: {told}")

    await assert_as_before(tmp_path)


@needs_mount
async def test_start_when_the_file_system_is_read_only_then_it_refuses_and_goes_on_once_it_is_not(
    tmp_path: Path,
) -> None:
    await halted_by(tmp_path)
    state = tmp_path / "state"

    process = GuardProcess(tmp_path, mounted(f"mount --bind {state} {state}", f"mount -o remount,bind,ro {state}"))
    async with talking_to(process):
        problem = "cannot be locked (Read-only file system); name a directory that the guard may write to"
        await assert_refusing(process.address, f"the journal cannot be used: {state / 'lock'}: {problem}")

    await assert_as_before(tmp_path)
