"""Compare the locks with pyproject.toml: each has every requirement, at a version the requirement allows, hashed.

    python scripts/check_locks.py

`requirements.lock` is to have the dependencies and every extra but `fuzz`, `deploy/requirements.lock` the dependencies.
Nothing is resolved: what else the requirements need is found when the lock is installed with --require-hashes.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
UNLOCKED = {"fuzz"}
"""Extras that no lock has: atheris is built from source on most machines."""

PIN = re.compile(r"^([\w.-]+)==([^\s;]+)([^\n]*\n(?: {4}--hash=\S+(?: \\)?\n)*)", re.MULTILINE)
HASH = "--hash=sha256:"


def problems(lock: str, requirements: Iterable[str]) -> Iterator[str]:
    """Return what a lock's text lacks of the requirements, and what it must not have."""
    pinned = {canonicalize_name(name): version for name, version, _ in PIN.findall(lock)}
    for requirement in map(Requirement, requirements):
        version = pinned.get(canonicalize_name(requirement.name))
        if version is None:
            yield f"{requirement.name} is missing, expected {requirement}"
        elif version not in requirement.specifier:
            yield f"{requirement.name} was {version}, expected {requirement}"
    for name, version, rest in PIN.findall(lock):
        if HASH not in rest:
            yield f"{name}=={version} has no hash, expected at least one"
    for line in lock.splitlines():
        if "://" in line or line.startswith("-"):
            yield f"{line.strip()!r} is in it, expected pinned releases only, and of no named index"


def main(root: Path = ROOT) -> int:
    """Print every problem. Return 1 where there is one."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = [found for name, found in project["optional-dependencies"].items() if name not in UNLOCKED]
    wanted = {
        "requirements.lock": project["dependencies"] + [requirement for extra in extras for requirement in extra],
        "deploy/requirements.lock": project["dependencies"],
        "deploy/build-requirements.lock": ["hatchling"],
    }
    found = [
        f"{lock}: {problem}"
        for lock, listed in wanted.items()
        for problem in problems((root / lock).read_text(), listed)
    ]
    for line in found:
        print(line, file=sys.stderr)
    if found:
        print("Write the locks anew with `make lock`; CONTRIBUTING.md says what it needs.", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
