from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from circuit_guard.config.policy import PolicyFile, parse_policy_file
from circuit_guard.evaluation.incident import incident
from circuit_guard.recording.format import Entry, Header

settings.register_profile("no deadline", deadline=None, max_examples=40)  # the cores are shared: time is no test
settings.load_profile("no deadline")

SHARED = Path(__file__).parents[1].parent / "shared" / "data"


@pytest.fixture(name="policy_file", scope="session")
def _policy_file() -> PolicyFile:
    return parse_policy_file("[classes.default]\n", "policy.toml")


@pytest.fixture(name="story", scope="session")
def _story() -> tuple[Header, list[Entry]]:
    return incident()


@pytest.fixture(name="shared_data", scope="session")
def _shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the folder with real market data, ../shared/data, is not here")
    return SHARED
