"""A guard whose event loop is profiled by CPU time: `python -m benchmarks.load.profiled FILE serve ...`.

SIGUSR1 begins it, SIGUSR2 ends it and writes the profile to the file; FILE.threads says from the first one on which
threads of Python there are.
"""

from __future__ import annotations

import cProfile
import json
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from circuit_guard.cli.main import main


def profile_between_signals(out: Path) -> None:
    """Profile the main thread from one signal to the other."""
    profile = cProfile.Profile(time.thread_time)

    def end(number: int, frame: FrameType | None) -> None:
        profile.disable()
        unfinished = out.with_suffix(".part")
        profile.dump_stats(unfinished)
        unfinished.rename(out)

    def begin(number: int, frame: FrameType | None) -> None:
        names = {str(thread.native_id): thread.name for thread in threading.enumerate()}
        out.with_suffix(".threads").write_text(json.dumps(names))
        profile.enable()

    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)


if __name__ == "__main__":
    profile_between_signals(Path(sys.argv.pop(1)))
    main()
