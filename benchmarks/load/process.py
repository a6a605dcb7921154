"""The processes that are measured, and what the system says of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks import family
from benchmarks.load import market

SERVER_CORE, GENERATOR_CORE = 0, 1
FED_EVERY_S = 1.0
STARTED_WITHIN_S, ENDED_WITHIN_S = 60.0, 60.0
GUARD = ("-m", "circuit_guard")
LOOK_EVERY_S = 0.05


@dataclass(frozen=True)
class Process:
    """A process that was started here."""

    running: subprocess.Popen[bytes]
    address: str = ""
    out: Path | None = None
    """What it prints, where somebody reads that."""

    def cpu_s(self) -> float:
        """Return the CPU time of all its threads so far, user and system, and of the processes that it has started."""
        return family.cpu_s(self.running.pid)

    def threads_cpu_s(self) -> dict[str, tuple[str, float]]:
        """Return what each thread is called and its CPU time so far, by its id; of processes that it started too."""
        own = self.running.pid
        return {
            task.name: (
                (task / "comm").read_text().strip() if pid == own else "a process of its own",
                int((task / "schedstat").read_text().split()[0]) / 1e9,
            )
            for pid in family.members(own)
            for task in Path(f"/proc/{pid}/task").iterdir()
        }

    def rss_mb(self) -> float:
        """Return how much memory it and the processes that it has started have, MB of a million bytes."""
        return family.rss_mb(self.running.pid)

    def pause(self) -> None:
        """Take it off its core until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in family.members(self.running.pid):
            os.kill(pid, number)


@dataclass(frozen=True)
class Guarding:
    """A guard, and whoever publishes to it."""

    guard: Process
    markets: list[str]
    feeder: Process | None = None

    def pause(self) -> None:
        """Take both off their cores; for a few seconds, or the data are stale."""
        for process in self._both():
            process.pause()

    def resume(self) -> None:
        """Let both go on."""
        for process in self._both():
            process.resume()

    def feed(self, *, on: bool) -> None:
        """Pause whoever publishes to it, or let them go on."""
        if self.feeder is not None:
            (self.feeder.resume if on else self.feeder.pause)()

    def _both(self) -> list[Process]:
        return [self.guard, *([self.feeder] if self.feeder else [])]


class Bench:
    """Starts processes, the servers on one core and all else on the other, and ends them all."""

    def __init__(self, folder: Path) -> None:
        """`folder` is for what they write."""
        self._folder = folder
        self._all: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Bench:
        """Move this process, and with it the generator, to its core."""
        os.sched_setaffinity(0, {GENERATOR_CORE})
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes; in no order, as nobody needs what they still have to say."""
        for running in self._all:
            running.send_signal(signal.SIGCONT)
            running.terminate()
        for running in self._all:
            try:
                running.wait(ENDED_WITHIN_S)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()

    def guard(self, markets: int, *, fed: bool = True, program: Sequence[str] = GUARD) -> Guarding:
        """Start a guard with everything shipped: its policy, its settings, its journal and its log."""
        folder = self._folder / f"guard-{len(self._all)}"
        folder.mkdir()
        policy, log = folder / "policy.toml", folder / "log"
        policy.write_text(market.policy_text(markets))
        environ = {
            "CIRCUIT_GUARD_GRPC__LISTEN": "127.0.0.1:0",
            "CIRCUIT_GUARD_HTTP__LISTEN": "127.0.0.1:0",
            "CIRCUIT_GUARD_JOURNAL__DIRECTORY": str(folder / "state"),
        }
        running = self._start(SERVER_CORE, [*program, "serve", "--policy", str(policy)], environ, log)
        guard = Process(running, _address(running, log))
        feeder = self.feeder(guard, markets, FED_EVERY_S) if fed else None
        return Guarding(guard, market.names(markets), feeder)

    def feeder(self, guard: Process, markets: int, every_s: float) -> Process:
        """Start publishing each market to a guard, once in so many seconds."""
        command = ["-m", "benchmarks.load.feeder", guard.address, str(markets), str(every_s)]
        out = self._folder / f"feeder-{len(self._all)}"
        return Process(self._start(GENERATOR_CORE, command, {}, out), out=out)

    def floor(self) -> Process:
        """Start the server that does nothing."""
        out = self._folder / "floor"
        running = self._start(SERVER_CORE, ["-m", "benchmarks.load.floor"], {}, out)
        return Process(running, next(line for line in _lines(running, out) if line.startswith("127.")))

    def redis(self) -> Process | None:
        """Start a Redis that keeps nothing on the disk; None where it, or its client, is not installed."""
        program = shutil.which("redis-server")
        if program is None or find_spec("redis") is None:
            return None
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        out = self._folder / "redis"
        options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
        running = self._start(SERVER_CORE, options, {}, out, program)
        next(line for line in _lines(running, out) if "Ready to accept connections" in line)
        return Process(running, f"127.0.0.1:{port}")

    def _start(
        self, core: int, command: Sequence[str], environ: dict[str, str], out: Path, program: str = sys.executable
    ) -> subprocess.Popen[bytes]:
        os.sched_setaffinity(0, {core})  # a child begins where its parent is
        try:
            with out.open("wb") as written:
                running = subprocess.Popen(  # noqa: S603  # our own programs, and redis-server
                    [program, *command], cwd=market.ROOT, env={**os.environ, **environ}, stdout=written, stderr=written
                )
        finally:
            os.sched_setaffinity(0, {GENERATOR_CORE})
        self._all.append(running)
        return running


def _address(running: subprocess.Popen[bytes], log: Path) -> str:
    started = next(line for line in _lines(running, log) if '"event": "started"' in line)
    return str(json.loads(started)["grpc"])


def _lines(running: subprocess.Popen[bytes], out: Path) -> Iterator[str]:
    """Return what a process has written so far, again and again. Raise RuntimeError where it does not start."""
    until = time.monotonic() + STARTED_WITHIN_S
    while running.poll() is None and time.monotonic() < until:
        yield from out.read_text().splitlines()
        time.sleep(LOOK_EVERY_S)
    raise RuntimeError(f"{running.args!r} did not start:\n{out.read_text()}")
