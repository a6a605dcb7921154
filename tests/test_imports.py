"""The import contract of pyproject.toml refuses each import that points up or sideways, and each foreign one it names.

Each wrong import is planted alone in the graph of the package, and one in a copy of its files for `lint-imports`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import grimp
import pytest
from importlinter.api import read_configuration
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract

ROOT = Path(__file__).parent.parent
KINDS = {"layers": LayersContract, "forbidden": ForbiddenContract}

CONFIGURATION = read_configuration(str(ROOT / "pyproject.toml"))
CONTRACTS: list[dict[str, Any]] = CONFIGURATION["contracts_options"]
[LAYERED] = [contract for contract in CONTRACTS if contract["type"] == "layers"]
LAYERS = [layer.split(" | ") for layer in LAYERED["layers"]]
"""The parts of the package from the top down, those beside each other in one list."""

GRAPH = grimp.build_graph("circuit_guard", include_external_packages=True, cache_dir=None)


class Wrong(NamedTuple):
    """An import that the contract does not allow."""

    importer: str
    imported: str


def broken(graph: grimp.ImportGraph) -> list[str]:
    """Return the names of the contracts that a graph breaks."""
    return [
        options["name"]
        for options in CONTRACTS
        if not KINDS[options["type"]](options["name"], CONFIGURATION["session_options"], options)
        .check(deepcopy(graph), verbose=False)
        .kept
    ]


def inside(part: str) -> str:
    """Return a module of a part of the package: the first in it, or the part itself where it is one module."""
    module = part if part.startswith("circuit_guard.") else f"circuit_guard.{part}"
    return min(GRAPH.find_descendants(module), default=module)


def pointing_wrong() -> Iterator[Wrong]:
    """Return an import from every part of the package into every part above or beside it."""
    for level, layer in enumerate(LAYERS):
        for part in layer:
            above = [other for higher in LAYERS[:level] for other in higher]
            beside = [other for other in layer if other != part]
            yield from (Wrong(inside(part), inside(other)) for other in above + beside)


def foreign() -> Iterator[Wrong]:
    """Return an import of everything that a part of the package is forbidden by name."""
    for contract in CONTRACTS:
        for source in contract.get("source_modules", ()):
            for forbidden in contract["forbidden_modules"]:
                module = inside(forbidden) if forbidden.startswith("circuit_guard.") else forbidden
                yield Wrong(inside(source), module)


def test_contract_when_nothing_is_planted_then_the_package_keeps_it() -> None:
    assert broken(GRAPH) == []


def test_contract_when_read_then_every_part_of_the_package_has_its_layer() -> None:
    parts = {module.removeprefix("circuit_guard.") for module in GRAPH.find_children("circuit_guard")}
    assert parts == {part for layer in LAYERS for part in layer}


@pytest.mark.parametrize("wrong", [*pointing_wrong(), *foreign()], ids=" imports ".join)
def test_contract_when_a_wrong_import_is_planted_then_it_is_refused(wrong: Wrong) -> None:
    graph = deepcopy(GRAPH)
    if wrong.imported not in graph.modules:
        graph.add_module(wrong.imported, is_squashed=True)
    graph.add_import(importer=wrong.importer, imported=wrong.imported)

    assert broken(graph) != []


def test_contract_when_a_package_is_new_then_it_is_refused_until_it_has_its_layer() -> None:
    graph = deepcopy(GRAPH)
    graph.add_module("circuit_guard.newcomer")

    assert broken(graph) == [LAYERED["name"]]


def test_lint_imports_when_a_file_of_the_client_imports_the_page_then_it_names_that_import(tmp_path: Path) -> None:
    for source in (ROOT / "circuit_guard").rglob("*.py"):
        copied = tmp_path / source.relative_to(ROOT)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copied)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command: list[str | Path] = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]

    untouched = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    with (tmp_path / "circuit_guard" / "client" / "__init__.py").open("a") as file:
        file.write("from circuit_guard.web import site\n")
    planted = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert untouched.returncode == 0, untouched.stdout
    assert planted.returncode == 1
    assert "circuit_guard.client -> circuit_guard.web.site" in planted.stdout


def test_core_when_it_imports_then_only_itself_and_the_standard_library() -> None:
    imported = {
        found
        for module in GRAPH.find_descendants("circuit_guard.core")
        for found in GRAPH.find_modules_directly_imported_by(module)
    }
    foreign = {module for module in imported if not module.startswith("circuit_guard.core")}
    assert foreign <= sys.stdlib_module_names


def loaded_by(module: str) -> set[str]:
    """Return the modules that a fresh interpreter has after importing one."""
    script = "import importlib, sys; importlib.import_module(sys.argv[1]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, module], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert module in modules
    return modules


def test_server_when_imported_then_nothing_of_the_evaluation_comes_with_it() -> None:
    assert {
        module for module in loaded_by("circuit_guard.runtime.app") if "circuit_guard.evaluation" in module
    } == set()


@pytest.mark.parametrize(
    ("imported", "foreign"),
    [
        ("circuit_guard.client", set()),
        ("circuit_guard.client.client_interceptor", set()),
        ("circuit_guard.client.server_interceptor", set()),
        ("circuit_guard.client.testing", set()),
        ("circuit_guard.client.metrics", {"prometheus_client"}),
    ],
)
def test_client_when_imported_then_nothing_of_the_guard_comes_with_it(imported: str, foreign: set[str]) -> None:
    modules = loaded_by(imported)

    ours = {module.split(".")[1] for module in modules if module.startswith("circuit_guard.")}
    assert ours <= {"client", "v1"}
    needed_by_the_guard = {"aiohttp", "jinja2", "prometheus_client", "pydantic", "rich", "structlog", "typer"}
    assert {module.partition(".")[0] for module in modules} & needed_by_the_guard == foreign
