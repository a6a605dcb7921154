"""The command `circuit-guard`, and `python -m circuit_guard`."""

from __future__ import annotations

import sys

from circuit_guard import __version__


def main() -> None:
    """Run the command line. The version alone is said without importing it: scripts ask for it often."""
    if sys.argv[1:] == ["--version"]:
        print(f"circuit-guard {__version__}")  # noqa: T201  # as the command line says it
        return
    from circuit_guard.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
