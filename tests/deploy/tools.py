"""Programs of the operating system that some tests need, and others may not have."""

from __future__ import annotations

import os
import shutil

import pytest


def needed(program: str, package: str) -> str:
    """Return the path of a program. Without it the test is skipped, and fails where CI is set."""
    path = shutil.which(program)
    if path is not None:
        return path
    missing = f"{program} is not installed: apt-get install {package}"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)
