"""Every command prints what it has to say, whatever letters the terminal's encoding lacks: they become escapes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cli.running import BTC, Guard, running

REASON, ACTOR = "Index 0 → hält an 停止", "Jörg"
MARKETS = ("東京-USD-PERP", "ÉTÉ,1-PERP")
POLICY = "[classes.default]\n" + "\n".join(f'[markets."{name}"]' for name in (BTC, *MARKETS)) + "\n"
ENCODINGS = [
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "iso-8859-1:strict"},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
]
WHOLE = partial(pytest.param, marks=pytest.mark.system)
"""Each is a dozen processes."""
SLOWER = frozenset(
    {"status", "halt", "resume of what is not halted", "journal show", "policy explain", "a missing file"}
)
IDS = ["ascii", "cp1252", "latin-1", "LANG=C"]


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    with running(tmp_path_factory.mktemp("guard"), POLICY, recorded=True) as guard:
        guard.observe(times=3)
        done = command({}, "halt", BTC, "--actor", ACTOR, "--reason", REASON, "--address", guard.address)
        assert done.returncode == 0, done.stderr
        yield guard


def command(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command as a process of its own, whose output is a pipe in the environment's encoding."""
    return subprocess.run(
        [sys.executable, "-m", "circuit_guard", *arguments],
        env={**os.environ, "CIRCUIT_GUARD_LOG__LEVEL": "error", **environment},
        capture_output=True,
        check=False,
        timeout=120,
    )


def commands(guard: Guard) -> dict[str, tuple[int, list[str]]]:
    """Return commands that say something of the halt, and how each ends."""
    at, state, policy = ["--address", guard.address], str(guard.state_directory), str(guard.policy_path)
    audit = ["--actor", ACTOR, "--reason", REASON]
    return {
        "status": (0, ["status", *at]),
        "status of one": (0, ["status", BTC, *at]),
        "status as JSON": (0, ["status", "--json", *at]),
        "halt": (0, ["halt", MARKETS[0], *audit, *at]),
        "resume of what is not halted": (1, ["resume", "--all", *audit, *at]),
        "journal show": (0, ["journal", "show", state, "--last", "20"]),
        "policy explain": (0, ["policy", "explain", MARKETS[0], policy]),
        "a missing file": (1, ["policy", "check", "/nowhere/→.toml"]),
        "an unknown option": (2, ["status", "--→"]),
    }


@pytest.mark.parametrize(
    ("environment", "left_out"),
    [(ENCODINGS[0], SLOWER), *(WHOLE(environment, frozenset()) for environment in ENCODINGS)],
    ids=["ascii, some", *IDS],
)
def test_commands_when_the_encoding_lacks_letters_then_they_print_escapes_and_end_as_ever(
    guard: Guard, environment: dict[str, str], left_out: frozenset[str]
) -> None:
    asked = {name: how for name, how in commands(guard).items() if name not in left_out}
    for name, (code, arguments) in asked.items():
        done = command(environment, *arguments)

        assert b"Traceback" not in done.stdout + done.stderr, (name, done)
        assert done.returncode == code, (name, done)
        if name == "status as JSON":
            halts = [market.get("halt") for market in json.loads(done.stdout)["markets"]]
            assert REASON in [halt["reason"] for halt in halts if halt]
        if (
            name == "status of one"
            and environment["PYTHONIOENCODING" if len(environment) == 1 else "LC_ALL"] != "cp1252"
        ):
            assert rb"Index 0 \u2192 h" in done.stdout


@pytest.mark.system
@pytest.mark.parametrize("environment", ENCODINGS[:1] + ENCODINGS[3:], ids=[IDS[0], IDS[3]])
def test_watch_when_the_encoding_lacks_letters_then_it_goes_on(guard: Guard, environment: dict[str, str]) -> None:
    program = [sys.executable, "-m", "circuit_guard", "watch", "--address", guard.address]
    output = guard.policy_path.parent / "watched.txt"
    with output.open("wb") as stream:
        watch = subprocess.Popen(program, env={**os.environ, **environment}, stdout=stream, stderr=subprocess.PIPE)
        try:
            for number in range(200):
                command(
                    {},
                    "halt",
                    MARKETS[1],
                    "--actor",
                    ACTOR,
                    "--reason",
                    f"{REASON} {number}",
                    "--address",
                    guard.address,
                )
                if output.read_bytes().count(rb"\u2192") >= 2:
                    break
                assert watch.poll() is None, watch.stderr.read() if watch.stderr else b""
                time.sleep(0.05)
            assert watch.poll() is None
        finally:
            watch.kill()
            watch.communicate()
    assert output.read_bytes().count(rb"\u2192") >= 2


def test_argument_when_the_locale_cannot_read_it_then_it_is_taken_as_utf8(guard: Guard) -> None:
    done = command(ENCODINGS[3], "halt", BTC, "--actor", "zoë", "--reason", "prüfen →", "--address", guard.address)
    assert done.returncode == 0, done.stderr

    shown = json.loads(command({}, "status", "--json", "--address", guard.address).stdout)

    markets = json.dumps(shown, ensure_ascii=False)
    assert "zoë" in markets
    assert "prüfen →" in markets


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"h\xe4lt", b"\xed\xa0\x80"])
def test_argument_when_it_is_no_text_then_it_is_refused_by_its_value(guard: Guard, raw: bytes) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "circuit_guard",
            "halt",
            BTC,
            "--actor",
            "ann",
            "--reason",
            raw,
            "--address",
            guard.address,
        ],
        capture_output=True,
        check=False,
    )

    assert done.returncode == 2
    assert b"expected text in UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr


def test_recording_when_it_has_half_a_letter_then_the_command_says_so_and_does_not_crash(tmp_path: Path) -> None:
    file = tmp_path / "half.jsonl"
    file.write_text('{"circuit_guard_recording": 1, "description": "half \\ud800 a letter"}\n')

    for environment in ({}, ENCODINGS[0]):
        done = command(environment, "recording", "validate", str(file))
        assert b"Traceback" not in done.stderr, done.stderr
