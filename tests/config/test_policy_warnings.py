"""What a valid policy may not mean: references open to any name, and changes that do not reach other classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from circuit_guard.config.policy import parse_policy_file, read_policy_file

ROOT = Path(__file__).parents[2]
NAMED = 'references.sources = ["a", "b", "c"]\n'
USED = f"""
[classes.default]
{NAMED}
[classes.major]
{NAMED}
[markets.A]
[markets.B]
class = "major"
[markets.C]
class = "major"
"""


def warnings(text: str) -> list[str]:
    return parse_policy_file(text, "policy.toml").warnings()


def changed(line: str, text: str = USED) -> str:
    """Return the policy with another value in [classes.default]."""
    return text.replace("[classes.default]\n", f"[classes.default]\n{line}\n")


def test_warnings_when_every_class_names_its_sources_then_there_are_none() -> None:
    assert warnings(USED) == []


def test_warnings_when_sources_are_empty_for_some_markets_then_exactly_those_are_named() -> None:
    text = USED.replace(f"[classes.major]\n{NAMED}", "[classes.major]\n") + NAMED
    assert warnings(text.replace(f"[classes.default]\n{NAMED}", "[classes.default]\n")) == [
        "references.sources is empty for A, B: any name may publish references. Name the sources that may."
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("staleness.deny_after_s = 10", "staleness.deny_after_s 15 (classes.default has 10)"),
        ('divergence.base = "0.02"', "divergence.base 0.01 (classes.default has 0.02)"),
        ('explained_loss.halted = "allow_explained"', 'explained_loss.halted "deny_all" (classes.default has "allow'),
        ("required = false", "required true (classes.default has false)"),
        ('shadow_rules = ["basis"]', 'shadow_rules [] (classes.default has ["basis"])'),
    ],
)
def test_warnings_when_the_default_class_changes_a_value_then_a_class_that_keeps_it_is_told_of(
    line: str, told: str
) -> None:
    [warning] = warnings(changed(line))
    assert warning.startswith(f"classes.major does not inherit from classes.default and keeps built-in values: {told}")


@pytest.mark.parametrize(
    "text",
    [
        changed('divergence.base = "0.010"'),
        changed('divergence.base = "0.02"').replace("[classes.major]\n", '[classes.major]\ndivergence.base = "0.01"\n'),
        changed("required = false", USED.replace('class = "major"\n', 'class = "major"\nrequired = true\n')),
        changed("required = false", USED.replace('class = "major"\n', "")),
    ],
    ids=["the built-in value", "named by the class", "named by each of its markets", "a class of no market"],
)
def test_warnings_when_the_change_surprises_nobody_then_there_are_none(text: str) -> None:
    assert warnings(text) == []


def test_warnings_when_only_one_market_of_a_class_names_the_key_then_the_class_is_still_told_of() -> None:
    assert len(warnings(changed("required = false", USED + "required = true\n"))) == 1


def test_shipped_policy_when_loaded_then_it_warns_of_open_references_alone() -> None:
    [warning] = read_policy_file(ROOT / "config" / "policy.toml").warnings()
    assert warning.startswith("references.sources is empty for BTC-USD-PERP, ")


def test_kubernetes_policy_when_loaded_then_it_warns_of_nothing() -> None:
    manifest = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "policy.yaml").read_text())
    assert warnings(manifest["data"]["policy.toml"]) == []
