"""Write deploy/kubernetes/prometheusrule.yaml from config/prometheus/*.rules.yml. `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
RULES = ROOT / "config" / "prometheus"
WRITTEN = ROOT / "deploy" / "kubernetes" / "prometheusrule.yaml"

HEAD = "# Written by scripts/generate_prometheus_rule.py from config/prometheus/*.rules.yml: change those.\n"


class Readable(yaml.SafeDumper):
    """Writes text of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Readable.add_representer(str, _text)


def prometheus_rule() -> str:
    """Return all rules as one resource of the Prometheus operator."""
    files = sorted(RULES.glob("*.rules.yml"))
    if not files:
        sys.exit(f"{RULES} was without *.rules.yml, expected at least one file of rules")
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "circuit-guard", "labels": {"app.kubernetes.io/name": "circuit-guard"}},
        "spec": {"groups": [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]},
    }
    return HEAD + yaml.dump(resource, Dumper=Readable, sort_keys=False, allow_unicode=True, width=120)


def main() -> int:
    """Write the file, or with `--check` say whether it is what would be written."""
    text = prometheus_rule()
    if "--check" not in sys.argv[1:]:
        WRITTEN.write_text(text)
        return 0
    if WRITTEN.is_file() and WRITTEN.read_text() == text:
        return 0
    sys.stderr.write(
        f"{WRITTEN.relative_to(ROOT)} is not what the rules say: run scripts/generate_prometheus_rule.py\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
