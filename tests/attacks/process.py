"""A guard in a process of its own that is starved, frozen and told to end, and what must hold of it all the while."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from grpc import aio

from tests.crash.client import STARTING, Client
from tests.crash.guard_process import ROOT, policy_text

GRACE_S = 1
"""`grpc.drain_grace_s` of these guards."""
ENDS_WITHIN_S = GRACE_S + 5
"""A guard that is told to end is gone by then, whatever has happened to it."""
LAG_MAX_S = 0.25
STARTS_WITHIN_S = 300
"""A guard that recovers runs again what came after its last checkpoint."""


class AttackedGuard:
    """`circuit-guard serve` on a folder's settings, its log in a file unless `stderr` says otherwise.

    `prefix`: a command that becomes the one after it. `settings`: lines of TOML by section, over those of the folder.
    """

    def __init__(
        self, folder: Path, prefix: Sequence[str] = (), stderr: int | None = None, **settings: dict[str, str]
    ) -> None:
        self.folder = folder
        self.address = f"unix:{folder / 'guard.sock'}"
        self.policy = folder / "policy.toml"
        self.state = folder / "state"
        self._log = folder / "log.jsonl"
        command = [sys.executable, "-m", "circuit_guard", "serve", "--settings", str(self._written(settings))]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, *command],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if stderr is None else stderr,
                stderr=log if stderr is None else stderr,
            )

    def _written(self, settings: dict[str, dict[str, str]]) -> Path:
        if not self.policy.exists():
            self.policy.write_text(policy_text())
        sections = {
            "grpc": {"listen": f'"{self.address}"', "drain_grace_s": str(GRACE_S)},
            "http": {"listen": '"127.0.0.1:0"'},
            "policy": {"path": f'"{self.policy}"', "watch": "false", "watch_interval_ms": "50"},
            "journal": {"directory": f'"{self.state}"', "checkpoint_interval_s": "1"},
            "engine": {"tick_interval_ms": "50"},
        }
        for section, lines in settings.items():
            sections[section] = sections.get(section, {}) | lines
        path = self.folder / "settings.toml"
        path.write_text(
            "".join(
                f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())
                for section, lines in sections.items()
            )
        )
        return path

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text()

    async def logged(self, text: str, within_s: float = 20) -> None:
        """Return once its log has a text."""
        await until(lambda: text in self.log, lambda: f"not in the log: {text}\n{self.log}", within_s)

    def http_address(self) -> str:
        """Return where its metrics are, once it has logged that."""
        return self.log.partition('"http": "')[2].partition('"')[0]

    async def metrics(self) -> dict[str, float]:
        """Return its metrics."""
        text = await asyncio.to_thread(_read, f"http://{self.http_address()}/metrics")
        samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {series: float(value) for series, _, value in samples}

    async def shows(self, series: str) -> None:
        """Return once a metric is above 0."""
        async with asyncio.timeout(20):
            while True:
                with suppress(OSError):  # nothing is read while it has no descriptor
                    if (await self.metrics()).get(series, 0) > 0:
                        return

    async def taken(self, number: signal.Signals) -> None:
        """Return once a signal that was sent to it waits no more."""
        path, bit = Path(f"/proc/{self.process.pid}/status"), 1 << (number - 1)

        def waits() -> bool:
            lines = (line.partition(":") for line in path.read_text().splitlines())
            return any(int(value, 16) & bit for name, _, value in lines if name in ("SigPnd", "ShdPnd"))

        await until(lambda: not waits(), lambda: f"{number.name} still waits")

    async def lagging(self) -> int:
        """Return how often its event loop was later than it may be."""
        found = await self.metrics()
        name = "circuit_guard_event_loop_lag_seconds"
        return int(found[f"{name}_count"] - found[f'{name}_bucket{{le="{LAG_MAX_S}"}}'])

    async def end(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Tell it to end, and return after how many seconds it did."""
        began = time.monotonic()
        self.process.send_signal(number)
        await asyncio.to_thread(self.process.wait, 60)
        return time.monotonic() - began

    def children(self) -> list[int]:
        """Return the processes that it has started."""
        found: list[int] = []
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
                found += map(int, (task / "children").read_text().split())
        return found

    def kill(self) -> None:
        """Make sure of its end and of that of what it has started."""
        if self.process.poll() is None:
            for child in self.children():
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            self.process.kill()
            self.process.wait()


@asynccontextmanager
async def attacked(
    folder: Path, prefix: Sequence[str] = (), **settings: dict[str, str]
) -> AsyncIterator[tuple[AttackedGuard, Client]]:
    """Give a guard that has started, and a client of it."""
    guard = AttackedGuard(folder, prefix, None, **settings)
    try:
        async with aio.insecure_channel(guard.address, STARTING) as channel:
            await asyncio.wait_for(channel.channel_ready(), STARTS_WITHIN_S)
            await guard.logged('"started"')
            yield guard, Client(channel)
    finally:
        guard.kill()


async def until(held: Callable[[], bool], missing: Callable[[], str] = str, within_s: float = 20) -> None:
    """Return once something holds."""
    deadline = time.monotonic() + within_s
    while not held():
        assert time.monotonic() < deadline, f"after {within_s} s: {missing()}"
        await asyncio.sleep(0.01)


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # it is our own guard
        text: str = answer.read().decode()
    return text
