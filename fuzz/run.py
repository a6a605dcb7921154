"""Fuzzes targets one after the other: `python -m fuzz.run [--seconds 60] [TARGET ...]`. Exits with 1 after a crash.

What was found to lead somewhere is kept in fuzz/corpus, and the next run goes on from it; crashes are in fuzz/crashes.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from fuzz.targets import TARGETS

HERE = Path(__file__).parent
CORPUS, CRASHES = HERE / "corpus", HERE / "crashes"
INPUT_SECONDS_MAX = 20
RSS_MB_MAX = 2048
WORDS_MAX = 500
DONE = re.compile(r"Done (\d+) runs in (\d+) second")
TAIL_LINES = 25


def main() -> int:
    """Fuzz, print a line a target, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.run")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    given = parser.parse_args()
    if unknown := set(given.targets) - TARGETS.keys():
        parser.error(f"TARGET was {', '.join(sorted(unknown))}, expected some of {', '.join(TARGETS)}")
    results = [fuzzed(name, given.seconds) for name in given.targets or TARGETS]
    return 0 if all(results) else 1


def fuzzed(name: str, seconds: int) -> bool:
    """Fuzz one target for so long, and return whether it did not crash."""
    corpus, crashes = CORPUS / name, CRASHES / name
    for folder in (corpus, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    seeds = list(TARGETS[name].seeds())
    for seed in seeds:
        (corpus / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    words = CORPUS / f"{name}.dict"
    words.write_text(dictionary(seeds))
    before = set(crashes.iterdir())
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={INPUT_SECONDS_MAX}",
        f"-rss_limit_mb={RSS_MB_MAX}",
        f"-artifact_prefix={crashes}/",
        f"-dict={words}",
        "-print_final_stats=0",
    ]
    command = [sys.executable, "-m", "fuzz.one", name, *options, str(corpus)]
    ended = subprocess.run(command, cwd=HERE.parent, capture_output=True, check=False)  # noqa: S603  # it is our own
    told = (ended.stdout + ended.stderr).decode(errors="replace")
    found = sorted(set(crashes.iterdir()) - before)
    if ended.returncode == 0 and not found and (done := DONE.search(told)):
        print(f"{name:<10} {int(done[1]):>9,} inputs in {done[2]} s, no crash")
        return True
    print(f"{name:<10} CRASHED\n{_end_of(told)}")
    for path in found:
        print(f"replay it with: python -m fuzz.replay {name} {path.relative_to(HERE.parent)}")
    return False


def dictionary(seeds: Iterable[bytes]) -> str:
    """Return the words of the seeds, for the fuzzer to put where it likes."""
    words = sorted({word for seed in seeds for word in re.findall(rb"[A-Za-z_][A-Za-z0-9_.:-]{2,40}", seed)})
    numbers = [b"NaN", b"sNaN", b"-Infinity", b"1e999999", b"1e-31", b"-0", b"9" * 41]
    return "".join(f'"{word.decode()}"\n' for word in [*numbers, *words[:WORDS_MAX]])


def _end_of(told: str) -> str:
    """Return the end of what a fuzzer has said, without its own noise."""
    lines = [line for line in told.splitlines() if not line.startswith(("#", "INFO:", "NEW_FUNC", "MS:", "0x"))]
    return "\n".join(f"    {line[:300]}" for line in lines[-TAIL_LINES:])


if __name__ == "__main__":
    sys.exit(main())
