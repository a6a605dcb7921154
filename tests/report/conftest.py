"""The bundled incident as the journals of two guards have it: one that enforced, one in shadow."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from circuit_guard.report.incident import Incident, read_incident
from tests.report.recorded import WINDOW, record

MODES = ("enforced", "shadow")


@pytest.fixture(scope="session")
def journals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the state directory of each mode, for tests that change nothing in it."""
    made = {mode: tmp_path_factory.mktemp(mode) for mode in MODES}
    for mode, directory in made.items():
        asyncio.run(record(directory, shadow=mode == "shadow"))
    return made


@pytest.fixture(scope="session")
def incidents(journals: dict[str, Path]) -> dict[str, Incident]:
    """Return the incident of each mode."""
    return {mode: read_incident(directory, WINDOW) for mode, directory in journals.items()}


@pytest.fixture(scope="session")
def shadow(incidents: dict[str, Incident]) -> Incident:
    """Return the incident of the guard in shadow."""
    return incidents["shadow"]


@pytest.fixture(scope="session")
def enforced(incidents: dict[str, Incident]) -> Incident:
    """Return the incident of the guard that enforced."""
    return incidents["enforced"]
