"""The client is light: it brings nothing of the guard into the process that asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOREIGN = ("aiohttp", "jinja2", "prometheus_client", "pydantic", "rich", "structlog", "typer")
OURS = ("circuit_guard.client", "circuit_guard.v1")

SCRIPT = """
import importlib, sys
importlib.import_module(sys.argv[1])
print("\\n".join(sys.modules))
"""


def modules_of(imported: str) -> set[str]:
    """Return all modules in a fresh interpreter that has imported one."""
    command = [sys.executable, "-c", SCRIPT, imported]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "imported",
    [
        "circuit_guard.client",
        "circuit_guard.client.client_interceptor",
        "circuit_guard.client.server_interceptor",
        "circuit_guard.client.testing",
    ],
)
def test_client_when_imported_then_it_pulls_in_nothing_of_the_guard(imported: str) -> None:
    modules = modules_of(imported)

    assert imported in modules
    assert {module.partition(".")[0] for module in modules}.isdisjoint(FOREIGN)
    ours = {module for module in modules if module.startswith("circuit_guard.")}
    assert [module for module in sorted(ours) if not module.startswith(OURS)] == []


def test_metrics_when_imported_then_prometheus_client_is_all_that_comes_with_them() -> None:
    modules = modules_of("circuit_guard.client.metrics")

    foreign = {module.partition(".")[0] for module in modules} & set(FOREIGN)
    assert foreign == {"prometheus_client"}
