"""The manifests: valid by the schemas of the resources, and true to what the guard does."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from circuit_guard.config.policy import load_policy
from circuit_guard.config.settings import Settings, load_settings
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import LIVENESS, READINESS

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "deploy" / "kubernetes"
SCHEMAS = Path(__file__).parent / "schemas"
OLDEST, NEWEST = "1.29", "1.36"
"""Native sidecars are on by default from the oldest on."""
OPERATOR = ("podmonitor", "prometheusrule")
"""Resources of the Prometheus operator; the schemas of its CRDs are beside this test."""
BUILT_IN = ("policy", "settings", "service", "statefulset", "networkpolicy")
STATE = "/var/lib/circuit_guard"


def manifest(name: str) -> Any:
    """Return the one resource of a file."""
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text())


def schema_of(name: str) -> Any:
    return json.loads((SCHEMAS / f"{name}.schema.json").read_text())


def pod() -> Any:
    return manifest("statefulset")["spec"]["template"]["spec"]


def sidecar() -> Any:
    [container] = pod()["initContainers"]
    return container


def settings(folder: Path) -> Settings:
    """Return the settings of the ConfigMap, as the guard reads them."""
    path = folder / "settings.toml"
    path.write_text(manifest("settings")["data"]["settings.toml"])
    return load_settings(path, {})


def policy(folder: Path) -> Policy:
    """Return the policy of the ConfigMap, as the guard reads it."""
    path = folder / "policy.toml"
    path.write_text(manifest("policy")["data"]["policy.toml"])
    return load_policy(path)


# The schemas


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", BUILT_IN)
def test_manifest_when_a_cluster_reads_it_then_it_is_valid_to_the_last_field(name: str, version: str) -> None:
    kubernetes_validate.validate(manifest(name), version, strict=True)


def test_manifest_when_a_field_is_mistyped_then_the_validation_sees_it() -> None:
    broken = manifest("statefulset")
    broken["spec"]["template"]["spec"]["initContainers"][0]["livenessProb"] = {}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, OLDEST, strict=True)


@pytest.mark.parametrize("name", OPERATOR)
def test_manifest_when_the_prometheus_operator_reads_it_then_it_knows_every_field(name: str) -> None:
    jsonschema.validate(manifest(name), schema_of(name))


@pytest.mark.parametrize("name", OPERATOR)
def test_manifest_when_a_field_of_the_operator_is_mistyped_then_the_validation_sees_it(name: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match="selectr"):
        jsonschema.validate(manifest(name) | {"spec": manifest(name)["spec"] | {"selectr": {}}}, schema_of(name))


def test_kustomization_when_applied_then_it_holds_every_manifest_once() -> None:
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]

    assert sorted(listed) == sorted(path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
    assert {name.removesuffix(".yaml") for name in listed} == {*BUILT_IN, *OPERATOR}


def test_prometheus_rule_when_the_rules_change_then_it_is_written_anew() -> None:
    script = [sys.executable, "scripts/generate_prometheus_rule.py", "--check"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


# What is in the ConfigMaps


def test_policy_when_the_guard_reads_it_then_it_is_valid_and_in_shadow(tmp_path: Path) -> None:
    assert policy(tmp_path).shadow


def test_settings_when_the_guard_reads_them_then_they_are_valid_and_fit_the_mounts(tmp_path: Path) -> None:
    loaded = settings(tmp_path)
    mounts = {mount["name"]: mount["mountPath"] for mount in sidecar()["volumeMounts"]}

    assert str(loaded.policy.path) == f"{mounts['circuit-guard-policy']}/policy.toml"
    assert str(loaded.journal.directory) == mounts["circuit-guard-state"] == STATE
    assert sidecar()["args"] == ["serve", "--settings", f"{mounts['circuit-guard-settings']}/settings.toml"]


def test_policy_mount_when_the_config_map_changes_then_the_watch_can_see_it(tmp_path: Path) -> None:
    assert [mount for mount in sidecar()["volumeMounts"] if "subPath" in mount] == []
    assert settings(tmp_path).policy.watch


# The probes


def test_probes_when_the_kubelet_asks_then_it_is_where_the_guard_answers(tmp_path: Path) -> None:
    host, _, port = str(settings(tmp_path).grpc.health_listen).rpartition(":")
    probes = {name: sidecar()[name]["grpc"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}

    assert host == "0.0.0.0"  # noqa: S104  # the pod's address
    assert {probe["port"] for probe in probes.values()} == {int(port)}
    assert port in {str(each["containerPort"]) for each in sidecar()["ports"]}


def test_probes_when_market_data_are_missing_then_only_readiness_is_not_given() -> None:
    services = {
        name: sidecar()[name]["grpc"].get("service", "") for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }

    assert services == {"startupProbe": LIVENESS, "livenessProbe": LIVENESS, "readinessProbe": READINESS}


def test_sidecar_when_the_pod_starts_and_stops_then_it_is_there_before_and_after_the_engine(tmp_path: Path) -> None:
    assert sidecar()["restartPolicy"] == "Always"
    assert pod()["terminationGracePeriodSeconds"] >= settings(tmp_path).grpc.drain_grace_s + 30


# Who reaches it


def test_listeners_when_others_can_reach_them_then_they_are_for_probes_and_scrapes_alone(tmp_path: Path) -> None:
    loaded = settings(tmp_path)

    assert {loaded.grpc.listen.partition(":")[0], loaded.http.listen.partition(":")[0]} == {"127.0.0.1"}
    assert pod().get("hostNetwork") is None


def test_scrapes_when_prometheus_comes_then_every_manifest_names_the_same_port(tmp_path: Path) -> None:
    listen = settings(tmp_path).http.metrics_listen
    [port] = [each for each in sidecar()["ports"] if each["name"] == "guard-metrics"]
    [endpoint] = manifest("podmonitor")["spec"]["podMetricsEndpoints"]
    [rule] = manifest("networkpolicy")["spec"]["ingress"]

    assert listen == f"0.0.0.0:{port['containerPort']}"
    assert endpoint["port"] == port["name"]
    assert [allowed["port"] for allowed in rule["ports"]] == [port["name"]]


def test_selectors_when_pods_are_looked_for_then_they_find_these() -> None:
    labels = manifest("statefulset")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        manifest("statefulset")["spec"]["selector"]["matchLabels"],
        manifest("service")["spec"]["selector"],
        manifest("podmonitor")["spec"]["selector"]["matchLabels"],
        manifest("networkpolicy")["spec"]["podSelector"]["matchLabels"],
    ]

    assert [selector for selector in selectors if not selector.items() <= labels.items()] == []
    assert manifest("statefulset")["spec"]["serviceName"] == manifest("service")["metadata"]["name"]


# What it may


def test_containers_when_they_run_then_they_may_nothing_that_they_do_not_need() -> None:
    for container in (*pod()["initContainers"], *pod()["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    whole = pod()["securityContext"]
    assert whole["runAsNonRoot"]
    assert whole["runAsUser"] == whole["runAsGroup"] == whole["fsGroup"] == dockerfile_user()
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod()["automountServiceAccountToken"] is False


def dockerfile_user() -> int:
    """Return the user that the image is made for."""
    [line] = [line for line in (ROOT / "deploy" / "Dockerfile").read_text().splitlines() if line.startswith("USER ")]
    return int(line.removeprefix("USER ").partition(":")[0])


def test_volume_when_the_journal_is_full_then_there_is_room_left(tmp_path: Path) -> None:
    [claim] = manifest("statefulset")["spec"]["volumeClaimTemplates"]
    storage = claim["spec"]["resources"]["requests"]["storage"]

    assert int(storage.removesuffix("Gi")) * 2**30 > 2 * settings(tmp_path).journal.bytes_max


def test_settings_when_they_are_read_as_toml_then_no_secret_is_in_them() -> None:
    tables = tomllib.loads(manifest("settings")["data"]["settings.toml"])

    assert "security" not in tables, "certificates and token hashes belong into a Secret"
