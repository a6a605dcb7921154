"""The systemd unit: systemd understands it, it is hardened, and it fits what the guard does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from circuit_guard.cli.main import command_line
from circuit_guard.config.settings import Settings
from tests.deploy.tools import needed

UNIT = Path(__file__).parent.parent.parent / "deploy" / "systemd" / "circuit-guard.service"
PROGRAM = "/opt/circuit_guard/bin/circuit-guard"
EXPOSURE_MAX = 15
"""Of 100, in the units of `systemd-analyze security --threshold`; a unit without hardening has 96."""


def values(key: str, unit: Path = UNIT) -> list[str]:
    """Return what a unit says for a key."""
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return the unit with a program that is there, as the guard is not installed where tests run."""
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace(PROGRAM, sys.executable))
    return path


def analyzed(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [needed("systemd-analyze", "systemd"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.system
def test_unit_when_systemd_reads_it_then_it_has_no_complaints(unit: Path) -> None:
    needed("kill", "procps")
    done = analyzed("verify", "--man=no", str(unit))

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.system
def test_unit_when_a_key_is_mistyped_then_systemd_would_say_so(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("ProtectSystem=", "ProtectSysten="))

    assert "ProtectSysten" in analyzed("verify", "--man=no", str(unit)).stderr


@pytest.mark.system
def test_unit_when_it_is_judged_then_little_is_exposed(unit: Path) -> None:
    done = analyzed("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(unit))

    assert done.returncode == 0, done.stdout


def test_commands_when_systemd_runs_them_then_the_guard_has_them() -> None:
    known = typer.main.get_command(command_line()).commands  # type: ignore[attr-defined]
    run = [line.split()[1:] for key in ("ExecStart", "ExecReload") for line in values(key) if line.startswith(PROGRAM)]

    assert [words[0] for words in run] == ["serve", "policy"]
    assert {words[0] for words in run} <= set(known)
    assert run[1][1] in known["policy"].commands


def test_stop_when_the_guard_drains_then_systemd_waits_for_it() -> None:
    [allowed] = values("TimeoutStopSec")

    assert int(allowed) >= Settings().grpc.drain_grace_s + 15


def test_readiness_when_systemd_waits_for_it_then_the_guard_is_what_tells_it() -> None:
    assert values("Type") == ["notify"]
    assert values("WatchdogSec") != []


def test_restart_when_a_document_is_bad_then_systemd_does_not_try_again() -> None:
    assert (values("Restart"), values("RestartPreventExitStatus")) == (["always"], ["2"])
