"""The command line as a whole: help, version, and an end without a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from circuit_guard import __version__
from tests.cli.running import run

ROOT = Path(__file__).parent.parent.parent
COMMANDS = [
    ("serve",),
    ("check",),
    ("status",),
    ("watch",),
    ("halt",),
    ("resume",),
    ("reset",),
    ("phase",),
    ("reload",),
    ("replay",),
    ("demo",),
    ("policy",),
    ("policy", "check"),
    ("policy", "show"),
    ("policy", "schema"),
    ("settings",),
    ("settings", "check"),
    ("settings", "schema"),
    ("recording",),
    ("recording", "check"),
    ("recording", "from-candles"),
    ("recording", "incident"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_when_asked_for_then_every_command_has_some(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")

    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


def test_help_when_asked_for_then_the_exit_codes_are_told() -> None:
    result = run("--help")

    assert "Exit codes: 0 done, or ALLOW; 1 DENY" in result.stdout


def test_version_when_asked_for_then_it_is_that_of_the_package() -> None:
    assert run("--version").stdout == f"circuit-guard {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [("typo",), ("status", "--typo"), ("policy", "typo"), ("status", "--timeout", "0")]
)
def test_commands_when_mistyped_then_that_is_bad_usage(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


def test_module_when_run_then_it_is_the_same_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "circuit_guard", "status", "--address", "127.0.0.1:1"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=60,
    )

    assert result.returncode == 3
    assert result.stderr == "circuit-guard: no guard answers at 127.0.0.1:1: is `circuit-guard serve` running?\n"
