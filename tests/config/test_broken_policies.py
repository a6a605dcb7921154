"""One broken policy a rule. Each file of broken/ begins with what the loader has to say about it, word for word."""

from __future__ import annotations

from decimal import Decimal
from itertools import takewhile
from pathlib import Path

import pytest

from circuit_guard.config.policy import MARKETS_MAX, load_policy, parse_policy
from circuit_guard.core.parameters import Relation, Unit, parameters_of
from circuit_guard.core.rulebook import GROUPS, MARKET_RULES
from circuit_guard.errors import PolicyError

RELATIONS = [relation for group in GROUPS for relation in group.RELATIONS]
DEFAULTS = {f"{group.TABLE}.{one.key}": one for group in GROUPS for one in parameters_of(group)}
BROKEN = sorted((Path(__file__).parent / "broken").glob("*.toml"))


def expected_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    rules = ", ".join(sorted(MARKET_RULES))
    return [
        line.removeprefix("# ").replace("RULES", rules) for line in takewhile(lambda line: line.startswith("# "), lines)
    ]


def message_of(path: Path) -> str:
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    return str(caught.value)


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_policy_when_one_thing_is_broken_then_the_message_says_exactly_that(path: Path) -> None:
    expected = expected_lines(path)
    title = f"{path}: the policy has {len(expected)} problem{'' if len(expected) == 1 else 's'}"
    assert message_of(path) == "\n".join([title, *(f"  {line}" for line in expected)])


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda one: f"{one.key} {one.bound} {one.other}")
def test_relation_when_a_policy_breaks_it_then_the_message_names_both_values(relation: Relation) -> None:
    held, other = DEFAULTS[relation.key], DEFAULTS[relation.other]
    limit = Decimal(other.written_default) * (10_000 if held.key.endswith("_bps") and other.key == "base" else 1)
    broken = limit * (Decimal("0.5") if relation.bound == "at least" else 2)
    text = f'[classes.default]\n{relation.key} = "{broken:f}"\n'
    if held.declared.unit is Unit.COUNT:
        text = text.replace('"', "")
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, "policy.toml")
    said = [line for line in str(caught.value).splitlines() if f".{relation.key}: was" in line]
    assert any(relation.bound in line and f"({relation.other}" in line and relation.why in line for line in said)


def test_policy_when_much_is_broken_then_all_of_it_is_listed_at_once() -> None:
    text = """
        [guard]
        shaddow = true
        default_class = "standard"
        [classes.default]
        required = "yes"
        funding.rate_max = 0.05
        band.width_bps = 150
        [classes.major]
        funding.slack = "0.5"
        references.sources = ["binance", "okx"]
        [markets.BTC-USD-PERP]
        class = "mayor"
        [markets.ETH-USD-PERP]
        class = "major"
        divergence.trip_at_once_base = "0.005"
    """
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, "policy.toml")
    assert [problem.path for problem in caught.value.problems] == [
        "guard.shaddow",
        "classes.default.required",
        "classes.default.funding.rate_max",
        "classes.major.funding.slack",
        "guard.default_class",
        "global_breaker.latched_markets_min",
        "classes.default.band.width_bps",
        "classes.major.references.quorum",
        "markets.BTC-USD-PERP.class",
        "markets.ETH-USD-PERP.divergence.trip_at_once_base",
    ]


def test_policy_when_the_file_is_missing_then_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    expected = "  file: was missing, expected a readable TOML file (policy)"
    assert message_of(path) == f"{path}: the policy has 1 problem\n{expected}"


def test_policy_when_the_file_is_a_folder_then_that_is_said(tmp_path: Path) -> None:
    expected = "  file: was a directory, expected a regular file"
    assert message_of(tmp_path) == f"{tmp_path}: the policy has 1 problem\n{expected}"


def test_policy_when_the_path_cannot_be_one_then_that_is_said() -> None:
    assert "was unreadable (embedded null byte)" in message_of(Path("policy\0.toml"))


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# all commented out\n", b"\xef\xbb\xbf"])
def test_policy_when_the_file_is_empty_then_that_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(content)
    expected = "  file: was empty, expected a policy, at least [classes.default]"
    assert message_of(path) == f"{path}: the policy has 1 problem\n{expected}"


def test_policy_when_the_file_is_not_utf8_then_the_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(b"[classes.default]\n# caf\xe9\n")
    assert message_of(path) == f"{path}: the policy has 1 problem\n  line 2: was not UTF-8, expected UTF-8 text"


def test_policy_when_the_file_is_endless_then_it_is_not_read_to_the_end() -> None:
    assert "file: was a device, expected a regular file" in message_of(Path("/dev/zero"))


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 10_000,
        "a = " + "9" * 10_000,
        ".".join("a" * 3_000) + " = 1",
        "a = 0x" + "f" * 10_000,
        "[classes.default]\nrequired = 0x" + "f" * 10_000,
        "[classes.default]\nwarm_observations = 0x" + "f" * 10_000,
        "[classes.default.funding]\ngap_mode = 0x" + "f" * 10_000,
        "[classes.default.references]\nsources = [" + "'x'," * 2_000 + "]",
    ],
    ids=["deep list", "long number", "deep key", "long hex", "hex boolean", "hex count", "hex mode", "long list"],
)
def test_policy_when_values_are_monstrous_then_it_is_refused_with_a_short_message(text: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, "policy.toml")
    assert len(str(caught.value)) < 600


def test_policy_when_there_are_too_many_markets_then_it_is_refused() -> None:
    text = "[classes.default]\n[markets]\n" + "\n".join(f"M{number} = {{}}" for number in range(MARKETS_MAX + 1))
    with pytest.raises(PolicyError, match=f"markets: was {MARKETS_MAX + 1} markets, expected at most {MARKETS_MAX}"):
        parse_policy(text, "policy.toml")
