"""docs/security.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from circuit_guard.config.security import Role
from circuit_guard.config.settings import Settings, load_settings
from circuit_guard.server.security.access import ROLES, may

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text()


def test_page_when_it_lists_rpcs_then_they_are_those_of_the_table() -> None:
    written = re.findall(r"^\| ([A-Za-z]+/[A-Za-z]+)(?: \(Envoy\))? \| ([a-z, ]+) \|$", PAGE, re.MULTILINE)

    meant = [
        (
            method.rpartition(".")[2],
            "everybody" if role is None else ", ".join(sorted((one for one in Role if may((one,), role)), key=order)),
        )
        for method, role in ROLES.items()
    ]
    assert sorted(written) == sorted(meant)


def order(role: str) -> int:
    roles: list[str] = [Role.LIQUIDATOR, Role.PUBLISHER, Role.VIEWER, Role.OPERATOR]
    return roles.index(role)


def test_page_when_it_lists_limits_then_they_are_the_defaults() -> None:
    written = re.findall(r"^\| `([a-z]+)\.([a-z_]+)` \| (\d+) \|", PAGE, re.MULTILINE)

    settings = Settings()
    assert {f"{table}.{key}": int(value) for table, key, value in written} == {
        f"{table}.{key}": getattr(getattr(settings, table), key) for table, key, _ in written
    }
    assert {f"limits.{key}" for key, _ in settings.limits} <= {f"{table}.{key}" for table, key, _ in written}


def test_page_when_it_shows_settings_then_they_are_valid(tmp_path: Path) -> None:
    [block] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "settings.toml"
    path.write_text(block)

    assert set(load_settings(path, {}).security.identities) == {"engine", "feed", "binance", "bastion", "dashboard"}
