"""The process that makes blocks, started by `Compactor`: `python -m circuit_guard.journal.compacting DESCRIPTOR`.

A process of its own, because in the guard's the event loop would have to take the interpreter back from it after every
wait: that made checks ten times slower while a block was made.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from circuit_guard.journal.compaction import build_block

_NICE = 5
"""Less urgent than the guard, but not so much that it never comes to it where both have one processor."""
_OOM_SCORE_ADJ = "500"
"""Where memory runs out, the kernel takes this process before the guard: it is started again, and nothing is lost."""


def main() -> None:
    """Build what is asked for over the connection until the other end is closed or gone, and for no other reason."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(OSError):  # a sandbox may forbid it
        os.nice(_NICE)
    with suppress(OSError):  # only Linux has it
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE_ADJ)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError), Connection(int(sys.argv[1])) as asker:
        while True:
            path, chain, count = asker.recv()
            try:
                answer: object = build_block(path, chain, count)
            except Exception as error:  # noqa: BLE001  # whatever it is, whoever asked has to know
                answer = error
            asker.send(answer)


if __name__ == "__main__":
    main()
