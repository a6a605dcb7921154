"""`evaluate` at the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from circuit_guard.cli.evaluate import FAULTS
from circuit_guard.cli.evaluate import Dispersion as Choice
from circuit_guard.evaluation.dispersion import Dispersion
from circuit_guard.evaluation.faults import KINDS
from circuit_guard.evaluation.peers import PEERS
from tests.cli.running import run
from tests.evaluation.evaluating import write_honest

ROOT = Path(__file__).parent.parent.parent
INCIDENT = ROOT / "examples" / "incident.jsonl.gz"
SHADOW = "[guard]\nshadow = true\n[classes.default]\n"


@pytest.fixture(name="recording", scope="module")
def _recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_honest(tmp_path_factory.mktemp("recordings"))


def evaluate(recording: Path, *arguments: str) -> tuple[int, str, str]:
    result = run("evaluate", str(recording), "--jobs", "1", "--seeds", "1", *arguments)
    return result.exit_code, result.stdout, result.stderr


def test_evaluate_when_asked_for_json_then_standard_output_is_that_one_object(recording: Path) -> None:
    code, stdout, stderr = evaluate(recording, "--faults", "none, reset,none", "--dispersion", "real", "--json")

    result = json.loads(stdout)
    assert (code, stderr) == (0, "")
    assert result["faults"] == ["none", "reset"]
    assert (result["dispersion"], result["as_recorded"]) == ("real", [])
    assert result["policies"]["circuit_guard"]["file"].endswith("policy.toml"), "the bundled one"
    assert len(result["guards"]) == 1 + len(PEERS)


def test_evaluate_when_shown_to_a_person_then_guards_and_faults_have_rows(recording: Path, tmp_path: Path) -> None:
    shadow = tmp_path / "shadow.toml"
    shadow.write_text(SHADOW)

    code, stdout, _ = evaluate(recording, "--faults", "reset", "--against", str(shadow))

    assert code == 0
    assert "luld_band" in stdout
    assert f"circuit_guard_against under {shadow}, by fault" in stdout
    assert "What --against would change" in stdout


@pytest.mark.parametrize("name", ["plot.png", "plot.svg"])
def test_evaluate_when_a_plot_is_wanted_then_it_is_written(recording: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")

    code, _, _ = evaluate(recording, "--faults", "reset", "--plot", str(tmp_path / name))

    assert code == 0
    assert (tmp_path / name).stat().st_size > 5_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--faults", "resett"), "circuit-guard: --faults has resett, did you mean reset?\n"),
        (("--faults", "none,xyzzy"), "circuit-guard: --faults has xyzzy, expected all or some of none, reset, "),
        (("--faults", "none,"), "circuit-guard: --faults has an empty name, expected all or some of none, "),
        (("--seeds", "0"), "--seeds"),
        (("--jobs", "0"), "--jobs"),
        (("--dispersion", "reel"), "--dispersion"),
        (("--policy", "none.toml"), "circuit-guard: none.toml: the policy has 1 problem\n"),
        (("--against", "none.toml"), "circuit-guard: none.toml: the policy has 1 problem\n"),
        (("--plot", "plot.jpg"), "circuit-guard: --plot was plot.jpg, expected a file that ends in .png or .svg\n"),
        (("--plot", "none/plot.svg"), "circuit-guard: --plot was none/plot.svg, expected a file in a directory that "),
    ],
)
def test_evaluate_when_misused_then_the_message_says_what_was_expected(
    recording: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = run("evaluate", str(recording), *arguments)

    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory), expected a readable file\n"),
        (b"{}\n", "1: circuit_guard_recording is missing, expected 1"),
        (b'{"circuit_guard_recording": 1}\nx\n', "2: is not JSON at column 1"),
        (b'{"circuit_guard_recording": 1}\n', "lasts 0 s, expected at least 540 s"),
    ],
)
def test_evaluate_when_a_recording_cannot_be_used_then_it_is_named(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "recording.jsonl"
    if content is not None:
        path.write_bytes(content)

    code, stdout, stderr = evaluate(path, "--faults", "none", "--json")

    assert (code, stdout) == (2, "")
    assert stderr.startswith(f"circuit-guard: {path}:")
    assert message in stderr


def test_evaluate_when_the_recording_holds_a_fault_then_it_is_refused() -> None:
    code, _, stderr = evaluate(INCIDENT, "--faults", "none")

    assert code == 2
    assert stderr.startswith(f"circuit-guard: {INCIDENT}: holds a fault of its own, expected honest data")


def test_evaluate_when_matplotlib_is_missing_then_says_which_extra_to_install(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    code, stdout, stderr = evaluate(recording, "--faults", "none", "--plot", "plot.svg")

    assert (code, stdout) == (2, "")
    assert "--plot needs matplotlib, which is not installed: pip install 'circuit-guard[plot]'" in stderr


@pytest.mark.system
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="this system does not list a process's children")
def test_evaluate_when_killed_then_its_processes_end_too(recording: Path) -> None:
    command = (sys.executable, "-m", "circuit_guard", "evaluate", str(recording), "--seeds", "500", "--jobs", "2")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT) as evaluation:
        children = Path(f"/proc/{evaluation.pid}/task/{evaluation.pid}/children")
        while len(children.read_text().split()) < 3:  # both processes, and what keeps track of their semaphores
            with suppress(subprocess.TimeoutExpired):
                evaluation.wait(0.1)
        evaluation.kill()

        assert evaluation.communicate(timeout=60)[0] == b"", "they hold the pipe until they end"


def test_evaluate_when_help_is_wanted_then_the_faults_are_listed() -> None:
    result = run("evaluate", "--help")

    assert result.exit_code == 0
    assert FAULTS.split(", ") == [*KINDS]
    assert [each.value for each in Choice] == [each.value for each in Dispersion]
    assert "single_venue_wick_followed" in result.stdout
