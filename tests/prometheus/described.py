"""What the rule files, their tests and the dashboards say, and what the guard exports."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from circuit_guard.client.metrics import ClientMetrics
from tests.driver import BTC, policy_of
from tests.telemetry.observed import Measured

ROOT = Path(__file__).parent.parent.parent
PROMETHEUS = ROOT / "config" / "prometheus"
RULE_FILES = sorted(PROMETHEUS.glob("*.rules.yml"))
RULE_TESTS = sorted((PROMETHEUS / "tests").glob("*.test.yml"))
DASHBOARDS = sorted((ROOT / "config" / "grafana").glob("*.json"))

ADDED_BY_PROMETHEUS = {"job", "instance"}

_SELECTOR = re.compile(r"\b(circuit_guard[_:][\w:]*)(?:\{([^}]*)\})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")


def tool(name: str) -> str:
    """Return the path of a program of Prometheus; skip the test where there is none, and in CI fail it."""
    path = shutil.which(name)
    if path is not None:
        return path
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed, and CI must have it")
    pytest.skip(f"{name} is not installed")


@cache
def rules() -> list[dict[str, Any]]:
    """Return every rule of all files."""
    documents = [yaml.safe_load(path.read_text()) for path in RULE_FILES]
    return [rule for document in documents for group in document["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Return the alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


@cache
def exported() -> dict[str, set[str]]:
    """Return the labels of every metric of a guard, of a client and of the recording rules, by its name."""
    guard = Measured(policy_of(BTC))
    guard.driver.run(5)
    guard.driver.observe(funding_index=Decimal(0))
    guard.show()
    engine = CollectorRegistry()
    ClientMetrics([BTC], engine)
    found: dict[str, set[str]] = {}
    for registry in (guard.metrics.registry, engine):
        for family in text_string_to_metric_families(generate_latest(registry).decode()):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    recorded = {rule["record"]: {"market"} for rule in rules() if "record" in rule}
    return found | recorded


def selectors(text: str) -> Iterator[tuple[str, set[str]]]:
    """Return each metric that a text of PromQL names, with the labels that it selects by."""
    for name, labels in _SELECTOR.findall(text):
        yield name, set(_LABEL.findall(labels))


def unknown(texts: list[str]) -> list[str]:
    """Return what the texts select that nothing exports, one sentence each."""
    known = exported()
    problems = []
    for text in texts:
        for name, labels in selectors(text):
            if name not in known:
                problems.append(f"{name} is exported by nothing: {text}")
            elif not labels <= known[name] | ADDED_BY_PROMETHEUS:
                problems.append(f"{name} has labels {sorted(known[name])}, not {sorted(labels)}: {text}")
    return problems


def queries(dashboard: Path) -> list[str]:
    """Return every query of a dashboard: of its panels, variables and annotations."""
    return list(_queries(json.loads(dashboard.read_text())))


def _queries(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("expr", "query", "definition") and isinstance(inner, str):
                yield inner
            else:
                yield from _queries(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _queries(inner)
