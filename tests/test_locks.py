"""`make check` sees a lock that has fallen behind pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import check_locks

HASH = f"    --hash=sha256:{'0' * 64}\n"
PINNED = f"grpcio==1.85.1 \\\n{HASH}pyyaml==6.0.3 ; python_version < '4' \\\n{HASH}    # via nothing\n"


def test_locks_when_compared_with_pyproject_then_they_have_all_of_it() -> None:
    assert check_locks.main() == 0


@pytest.mark.parametrize("requirement", ["grpcio>=1.85", "PyYAML", "pyyaml<7"])
def test_requirement_when_the_lock_pins_a_version_it_allows_then_there_is_no_problem(requirement: str) -> None:
    assert list(check_locks.problems(PINNED, [requirement])) == []


@pytest.mark.parametrize(
    ("requirement", "problem"),
    [
        ("redis>=5.0.1", "redis is missing, expected redis>=5.0.1"),
        ("grpcio>=1.90", "grpcio was 1.85.1, expected grpcio>=1.90"),
    ],
)
def test_requirement_when_the_lock_does_not_meet_it_then_it_is_named(requirement: str, problem: str) -> None:
    assert list(check_locks.problems(PINNED, [requirement])) == [problem]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("--index-url https://packages.example\n", "'--index-url https://packages.example' is in it"),
        ("--find-links wheels\n", "'--find-links wheels' is in it"),
        ("redis==8.1.0\n", "redis==8.1.0 has no hash"),
    ],
)
def test_lock_when_it_names_an_index_or_has_no_hash_then_that_is_a_problem(line: str, problem: str) -> None:
    [found] = check_locks.problems(PINNED + line, [])
    assert found.startswith(problem)


def test_check_when_a_lock_is_behind_then_it_fails_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deploy").mkdir()
    for name in ("pyproject.toml", "requirements.lock", "deploy/requirements.lock", "deploy/build-requirements.lock"):
        text = (check_locks.ROOT / name).read_text()
        (tmp_path / name).write_text(text.replace('"typer>=0.16"', '"typer>=0.16", "newcomer>=1"'))

    assert check_locks.main(tmp_path) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "requirements.lock: newcomer is missing, expected newcomer>=1",
        "deploy/requirements.lock: newcomer is missing, expected newcomer>=1",
        "Write the locks anew with `make lock`; CONTRIBUTING.md says what it needs.",
    ]
