from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from tests.journal.builders import START_NS


class Opened:
    """Opens journals of the test's own state directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, **options: Any) -> Journal:
        return Journal(self.directory, START_NS, JournalOptions(**options))


@pytest.fixture(name="opened")
def _opened(tmp_path: Path) -> Opened:
    return Opened(tmp_path / "state")
