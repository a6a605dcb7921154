"""A guard in a process of its own, with a state directory, that can be killed and started again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from circuit_guard.journal.place import LOCK_NAME
from circuit_guard.journal.reader import JOURNAL_NAME, JournalReader, VerifyReport

ROOT = Path(__file__).parents[2]
MARKETS = ("BTC-USD-PERP", "ETH-USD-PERP", "SOL-USD-PERP")
POLICY = """
[global_breaker]
latched_markets_min = 3
window_s = 3600
[classes.default]
required = false
[classes.default.band]
width_bps = {width_bps}
{markets}
"""


def policy_text(width_bps: int = 5) -> str:
    """Return a policy of the three markets. GLOBAL latches where all three are latched, and only there."""
    return POLICY.format(width_bps=width_bps, markets="\n".join(f"[markets.{market}]" for market in MARKETS))


def write_settings(folder: Path) -> Path:
    """Write settings into the folder, and a policy where there is none. The guard listens on a socket beside them."""
    policy, settings = folder / "policy.toml", folder / "settings.toml"
    if not policy.exists():
        policy.write_text(policy_text())
    settings.write_text(
        f'grpc = {{ listen = "unix:{folder / "guard.sock"}", drain_grace_s = 1 }}\n'
        'http = { listen = "127.0.0.1:0" }\n'
        f'policy = {{ path = "{policy}", watch = false }}\n'
        f'journal = {{ directory = "{folder / "state"}", checkpoint_interval_s = 1 }}\n'
        'log = { level = "error" }\n'
        "engine = { tick_interval_ms = 50 }\n"
    )
    return settings


class GuardProcess:
    """`circuit-guard serve` on the folder's settings. `prefix`: a command that becomes the one after it."""

    def __init__(self, folder: Path, prefix: Sequence[str] = ()) -> None:
        self._folder = folder
        self.address = f"unix:{folder / 'guard.sock'}"
        command = [sys.executable, "-m", "circuit_guard", "serve", "--settings", str(write_settings(folder))]
        self._popen = subprocess.Popen(
            [*prefix, *command],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    def kill(self) -> None:
        """Send SIGKILL."""
        self._popen.kill()

    def starting(self, looks: int) -> None:
        """Return after so many looks at its state directory, from when it holds that on."""
        holder = f'"pid": {self.pid},'
        while looks:
            assert self._popen.poll() is None, "it ended by itself"
            lock = self._folder / "state" / LOCK_NAME
            looks -= lock.exists() and holder in lock.read_text()

    def remains(self) -> str:
        """Make sure of its end, and return the errors it had logged."""
        self._popen.kill()
        _, told = self._popen.communicate(timeout=20)
        return "\n".join(line for line in told.splitlines() if '"event": "starting"' not in line)

    def ended(self) -> tuple[int, str]:
        """Wait until it ends by itself; return its exit code and what it had logged."""
        _, told = self._popen.communicate(timeout=20)
        return self._popen.returncode, told

    def has_journal(self) -> bool:
        """Return whether it came far enough to make a journal."""
        path = self._folder / "state" / JOURNAL_NAME
        return path.exists() and path.stat().st_size > 0

    def verify(self) -> VerifyReport:
        """Prove its journal."""
        with JournalReader(self._folder / "state") as reader:
            return reader.verify()
