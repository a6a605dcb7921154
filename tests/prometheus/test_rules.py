"""The alerts: valid, tested firing and silent, about metrics that exist, and of use to whoever is woken."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
import typer
import yaml

from circuit_guard.cli.main import command_line
from tests.prometheus.described import PROMETHEUS, RULE_FILES, RULE_TESTS, alerts, rules, tool, unknown

NAMES = sorted(alerts())
LISTED = {
    "CircuitGuardAbsent",
    "CircuitGuardBytesUsedUp",
    "CircuitGuardCostOfHalt",
    "CircuitGuardDescriptorsExhausted",
    "CircuitGuardFailOpenServed",
    "CircuitGuardFeedStale",
    "CircuitGuardFutureStamps",
    "CircuitGuardGlobalHalt",
    "CircuitGuardHeadroomLow",
    "CircuitGuardHeadroomVeryLow",
    "CircuitGuardHoldOverdue",
    "CircuitGuardIdentitiesReloadFailed",
    "CircuitGuardJournalDropping",
    "CircuitGuardJournalLagging",
    "CircuitGuardJournalStalled",
    "CircuitGuardMarketLatched",
    "CircuitGuardNotReady",
    "CircuitGuardOperatorHaltLong",
    "CircuitGuardPolicyReloadFailed",
    "CircuitGuardReferencesLost",
    "CircuitGuardReplicasDisagree",
    "CircuitGuardShadowWouldHalt",
    "CircuitGuardUnexplainedClosures",
}
"""What no guard may be without."""


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True, check=False)


def test_rules_when_promtool_checks_them_then_each_file_is_valid() -> None:
    done = promtool("check", "rules", *RULE_FILES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.system
@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_rules_when_promtool_runs_their_tests_then_they_fire_and_stay_silent(path: Path) -> None:
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_when_promtool_checks_its_configuration_then_it_finds_the_rules() -> None:
    done = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("rules found") == len(RULE_FILES) == 3


def test_alerts_when_one_exists_then_it_is_tested_firing_and_silent() -> None:
    tested: dict[str, set[bool]] = defaultdict(set)
    for path in RULE_TESTS:
        for group in yaml.safe_load(path.read_text())["tests"]:
            for case in group.get("alert_rule_test", ()):
                tested[case["alertname"]].add(bool(case["exp_alerts"]))

    assert {name: tested[name] for name in NAMES} == {name: {True, False} for name in NAMES}
    assert set(tested) == set(NAMES)


def test_alerts_when_the_files_are_read_then_none_of_the_needed_ones_is_missing() -> None:
    assert set(NAMES) >= LISTED


def test_rules_when_they_name_a_metric_then_something_exports_it_with_these_labels() -> None:
    texts = [rule["expr"] for rule in rules()]
    texts += [text.replace('\\"', '"') for rule in rules() for text in rule.get("annotations", {}).values()]
    assert unknown(texts) == []


def test_rules_when_a_metric_is_misspelled_then_this_would_be_seen() -> None:
    assert len(unknown(["circuit_guard_haltet == 1"])) == 1
    assert len(unknown(['circuit_guard_halted{market="x"} == 1'])) == 1


@pytest.mark.parametrize("name", NAMES)
def test_alert_when_somebody_is_woken_then_it_says_what_where_and_what_to_do_next(name: str) -> None:
    alert = alerts()[name]
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
    assert re.fullmatch(r"CircuitGuard\w+", name)
    _, following, step = alert["annotations"]["description"].partition(" Next")
    assert following, "the description has to end in the next step"
    assert len(step) > len(": top")


def test_alerts_when_they_name_a_command_then_it_exists() -> None:
    known = set(typer.main.get_command(command_line()).commands)  # type: ignore[attr-defined]
    texts = [alert["annotations"]["description"] for alert in alerts().values()]
    assert {word for text in texts for word in re.findall(r"circuit-guard ([a-z]+)", text)} <= known


@pytest.mark.parametrize("name", ["CircuitGuardGlobalHalt", "CircuitGuardMarketLatched"])
def test_alert_when_a_latch_is_what_it_reports_then_it_does_not_wait(name: str) -> None:
    assert "for" not in alerts()[name]


@pytest.mark.parametrize("path", RULE_FILES, ids=lambda path: path.stem)
def test_alert_when_it_waits_for_nothing_then_it_reads_no_recorded_series_of_another_group(path: Path) -> None:
    """Groups are evaluated in no order: what such an alert reads could be a whole interval old, and a page too."""
    for group in yaml.safe_load(path.read_text())["groups"]:
        recorded = {rule["record"] for rule in group["rules"] if "record" in rule}
        for rule in group["rules"]:
            if "alert" in rule and "for" not in rule:
                assert set(re.findall(r"circuit_guard:[\w:]+", rule["expr"])) <= recorded, rule["alert"]
