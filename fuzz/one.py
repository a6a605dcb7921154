"""Fuzzes one target until libFuzzer's options end it: `python -m fuzz.one TARGET [options] CORPUS`. Needs atheris."""

from __future__ import annotations

import importlib
import logging
import sys

import atheris

INSTRUMENTED = ["circuit_guard", "tomllib"]
"""Where the fuzzer sees which branches an input takes."""


def main() -> None:
    """Fuzz the target that is named first."""
    logging.disable(logging.CRITICAL)  # what the guard says of broken input is no news here
    with atheris.instrument_imports(include=INSTRUMENTED):
        targets = importlib.import_module("fuzz.targets").TARGETS
    program, target, *options = sys.argv
    atheris.Setup([program, *options], targets[target].feed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
