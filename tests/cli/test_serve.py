"""`serve`: it says what it runs with, and why it does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import POLICY, run

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.system
@pytest.mark.parametrize("with_file", [False, True])
def test_serve_when_started_then_it_says_which_settings_and_policy_it_uses(tmp_path: Path, with_file: bool) -> None:
    policy, settings = tmp_path / "policy.toml", tmp_path / "settings.toml"
    policy.write_text(POLICY)
    settings.write_text('[log]\nlevel = "info"\n')
    ports = {"CIRCUIT_GUARD_GRPC__LISTEN": "127.0.0.1:0", "CIRCUIT_GUARD_HTTP__LISTEN": "127.0.0.1:0"}
    own = {"CIRCUIT_GUARD_ACTOR": "alice"} | ({"CIRCUIT_GUARD_SETTINGS": str(settings)} if with_file else {})
    command = [sys.executable, "-m", "circuit_guard", "serve", "--policy", str(policy)]
    environ = {**os.environ, **ports, **own}

    with subprocess.Popen(command, env=environ, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = [json.loads(process.stderr.readline()) for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=20)

    assert lines[0]["settings"] == (str(settings) if with_file else "built-in defaults")
    assert lines[0]["policy"] == str(policy)
    assert [line["event"] for line in lines[1:]] == ["memory_only", "started"]
    assert code == 0


@pytest.mark.parametrize(
    ("arguments", "env", "message"),
    [
        (("--settings", "none.toml"), {}, "none.toml: the settings document has 1 problem\n  file: was missing"),
        (("--policy", "none.toml"), {}, "none.toml: the policy has 1 problem\n  file: was missing"),
        ((), {"CIRCUIT_GUARD_SETTINGS": "none.toml"}, "none.toml: the settings document has 1 problem"),
        ((), {"CIRCUIT_GUARD_GRPC__LISTEN": "0.0.0.0:1"}, "environment: the settings document has 1 problem"),
        (
            (),
            {"CIRCUIT_GUARD_TYPO": "1"},
            "environment: the settings document has 1 problem\n  CIRCUIT_GUARD_TYPO: was",
        ),
    ],
)
def test_serve_when_a_document_is_not_valid_then_it_does_not_start(
    arguments: tuple[str, ...], env: dict[str, str], message: str
) -> None:
    result = run("serve", *arguments, env=env)

    assert result.exit_code == 2
    assert f"circuit-guard: {message}" in result.stderr


def test_serve_when_the_log_is_for_people_then_so_is_its_first_line() -> None:
    result = run("serve", "--policy", "none.toml", env={"CIRCUIT_GUARD_LOG__FORMAT": "console"})

    assert result.stderr.startswith("circuit-guard: starting with settings built-in defaults, policy none.toml\n")
