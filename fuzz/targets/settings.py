"""The settings: any file, under any environment, is valid, or SettingsError lists what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from circuit_guard.config.settings import load_settings
from circuit_guard.errors import SettingsError
from fuzz import story

ENVIRONMENT = b"\0"
"""What comes after it are environment variables, a line each."""


def seeds() -> Iterator[bytes]:
    """Return the settings of the repository, and some that come from the environment."""
    for path in (story.SETTINGS, *sorted(story.ROOT.glob("examples/**/settings*.toml"))):
        yield path.read_bytes()
    yield b'[grpc]\nlisten = "unix:guard.sock"\n[security.identities.a]\nroles = ["viewer"]\n'
    variables = b"CIRCUIT_GUARD_GRPC__LISTEN=127.0.0.1:0\nCIRCUIT_GUARD_LOG__LEVEL=debug\nGUARD_SERVICE_HOST=10.0.0.1"
    yield story.SETTINGS.read_bytes() + ENVIRONMENT + variables


def feed(data: bytes) -> None:
    """Read the bytes as a settings file and an environment."""
    document, _, lines = data.partition(ENVIRONMENT)
    pairs = (line.partition("=") for line in lines.decode(errors="replace").splitlines())
    environ = {name: value for name, _, value in pairs}
    with TemporaryDirectory() as folder:
        path = Path(folder, "settings.toml")
        path.write_bytes(document)
        try:
            load_settings(path, environ)
        except SettingsError as error:
            if not error.problems:
                raise AssertionError("refused without a problem") from error
