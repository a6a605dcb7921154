"""Replay every recording in a folder and hold the result against what the product promises.

    python scripts/accept_recordings.py FOLDER

In any file no wrongful closure is allowed, at once or on asking again. In a file without a fault nothing trips, nothing
is halted, at least 99.5 % of genuine closures are allowed at once and the rest on asking again. Exits 1 otherwise.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from circuit_guard.config.policy import read_policy_file
from circuit_guard.recording.replay import replay_file

POLICY = Path(__file__).parent.parent / "config" / "policy.toml"
AT_ONCE_SHARE_MIN = 0.995
RETRY_FOR_S = 12


def replay(path: Path) -> dict[str, Any]:
    """Return the result of one recording."""
    return replay_file(path, read_policy_file(POLICY), RETRY_FOR_S).as_json()


def broken_promises(result: dict[str, Any]) -> list[str]:
    """Return what the result breaks, one sentence each."""
    wrongful, genuine = result["labelled"]["wrongful"], result["labelled"]["genuine"]
    broken = []
    if wrongful["allow"] or wrongful["allow_on_retry"]:
        broken.append(
            f"{wrongful['allow']} wrongful allowed at once, {wrongful['allow_on_retry']} more on asking again"
        )
    if result["faults"]:
        return broken
    asked = sum(genuine.values())
    if result["trips"]:
        broken.append(f"{len(result['trips'])} trips without a fault")
    if result["halted_market_seconds"]:
        broken.append(f"{result['halted_market_seconds']} market-seconds halted without a fault")
    if asked and genuine["allow"] / asked < AT_ONCE_SHARE_MIN:
        broken.append(f"{genuine['allow']} of {asked} genuine allowed at once, expected {AT_ONCE_SHARE_MIN:.1%}")
    if genuine["deny"]:
        broken.append(f"{genuine['deny']} genuine closures still denied after {RETRY_FOR_S} s")
    return broken


def main(folder: Path) -> int:
    """Replay, print one line a file, and return the exit code."""
    paths = sorted(folder.glob("*.jsonl.gz"))
    if not paths:
        print(f"{folder}: no recordings here; replaying real price paths is left out")
        return 0
    failed = 0
    with ProcessPoolExecutor() as pool:
        for path, result in zip(paths, pool.map(replay, paths), strict=True):
            broken = broken_promises(result)
            failed += bool(broken)
            wrongful, genuine = result["labelled"]["wrongful"], result["labelled"]["genuine"]
            denied = f"wrongful denied {wrongful['deny']}/{sum(wrongful.values())}"
            allowed = f"genuine allowed {genuine['allow']}+{genuine['allow_on_retry']}/{sum(genuine.values())}"
            print(
                f"{'FAIL' if broken else 'ok':4} {path.name:44} {denied:26} {allowed:28} trips {len(result['trips'])}"
            )
            for sentence in broken:
                print(f"     {sentence}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
