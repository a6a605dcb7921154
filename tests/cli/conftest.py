"""A running guard, journals, and an environment that says nothing to the command line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import BTC, Guard, running
from tests.recording.recorded_guard import FIRST, RecordedGuard, record_story


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
def recorded(tmp_path: Path) -> Iterator[Guard]:
    """Return a running guard with three cold markets that keeps a journal."""
    with running(tmp_path, recorded=True) as guard:
        yield guard


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    """Return a running guard with three cold markets."""
    with running(tmp_path) as guard:
        yield guard


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the journal of a bad day with a restart, for tests that change nothing in it."""
    directory = tmp_path_factory.mktemp("state")
    asyncio.run(record_story(directory))
    return directory


@pytest.fixture
async def own(tmp_path: Path) -> Path:
    """Return a small journal of the test's own."""
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(5)
        guard.decide(BTC)
    return tmp_path
