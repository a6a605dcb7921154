"""The image, without building one: linted, its inputs there and locked, its commands those of the guard."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import typer

from circuit_guard import __version__
from circuit_guard.cli.main import command_line

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
HADOLINT = str(Path(sys.executable).with_name("hadolint"))
TEXT = DOCKERFILE.read_text()
LOCKS = ("requirements.lock", "build-requirements.lock")
PIN = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)


def test_dockerfile_when_linted_then_hadolint_finds_nothing() -> None:
    done = subprocess.run([HADOLINT, str(DOCKERFILE)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_dockerfile_when_broken_then_hadolint_would_say_so() -> None:
    broken = TEXT.replace("USER 65532:65532", "USER root")
    done = subprocess.run([HADOLINT, "-"], input=broken, capture_output=True, text=True, check=False)

    assert "DL3002" in done.stdout


def copied() -> list[str]:
    """Return what is copied from the context."""
    lines = [line.split()[1:] for line in TEXT.splitlines() if line.startswith("COPY ") and "--from" not in line]
    return [source for line in lines for source in line[:-1]]


def test_sources_when_the_image_is_built_then_they_are_there_and_not_ignored() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]

    assert [source for source in copied() if not (ROOT / source).exists()] == []
    assert sorted(kept) == sorted(copied())


def test_package_when_the_wheel_is_built_then_all_that_it_takes_is_copied() -> None:
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    taken = [*targets["packages"], *targets["force-include"]]

    assert [path for path in taken if path not in copied()] == []


@pytest.mark.parametrize("name", LOCKS)
def test_lock_when_an_image_is_built_then_its_pins_are_those_that_the_tests_run_with(name: str) -> None:
    tested = dict(PIN.findall((ROOT / "requirements.lock").read_text()))
    locked = dict(PIN.findall((ROOT / "deploy" / name).read_text()))

    assert locked
    assert {package: pin for package, pin in locked.items() if tested.get(package) != pin} == {}


def test_lock_when_a_dependency_is_added_then_it_is_locked_for_the_image() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower() for line in project["dependencies"]}

    assert wanted <= set(dict(PIN.findall((ROOT / "deploy" / "requirements.lock").read_text())))


def test_packages_when_installed_then_each_has_to_have_its_hash() -> None:
    installs = re.findall(r"pip install (.*?)(?: \\|$)", TEXT, re.MULTILINE)

    assert [line for line in installs if "--require-hashes" not in line] == [
        "--no-deps --no-index --find-links wheels circuit-guard"
    ]


def test_user_when_the_image_runs_then_it_is_a_number_and_not_root() -> None:
    [user] = re.findall(r"^USER (.*)$", TEXT, re.MULTILINE)

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_version_when_it_changes_then_the_label_does_too() -> None:
    [label] = re.findall(r'image\.version="(.*)"', TEXT)

    assert label == __version__


@pytest.mark.parametrize("instruction", ["HEALTHCHECK", "CMD"])
def test_command_when_the_image_runs_it_then_the_guard_has_it_with_these_options(instruction: str) -> None:
    joined = TEXT.replace("\\\n", " ")
    [line] = [line for line in joined.splitlines() if line.startswith(instruction)]
    name, *arguments = [word for word in json.loads(line[line.index("[") :]) if word != "circuit-guard"]

    command = typer.main.get_command(command_line()).commands[name]  # type: ignore[attr-defined]

    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in arguments if word.startswith("-")} <= known
    assert 'ENTRYPOINT ["circuit-guard"]' in TEXT


def test_health_when_docker_asks_then_market_data_do_not_matter() -> None:
    assert '"probe", "--live"' in TEXT


def test_stop_when_docker_ends_it_then_the_guard_drains() -> None:
    assert "STOPSIGNAL SIGTERM" in TEXT


def test_context_when_sent_then_nothing_private_is_in_it() -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    assert ignored[0] == "*"
    assert not any(fnmatch(".git/config", line[1:]) for line in ignored if line.startswith("!"))
