"""The example as it is committed: whoever copies it gets something that fails closed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from circuit_guard.config.settings import Settings, load_settings

EXAMPLE = Path(__file__).parents[2] / "examples" / "envoy"


def tables(value: Any) -> Iterator[dict[str, Any]]:
    """Return every table of a document, however deep."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from tables(inner)


def test_envoy_when_it_runs_on_the_example_then_it_fails_closed_and_listens_on_loopback_only() -> None:
    document = yaml.safe_load((EXAMPLE / "envoy.yaml").read_text())

    [filtering] = [table for table in tables(document) if "failure_mode_allow" in table]
    assert filtering["failure_mode_allow"] is False
    assert filtering["transport_api_version"] == "V3"
    addresses = [table["socket_address"]["address"] for table in tables(document) if "socket_address" in table]
    assert addresses == ["127.0.0.1"] * 3
    assert "admin" not in document


def test_guard_when_it_runs_on_the_example_then_it_answers_envoy_from_the_places_that_are_the_defaults() -> None:
    settings, written = load_settings(EXAMPLE / "settings.toml", {}), (EXAMPLE / "settings.toml").read_text()

    assert settings.ext_authz.enabled
    assert settings == Settings(ext_authz=settings.ext_authz)
    given = tomllib.loads(written)["ext_authz"]
    defaults = Settings().ext_authz
    assert {key: getattr(defaults, key) for key in given} == given | {"enabled": False}
