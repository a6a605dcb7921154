"""The files that come with the program: inside the installed package, or in the checkout it runs from."""

from __future__ import annotations

from pathlib import Path

from circuit_guard.cli.output import CommandError, ExitCode

_PACKAGE = Path(__file__).resolve().parent.parent
_IN_CHECKOUT = {"incident.jsonl.gz": "examples", "policy.toml": "config"}


def bundled(name: str) -> Path:
    """Return the path of a bundled file. Raise CommandError where the installation lacks it."""
    places = (_PACKAGE / "bundled" / name, _PACKAGE.parent / _IN_CHECKOUT[name] / name)
    for path in places:
        if path.is_file():
            return path
    raise CommandError(f"{name} is missing from this installation: expected it at {places[0]}", ExitCode.BAD_INPUT)
