"""Generate the gRPC stubs in circuit_guard/v1 from protos/, or with --check say whether they are fresh."""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
PACKAGE = Path("circuit_guard", "v1")
COMMAND = "python scripts/generate_stubs.py"


def generate(target: Path) -> None:
    """Write the stubs under `target`, in the folders of their package. Raises RuntimeError where protoc fails."""
    sources = sorted(path.relative_to(PROTOS).as_posix() for path in (PROTOS / PACKAGE).glob("*.proto"))
    includes = [f"-I{PROTOS}", f"-I{files('grpc_tools') / '_proto'}"]
    outputs = [f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")]
    status = protoc.main(["protoc", *includes, *outputs, *sources])
    if status != 0:
        raise RuntimeError(f"protoc: exit code {status}, expected 0; its own message is above")


def stubs(folder: Path) -> dict[str, str]:
    """Return the text of every stub in `folder`, by file name."""
    return {path.name: path.read_text() for path in sorted(folder.glob("*_pb2*.py*")) if path.suffix in {".py", ".pyi"}}


def stale(fresh: dict[str, str], committed: dict[str, str]) -> list[str]:
    """Return the names of stubs that are missing, superfluous or different."""
    return sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))


def check() -> str | None:
    """Compare the committed stubs with fresh ones; None where they are the same, else what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        names = stale(stubs(Path(folder) / PACKAGE), stubs(ROOT / PACKAGE))
    return f"{', '.join(names)}: not as protos/ would have them; run: {COMMAND}" if names else None


def main() -> str | None:
    """Run the command line; return what went wrong, if anything did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a stub is not fresh")
    if parser.parse_args().check:
        return check()
    for name in stubs(ROOT / PACKAGE):
        (ROOT / PACKAGE / name).unlink()
    generate(ROOT)
    return None


if __name__ == "__main__":
    sys.exit(main())
