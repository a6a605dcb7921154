"""`replay` and `recording` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from circuit_guard.config.policy import read_policy_file
from circuit_guard.recording.replay import replay_files
from tests.cli.running import run

ROOT = Path(__file__).parent.parent.parent
INCIDENT = ROOT / "examples" / "incident.jsonl.gz"
POLICY = ROOT / "config" / "policy.toml"
HEADER = '{"circuit_guard_recording": 1}\n'
PRICES = """market,t,open,high,low,close
BTC-USD-PERP,2026-01-19T04:00:00Z,100,102,99,101
BTC-USD-PERP,2026-01-19T04:01:00Z,101,103,100,102
BTC-USD-PERP,2026-01-19T04:05:00Z,102,103,100,102
"""


def test_replay_when_asked_for_json_then_standard_output_is_that_one_object() -> None:
    result = run("replay", str(INCIDENT), "--policy", str(POLICY), "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == replay_files([INCIDENT], read_policy_file(POLICY))
    assert result.stderr == ""


def test_replay_when_shown_to_a_person_then_the_score_is_a_table() -> None:
    result = run("replay", str(INCIDENT), str(INCIDENT), "--policy", str(POLICY), "--retry-for", "0")

    assert result.exit_code == 0
    assert "wrongful denied" in result.stdout
    assert "54/54" in result.stdout
    assert "108/108" in result.stdout, "the total of both"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ':1: the file is empty, expected a header such as {"circuit_guard_recording": 1}'),
        (b"{}\n", ":1: circuit_guard_recording is missing, expected 1"),
        ((HEADER + "x\n").encode(), ":2: is not JSON at column 1"),
        ((HEADER + '{"at": "2026-01-19T04:00:00Z", "tick": {}}\n').encode(), ":2: holds none of observation, "),
        (b"\x1f\x8bnot gzip", ":1: the gzip file is "),
    ],
)
def test_replay_when_a_line_cannot_be_used_then_file_and_line_are_named(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_bytes(content)

    replayed = run("replay", str(path), "--policy", str(POLICY), "--json")
    checked = run("recording", "check", str(path))

    assert (replayed.exit_code, checked.exit_code) == (2, 1)
    assert replayed.stderr.startswith(f"circuit-guard: {path}{message}")
    assert replayed.stderr == checked.stderr
    assert replayed.stdout == checked.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("replay", "none.gz", "--policy", str(POLICY)), "circuit-guard: none.gz: cannot be read (No such file"),
        (("replay", str(INCIDENT), "--policy", "none.toml"), "circuit-guard: none.toml: the policy has 1 problem\n"),
        (("replay", str(INCIDENT)), "--policy"),
        (("replay", "--policy", str(POLICY)), "FILES"),
        (("replay", str(INCIDENT), "--policy", str(POLICY), "--retry-for", "-1"), "--retry-for"),
        (("recording", "incident"), "-o"),
        (("recording", "incident", "-o", "x.gz", "--seed", "much"), "--seed"),
        (("recording", "from-candles", "none.csv", "-o", "x.gz"), "circuit-guard: none.csv: cannot be read ("),
        (
            ("recording", "from-candles", "p.csv", "-o", "x.gz", "--reference", "okx"),
            "--reference was okx, expected SOURCE=F",
        ),
        (
            ("recording", "from-candles", "p.csv", "-o", "x.gz", "--funding-index-start", "NaN"),
            "--funding-index-start was NaN, expected a decimal such as 0.05",
        ),
        (
            ("recording", "from-candles", "p.csv", "-o", "x.gz", "--max-funding-rate", "2 %"),
            "--max-funding-rate was 2 %",
        ),
        (("recording", "from-candles", "p.csv", "-o", "x.gz", "--step", "0"), "--step"),
    ],
)
def test_recordings_when_misused_then_the_message_says_what_was_expected(
    arguments: tuple[str, ...], message: str
) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert message in result.stderr


def test_recording_check_when_valid_then_it_is_summed_up() -> None:
    result = run("recording", "check", str(INCIDENT))

    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == f"{INCIDENT}: valid"
    assert "840 observations, 3168 references, 3 phases, 79 checks, 3 faults\n" in result.stdout


def test_recording_incident_when_made_anew_then_it_is_the_bundled_one(tmp_path: Path) -> None:
    path = tmp_path / "incident.jsonl.gz"

    result = run("recording", "incident", "-o", str(path))

    assert result.exit_code == 0
    assert path.read_bytes() == INCIDENT.read_bytes()


def test_recording_incident_when_the_place_cannot_be_written_then_that_is_said(tmp_path: Path) -> None:
    result = run("recording", "incident", "-o", str(tmp_path / "none" / "incident.jsonl"))

    assert result.exit_code == 2
    assert "cannot be written (No such file or directory), expected a writable file" in result.stderr


def test_recording_from_candles_when_made_then_it_can_be_replayed(tmp_path: Path) -> None:
    prices, venue, output = tmp_path / "prices.csv", tmp_path / "okx.csv", tmp_path / "mine.jsonl.gz"
    prices.write_text(PRICES)
    venue.write_text(PRICES)
    venues = [f"--reference={source}={venue}" for source in ("binance", "okx", "bybit")]

    made = run("recording", "from-candles", str(prices), "-o", str(output), *venues)

    assert made.exit_code == 0
    assert "no candles of BTC-USD-PERP from 2026-01-19T04:02:00Z to 2026-01-19T04:05:00Z\n" in made.stdout
    assert "cannot show a divergence" not in made.stdout
    assert run("recording", "check", str(output)).exit_code == 0
    assert run("replay", str(output), "--policy", str(POLICY)).exit_code == 0


def test_recording_from_candles_when_references_are_derived_then_that_is_said(tmp_path: Path) -> None:
    prices, output = tmp_path / "prices.csv", tmp_path / "mine.jsonl"
    prices.write_text(PRICES)

    made = run("recording", "from-candles", str(prices), "-o", str(output), "--step", "10")

    assert made.exit_code == 0
    assert made.stdout.endswith("this recording cannot show a divergence.\n")
