"""The dashboards: as their script writes them, about metrics that exist, in PromQL that Prometheus can read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.prometheus.described import DASHBOARDS, ROOT, queries, tool, unknown

REPLACED = {"$__rate_interval": "1m", "$__interval": "1m", "$market": ".*"}
"""What Grafana puts into a query before Prometheus reads it."""


def test_dashboards_when_their_script_changes_then_they_are_written_anew() -> None:
    script = [sys.executable, "scripts/generate_dashboards.py", "--check"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dashboards_when_the_folder_is_read_then_there_is_an_overview_and_one_for_a_market() -> None:
    assert [path.name for path in DASHBOARDS] == ["market.json", "overview.json"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard_when_it_names_a_metric_then_something_exports_it_with_these_labels(path: Path) -> None:
    asked = queries(path)
    assert len(asked) > 10
    assert unknown(asked) == []


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard_when_prometheus_reads_its_queries_then_each_is_valid(path: Path, tmp_path: Path) -> None:
    asked = [query for query in queries(path) if query != "prometheus" and not query.startswith("label_values")]
    for variable, value in REPLACED.items():
        asked = [query.replace(variable, value) for query in asked]
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(asked)]
    written = tmp_path / "queries.yml"
    written.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))

    done = subprocess.run([tool("promtool"), "check", "rules", written], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard_when_it_is_opened_then_it_asks_for_the_data_source_and_the_market(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "market"]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {"${datasource}"}
    assert "Policy reloads" in [annotation["name"] for annotation in dashboard["annotations"]["list"]]
