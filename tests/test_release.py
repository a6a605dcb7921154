"""A release is one version, in every file that names it, with its changes and its protos."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts import release

CHANGED = "CHANGELOG.md"
NEXT = "99.0.0"


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    """Return a copy of all that a release reads and writes, with a change that is not released."""
    shutil.copytree(release.ROOT / "protos", tmp_path / "protos")
    for name in (*release.NAMING, CHANGED):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(release.ROOT / name, tmp_path / name)
    changelog = tmp_path / CHANGED
    changelog.write_text(changelog.read_text().replace("## Unreleased\n", "## Unreleased\n\n- A new rule.\n"))
    return tmp_path


def test_release_when_it_is_the_newest_then_all_that_names_it_agrees() -> None:
    assert list(release.problems(release.ROOT)) == []


def test_release_when_cut_then_everything_names_it_and_its_changes_are_under_it(root: Path) -> None:
    assert release.main(NEXT, root) == 0

    assert list(release.problems(root)) == []
    unreleased, changes = (root / CHANGED).read_text().split(f"\n## {NEXT} - ")[:2]
    assert unreleased.endswith("## Unreleased\n")
    assert "- A new rule." in changes


@pytest.mark.parametrize("version", ["0.0.1", release.version_of(release.ROOT)])
def test_release_when_not_newer_then_is_refused(root: Path, version: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(version, root) == 1
    assert capsys.readouterr().err.startswith(f"VERSION was {version}, expected one above ")
    assert list(release.problems(root)) == []


def test_release_when_nothing_has_changed_then_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(NEXT, root) == 0
    assert release.main("99.0.1", root) == 1
    assert capsys.readouterr().err.startswith("CHANGELOG.md has nothing under Unreleased")


def test_check_when_the_protos_were_built_without_a_release_then_it_says_so(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protos = root / release.PROTOS
    protos.write_bytes(protos.read_bytes() + b"\x00")

    assert release.main("--check", root) == 1
    assert capsys.readouterr().err.startswith(f"{release.RELEASED}: was ")


def test_check_when_only_the_package_has_a_new_version_then_it_names_all_that_has_not(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = root / release.NAMING[0]
    package.write_text(package.read_text().replace(release.version_of(root), NEXT))

    assert release.main("--check", root) == 1
    named = {line.partition(":")[0] for line in capsys.readouterr().err.splitlines()}
    assert named == {CHANGED, release.RELEASED, *release.NAMING[1:]}
