"""A guard that is told to end does: whatever its disk, its log, its compacting process or its descriptors do."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from grpc import aio

from circuit_guard.runtime.signals import EXIT_CUT_SHORT
from tests.attacks.process import ENDS_WITHIN_S, STARTS_WITHIN_S, AttackedGuard, attacked, until
from tests.crash.client import STARTING, Client, observation
from tests.crash.conditions import BTC
from tests.crash.guard_process import MARKETS
from tests.crash.test_conditions_disk import python_before

pytestmark = pytest.mark.system

HUNG = "hung"
"""While a file of this name is in the folder, the disk of a guard with `hanging` hangs."""
DESCRIPTORS = 90
AT_A_TIME = 50
F_SETPIPE_SZ = 1031


def hanging(folder: Path, also: str = "") -> list[str]:
    """Return a command that runs the one after it with a disk that hangs while `HUNG` is there."""
    (folder / "sitecustomize.py").write_text(
        "import os, time\n"
        "def hang(call):\n"
        "    def hanging(*given, **named):\n"
        f"        while os.path.exists({str(folder / HUNG)!r}): time.sleep(0.01)\n"
        "        return call(*given, **named)\n"
        "    return hanging\n"
        f"os.fdatasync = hang(os.fdatasync)\n{also}"
    )
    return ["env", f"PYTHONPATH={folder}"]


async def publish(client: Client, batches: int) -> None:
    for number in range(1, batches + 1):
        await client.observe(*(observation(market, number * 9 + k) for market in MARKETS for k in range(9)))


async def compacting(guard: AttackedGuard, client: Client) -> int:
    """Return the process that compresses, once there is one: each observation by itself is a record of its own."""
    number = 0
    while not guard.children():
        alone = [client.observe(observation(MARKETS[0], number + k)) for k in range(1, AT_A_TIME + 1)]
        number += AT_A_TIME
        await asyncio.gather(*alone)
    return guard.children()[0]


async def test_end_when_the_compacting_process_is_stopped_then_both_are_gone_in_time(tmp_path: Path) -> None:
    async with attacked(tmp_path) as (guard, client):
        child = await compacting(guard, client)
        os.kill(child, signal.SIGSTOP)
        await client.halt(BTC, "meanwhile")
        assert await guard.end() < ENDS_WITHIN_S
        assert guard.process.returncode == 0
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


async def test_end_when_the_disk_hangs_then_it_says_what_was_not_written_and_is_gone_in_time(tmp_path: Path) -> None:
    async with attacked(tmp_path, hanging(tmp_path)) as (guard, client):
        await client.halt(BTC, "acknowledged")
        (tmp_path / HUNG).touch()
        await client.observe(observation(BTC, 1))
        assert await guard.end() < ENDS_WITHIN_S
        assert "journal_not_closed" in guard.log
    (tmp_path / HUNG).unlink()
    async with attacked(tmp_path) as (_, client):
        assert (await client.status()).markets[0].halt.reason == "acknowledged"


async def test_end_when_the_disk_hangs_and_a_halt_waits_for_it_then_that_is_not_acknowledged(tmp_path: Path) -> None:
    async with attacked(tmp_path, hanging(tmp_path)) as (guard, client):
        (tmp_path / HUNG).touch()
        waiting = asyncio.create_task(client.halt(BTC, "never acknowledged"))
        await guard.shows(f'circuit_guard_halted{{scope="{BTC}"}}')
        assert await guard.end() < ENDS_WITHIN_S
        with pytest.raises(aio.AioRpcError):
            await waiting


async def test_start_when_the_disk_hangs_then_it_ends_when_told(tmp_path: Path) -> None:
    also = "import sqlite3\nsqlite3.connect = hang(sqlite3.connect)\n"
    (tmp_path / HUNG).touch()
    guard = AttackedGuard(tmp_path, hanging(tmp_path, also))
    try:
        await until((tmp_path / "state" / "lock").exists, within_s=STARTS_WITHIN_S)
        assert await guard.end() < ENDS_WITHIN_S
    finally:
        guard.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_end_when_the_loop_itself_is_stuck_then_the_second_signal_and_the_time_end_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    # Called on the loop, once it has started.
    stuck = f"import gc, pathlib\nstuck = pathlib.Path({str(tmp_path / 'stuck')!r})\n"
    stuck += "gc.freeze = lambda: (stuck.touch(), time.sleep(3600))\n"
    for signals in (1, 2):
        guard = AttackedGuard(tmp_path, hanging(tmp_path, stuck))
        try:
            await guard.logged('"started"' if signals == 1 else '"recovered": true', STARTS_WITHIN_S)
            await until((tmp_path / "stuck").exists)
            (tmp_path / "stuck").unlink()
            began = time.monotonic()
            if signals == 2:
                guard.process.send_signal(number)
                await guard.taken(number)
            assert await guard.end(number) < (ENDS_WITHIN_S + 1 if signals == 1 else 1)
            assert guard.process.returncode == (EXIT_CUT_SHORT if signals == 1 else 128 + number)
            assert time.monotonic() - began < ENDS_WITHIN_S + 1
        finally:
            guard.kill()


@pytest.mark.parametrize("when", ["while it runs", "before it drains"])
async def test_end_when_nobody_reads_the_log_then_it_serves_on_and_is_gone_in_time(tmp_path: Path, when: str) -> None:
    import fcntl

    read, write = os.pipe()
    fcntl.fcntl(write, F_SETPIPE_SZ, 4096)
    guard = AttackedGuard(tmp_path, stderr=write, log={"level": '"debug"'})
    try:
        async with aio.insecure_channel(guard.address, STARTING) as channel:
            await asyncio.wait_for(channel.channel_ready(), STARTS_WITHIN_S)
            client = Client(channel)
            if when == "before it drains":
                fill(write)
            for number in range(100):
                await client.halt(BTC, f"halt {number}: {'x' * 400}")
            asked = time.monotonic()
            await client.status()
            assert time.monotonic() - asked < 5
            assert await guard.end() < ENDS_WITHIN_S
    finally:
        guard.kill()
        os.close(read)
        os.close(write)


def fill(pipe: int) -> None:
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x")
    os.set_blocking(pipe, True)


@pytest.mark.parametrize("listener", ["http", "grpc", "both"])
async def test_guard_when_connections_take_all_descriptors_then_it_serves_on_and_its_log_stays_short(
    tmp_path: Path, listener: str
) -> None:
    limited = python_before(f"resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS}, {DESCRIPTORS}))")
    async with attacked(tmp_path, limited, limits={"connections_max": "1000"}) as (guard, client):
        lagging, length = await guard.lagging(), len(guard.log)
        with ExitStack() as opened:
            for _ in range(2 * DESCRIPTORS):
                if listener != "grpc":
                    host, _, port = guard.http_address().rpartition(":")
                    connect(opened, socket.AF_INET, (host, int(port)))
                if listener != "http":
                    connect(opened, socket.AF_UNIX, str(tmp_path / "guard.sock"))
            await guard.logged("descriptors_exhausted")
            until_s = time.monotonic() + 3
            while time.monotonic() < until_s:
                await client.halt(BTC, "again")
            said = guard.log[length:]
            assert said.count("descriptors_exhausted") == 1
            assert "Traceback" not in said
            assert "posix_engine" not in said
        await guard.shows("circuit_guard_descriptors_exhausted_total")
        found = await guard.metrics()
        assert found["circuit_guard_journal_in_use"] == 1
        assert await guard.lagging() == lagging
        assert await guard.end() < ENDS_WITHIN_S


def connect(opened: ExitStack, family: int, address: tuple[str, int] | str) -> None:
    one = opened.enter_context(socket.socket(family))
    one.setblocking(False)
    with suppress(BlockingIOError):
        one.connect(address)
