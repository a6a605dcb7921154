"""The JSON Schemas of policy and settings: fresh, and agreeing with the loaders."""

from __future__ import annotations

import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from circuit_guard.config.policy import check_policy, policy_json_schema
from circuit_guard.config.settings import settings_json_schema
from circuit_guard.errors import PolicyError

CONFIG = Path(__file__).parents[2] / "config"
SCHEMAS = {"policy": policy_json_schema, "settings": settings_json_schema}


@pytest.mark.parametrize("name", SCHEMAS)
def test_json_schema_when_the_models_change_then_the_committed_one_follows(name: str) -> None:
    committed = json.loads((CONFIG / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert committed == SCHEMAS[name](), "run `make schemas`"


@pytest.mark.parametrize("name", SCHEMAS)
def test_shipped_document_when_held_against_its_schema_then_it_passes(name: str) -> None:
    schema = SCHEMAS[name]()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(tomllib.loads((CONFIG / f"{name}.toml").read_text(encoding="utf-8")), schema)


def fields() -> dict[str, tuple[list[str], dict[str, Any]]]:
    """Return every single value of a policy: its path for people, its keys and its schema."""
    schema = policy_json_schema()
    tables = schema["$defs"]
    found: dict[str, tuple[list[str], dict[str, Any]]] = {}
    tops = [
        (["guard"], "GuardTable"),
        (["global_breaker"], "GlobalBreakerTable"),
        (["classes", "default"], "ClassTable"),
    ]
    while tops:
        keys, table = tops.pop()
        for name, field in tables[table]["properties"].items():
            below = field.get("$ref", "").removeprefix("#/$defs/")
            if "properties" in tables.get(below, {}):
                tops.append(([*keys, name], below))
            else:
                found[".".join([*keys, name])] = ([*keys, name], tables.get(below, field))
    return found


FIELDS = fields()


def document_with(keys: list[str], value: object) -> dict[str, Any]:
    document: dict[str, Any] = {"classes": {"default": {}}}
    table = document
    for key in keys[:-1]:
        table = table.setdefault(key, {})
    table[keys[-1]] = value
    return document


@pytest.mark.parametrize("path", FIELDS)
def test_every_value_says_what_it_is(path: str) -> None:
    assert len(FIELDS[path][1]["description"]) > 20


NONSENSE = {
    "float": 0.5,
    "nan": float("nan"),
    "infinity": float("inf"),
    "negative": -1,
    "large": 10**18,
    "monstrous": 10**5000,
    "empty": "",
    "word": "N o",
    "exponent": "1e1 ",
    "foreign digit": "\N{ARABIC-INDIC DIGIT THREE}",
    "table": {},
    "list in a list": [[]],
    "date": date(2026, 1, 19),
}


@pytest.mark.parametrize("path", FIELDS)
@pytest.mark.parametrize("value", NONSENSE.values(), ids=NONSENSE.keys())
def test_every_value_when_it_is_nonsense_then_it_is_refused_at_its_path(path: str, value: object) -> None:
    keys, field = FIELDS[path]
    value = 1 if value == {} and field.get("type") == "object" else value  # no table of such is no nonsense
    with pytest.raises(PolicyError) as caught:
        check_policy(document_with(keys, value), "policy.toml")
    assert [found.path.split("[")[0] for found in caught.value.problems] == [path]


NUMBERS = {path: field for path, (_, field) in FIELDS.items() if "anyOf" in field or field.get("type") == "integer"}


@pytest.mark.parametrize("path", NUMBERS)
@pytest.mark.parametrize("value", [True, False])
def test_every_number_when_it_is_a_boolean_then_it_is_refused(path: str, value: bool) -> None:
    with pytest.raises(PolicyError) as caught:
        check_policy(document_with(FIELDS[path][0], value), "policy.toml")
    assert caught.value.problems[0].path == path
