"""Cut a release: `python scripts/release.py VERSION`. `--check` says whether all that names the newest release agrees.

The version goes into every file that names it, what is unreleased in CHANGELOG.md becomes the release of today, and
today's protos become the ones that later changes may not break. Commit and tag are left to whoever reviews it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from packaging.version import Version

ROOT = Path(__file__).parent.parent
NAMING = (
    "circuit_guard/__init__.py",
    "deploy/Dockerfile",
    "deploy/kubernetes/statefulset.yaml",
    "docs/operating.md",
    *(f"examples/incident_report/{mode}/report.{kind}" for mode in ("enforced", "shadow") for kind in ("html", "md")),
)
"""The files that name the version, and no other version that looks like one of ours."""
PROTOS = "protos/released.binpb"
RELEASED = "protos/released.txt"
"""The release that the protos above are of, and their SHA-256: they change with a release and not otherwise."""
UNRELEASED = "## Unreleased\n"


def version_of(root: Path) -> str:
    """Return the package's version."""
    [found] = re.findall(r'^__version__ = "(.+)"$', (root / NAMING[0]).read_text(), re.MULTILINE)
    return str(found)


def tied(root: Path, version: str) -> str:
    """Return what ties the released protos to a version."""
    return f"{version} sha256:{sha256((root / PROTOS).read_bytes()).hexdigest()}\n"


def problems(root: Path) -> Iterator[str]:
    """Return everything that names another release than the package does."""
    version = version_of(root)
    newest = re.findall(r"^## (\d\S*) - \d{4}-\d\d-\d\d$", (root / "CHANGELOG.md").read_text(), re.MULTILINE)[:1]
    if newest != [version]:
        yield f"CHANGELOG.md: the newest release was {', '.join(newest) or 'none'}, expected {version}"
    for name in NAMING:
        if version not in (root / name).read_text():
            yield f"{name}: does not name {version}"
    if (root / RELEASED).read_text() != tied(root, version):
        yield f"{RELEASED}: was {(root / RELEASED).read_text().strip()}, expected {tied(root, version).strip()}"


def release(root: Path, version: str) -> None:
    """Write the release. Raise ValueError where it is not newer, or has nothing in it."""
    before, changelog = version_of(root), (root / "CHANGELOG.md").read_text()
    if Version(version) <= Version(before):
        raise ValueError(f"VERSION was {version}, expected one above {before}")
    _, _, later = changelog.partition(UNRELEASED)
    if not re.split(r"^## ", later, maxsplit=1, flags=re.MULTILINE)[0].strip():
        raise ValueError("CHANGELOG.md has nothing under Unreleased, expected what the release changes")
    subprocess.run(  # noqa: S603
        [Path(sys.executable).with_name("buf"), "build", "protos", "-o", PROTOS], cwd=root, check=True
    )
    (root / RELEASED).write_text(tied(root, version))
    heading = f"{UNRELEASED}\n## {version} - {datetime.now(UTC):%Y-%m-%d}\n"
    (root / "CHANGELOG.md").write_text(changelog.replace(UNRELEASED, heading, 1))
    for name in NAMING:
        (root / name).write_text((root / name).read_text().replace(before, version))


def main(argument: str, root: Path = ROOT) -> int:
    """Check or release; return the exit code."""
    if argument == "--check":
        found = list(problems(root))
        print("\n".join(found), file=sys.stderr, end="\n" if found else "")
        return 1 if found else 0
    try:
        release(root, argument)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
