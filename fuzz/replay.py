"""Feeds inputs to a target once more, without a fuzzer: `python -m fuzz.replay TARGET FILE ...`."""

from __future__ import annotations

import sys
from pathlib import Path

from fuzz.targets import TARGETS


def main() -> None:
    """Feed the files; an input that still crashes ends it with its traceback."""
    if len(sys.argv) < 3 or sys.argv[1] not in TARGETS:  # a target and a file
        sys.exit(f"usage: python -m fuzz.replay TARGET FILE ...  (TARGET: {', '.join(TARGETS)})")
    for name in sys.argv[2:]:
        TARGETS[sys.argv[1]].feed(Path(name).read_bytes())
        print(f"{name}: no crash")


if __name__ == "__main__":
    main()
