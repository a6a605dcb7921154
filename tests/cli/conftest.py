"""A running guard, and an environment that says nothing to the command line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import Guard, running


@pytest.fixture(autouse=True)
def _no_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CIRCUIT_GUARD_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    """Return a running guard with three cold markets, for tests that change nothing in it."""
    with running(tmp_path_factory.mktemp("untouched")) as guard:
        yield guard


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    """Return a running guard with three cold markets."""
    with running(tmp_path) as guard:
        yield guard
