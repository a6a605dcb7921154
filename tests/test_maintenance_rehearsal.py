"""The maintenance rehearsal in examples/, whole: a real guard, a real exchange process, the real command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "examples" / "maintenance_rehearsal" / "rehearse.sh"
TIME_MAX_S = 110

pytestmark = pytest.mark.system

IN_THIS_ORDER = (
    "maintenance begun by alice: closures are denied in every market",
    "DENY BTC-USD-PERP: phase MAINTENANCE does not allow this",
    "MAINTENANCE since ",  # the guard was killed and is back
    "BTC-USD-PERP funding_jump: ",
    "BERA-USD-PERP funding_jump: ",
    "2 markets not clean (2 funding_jump): publish nothing",
    "exit code 1",
    "4 markets clean: end the maintenance, then publish",
    "exit code 0",
    "4 markets in POST_ONLY, opening once data are good: ",
    "  1 ALLOW",  # inside the band
    "DENY PAXG-USD-PERP: the price is outside the band round the reference price: execution_price was 4600",
    "  0 ALLOW, 20 DENY for outside_band",
    " DENY for ramp_limited",  # evidence made it OPEN
    "  20 ALLOW",
    "# The ramp is over: the next twenty go through at once.",
    "  20 ALLOW",
    "DENY BTC-USD-PERP: the funding index moved further than funding can move it",  # never validated
    "BTC-USD-PERP   breaker OPEN (denying), latched",
    "BTC-USD-PERP: breaker CLOSED: reset by alice: index restored from the backup",
    "state: as it was written",
    "rehearsed: all of it as expected",
)


def is_left(group: int) -> bool:
    """Return whether a process of the group still runs, and end it if so."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def test_rehearsal_when_it_is_run_then_all_is_as_it_says_and_nothing_is_left(tmp_path: Path) -> None:
    script = subprocess.Popen(
        [SCRIPT],
        env={**os.environ, "PYTHON": sys.executable, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = script.communicate(timeout=TIME_MAX_S)
    finally:
        left = is_left(script.pid)

    assert script.returncode == 0, said
    found = 0
    for line in IN_THIS_ORDER:
        found = said.find(line, found)
        assert found >= 0, f"{line} is missing, or comes too early, in\n{said}"
    assert not left
    assert list(tmp_path.iterdir()) == []
