"""`policy` and `settings`: the production loader at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from circuit_guard.config.policy import load_policy, policy_json_schema
from circuit_guard.config.settings import settings_json_schema
from tests.cli.running import BTC, PAXG, run

ROOT = Path(__file__).parent.parent.parent
BUNDLED = str(ROOT / "config" / "policy.toml")
BROKEN = """
[classes.default]
typo = 1
warm_observations = 0
band.width_bps = "wide"
[markets.BTC-USD-PERP]
class = "minor"
"""


def test_policy_check_when_it_is_valid_then_its_limits_are_summed_up() -> None:
    result = run("policy", "check", BUNDLED)

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0] == f"{BUNDLED}: valid, revision {load_policy(Path(BUNDLED)).revision}"
    assert lines[1] == "GLOBAL latches when 3 markets and 20% of all latch within 60 s"
    assert "without it a wrong funding index can drift by 0.6252 % of the price per hour" in lines[2]
    assert lines[2].endswith("BTC-USD-PERP, ETH-USD-PERP, SOL-USD-PERP")
    assert lines[4].startswith("WARNING: references.sources is empty for BTC-USD-PERP, ETH-USD-PERP, ")
    assert lines[6].split("  ")[0] == BTC
    assert "2 % in 8 h" in lines[6]
    assert "5 bps" in lines[6]
    assert "50/s, 5000000/s from 10 % in 300 s" in lines[6]


def test_policy_check_when_asked_for_json_then_every_resolved_value_is_there() -> None:
    document = json.loads(run("policy", "check", BUNDLED, "--json").stdout)

    assert document["revision"] == load_policy(Path(BUNDLED)).revision
    assert document["notes"][0] == "GLOBAL latches when 3 markets and 20% of all latch within 60 s"
    assert (document["two_actors"], document["two_actors_within_s"]) == ([], 600)
    assert document["markets"][BTC]["reopening.notional_per_s"] == "5000000"
    assert document["markets"][BTC]["first_sight"] == "confirm"
    assert document["markets"][BTC]["funding.rate_max"] == "0.02"
    assert document["markets"][BTC]["staleness.deny_after_s"] == 15


def test_policy_check_when_it_is_broken_then_every_violation_is_listed_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(BROKEN)

    result = run("policy", "check", str(path))

    told = result.stderr.splitlines()
    assert result.exit_code == 1
    assert told[0].startswith(f"circuit-guard: {path}: the policy has ")
    paths = ("classes.default.typo", "classes.default.warm_observations", "classes.default.band.width_bps")
    for where in (*paths, "markets.BTC-USD-PERP.class"):
        assert any(line.startswith(f"  {where}: was ") and ", expected " in line for line in told), where
    assert result.stdout == ""


@pytest.mark.parametrize("command", [("policy", "check"), ("settings", "check")])
def test_check_when_the_file_is_missing_then_that_is_said(command: tuple[str, ...], tmp_path: Path) -> None:
    result = run(*command, str(tmp_path / "none.toml"))

    assert result.exit_code == 1
    assert "\n  file: was missing, expected a readable TOML file" in result.stderr


def test_policy_check_when_the_guard_is_to_be_in_shadow_then_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        "[guard]\nshadow = true\n[global_breaker]\nlatched_markets_min = 1\n[classes.default]\n[markets.M]\n"
    )

    assert (
        "SHADOW: everything is judged and recorded; only operators' halts are enforced\n"
        in run("policy", "check", str(path)).stdout
    )


def test_policy_check_when_people_have_to_act_twice_or_first_then_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        '[guard]\ntwo_actors = ["resume", "reset"]\ntwo_actors_within_s = 90\n'
        "[global_breaker]\nlatched_markets_min = 1\n"
        '[classes.default]\n[markets.AAA]\n[markets.BBB]\nfirst_sight = "operator"\n'
    )

    lines = run("policy", "check", str(path)).stdout.splitlines()

    assert lines[2] == "needs two actors, the second within 90 s: reset, resume"
    assert lines[3] == "denied at first sight until an operator rebaselines them: BBB"


def test_policy_check_when_a_halt_lets_explained_closures_through_then_the_markets_are_named(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        "[global_breaker]\nlatched_markets_min = 1\n[classes.default]\n[markets.AAA]\n"
        '[markets.BBB]\nexplained_loss.halted = "allow_explained"\n'
    )

    lines = run("policy", "check", str(path)).stdout.splitlines()

    assert lines[2] == "closures that trusted values justify go through an OPEN breaker: BBB"


TWO_WARNINGS = """
[global_breaker]
latched_markets_min = 1
[classes.default]
divergence.base = "0.02"
references.sources = ["a", "b", "c"]
[classes.major]
[markets.AAA]
[markets.BBB]
class = "major"
"""


def test_policy_check_when_something_valid_may_not_be_meant_then_it_warns_and_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(TWO_WARNINGS)

    result = run("policy", "check", str(path))
    document = run("policy", "check", str(path), "--json")

    warnings = [line.removeprefix("WARNING: ") for line in result.stdout.splitlines() if line.startswith("WARNING: ")]
    assert (result.exit_code, document.exit_code) == (0, 0)
    assert warnings == [
        "references.sources is empty for BBB: any name may publish references. Name the sources that may.",
        (
            "classes.major does not inherit from classes.default and keeps built-in values: divergence.base 0.01 "
            '(classes.default has 0.02), references.sources [] (classes.default has ["a", "b", "c"]). If its markets '
            "are meant too, write the keys into [classes.major]."
        ),
    ]
    assert json.loads(document.stdout)["warnings"] == warnings


def test_policy_check_when_nothing_is_left_open_then_it_warns_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(TWO_WARNINGS.replace('class = "major"\n', ""))

    assert "WARNING" not in run("policy", "check", str(path)).stdout
    assert json.loads(run("policy", "check", str(path), "--json").stdout)["warnings"] == []


def test_policy_show_when_a_market_overrides_then_the_resolved_value_is_shown() -> None:
    rows = dict(line.split(maxsplit=1) for line in run("policy", "show", BUNDLED, PAXG).stdout.splitlines())

    assert rows["market_class"] == "pegged"
    assert rows["divergence.base"] == "0.005"
    assert rows["funding.period_s"] == "28800"
    assert rows["basis.required"] == "yes"
    assert rows["reopening.start_share"] == "0.10"
    assert rows["reopening.deadline_s"] == "1800"
    assert rows["band.post_only_min_s"] == "120"
    assert rows["breaker.half_open_s"] == "300"
    assert rows["explained_loss.mark_share"] == "0.001"
    assert rows["explained_loss.halted"] == "deny_all"
    assert rows["burst.accounts"] == "100"
    assert rows["slow_walk.lag_s"] == "20"


def test_policy_show_when_the_market_is_unknown_then_the_known_ones_are_named() -> None:
    result = run("policy", "show", BUNDLED, "DOGE")

    assert result.exit_code == 2
    assert result.stderr.startswith(f"circuit-guard: market was DOGE, expected one that the policy names: {BTC}, ")


@pytest.mark.parametrize("command", [("show", BUNDLED, "BTC-USD"), ("explain", "BTC-USD", BUNDLED)])
def test_policy_when_the_market_is_nearly_one_of_its_own_then_that_one_is_named(command: tuple[str, ...]) -> None:
    result = run("policy", *command)

    assert result.exit_code == 2
    assert result.stderr.startswith(f"circuit-guard: market was BTC-USD, expected one that the policy names: {BTC}, ")
    assert result.stderr.endswith(f" (is {BTC} meant?)\n")


def test_schemas_when_printed_then_they_are_those_of_the_loaders() -> None:
    assert json.loads(run("policy", "schema").stdout) == policy_json_schema()
    assert json.loads(run("settings", "schema").stdout) == settings_json_schema()


def test_settings_check_when_valid_then_every_value_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRCUIT_GUARD_GRPC__BATCH_MAX", "7")
    monkeypatch.setenv("CIRCUIT_GUARD_ACTOR", "alice")

    result = run("settings", "check", str(ROOT / "config" / "settings.toml"))

    rows = dict(line.split(maxsplit=1) for line in result.stdout.splitlines()[1:])
    assert result.exit_code == 0
    assert rows["grpc.listen"] == "127.0.0.1:50051"
    assert rows["grpc.batch_max"] == "7", "the environment counts, the command line's own variables do not"


def test_settings_check_when_broken_then_every_violation_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIRCUIT_GUARD_GRPC__LISTN", "x")
    path = tmp_path / "settings.toml"
    path.write_text('[grpc]\nlisten = "0.0.0.0:50051"\nbatch_max = 0\n')

    result = run("settings", "check", str(path))

    assert result.exit_code == 1
    for where in ("grpc.listen", "grpc.batch_max", "CIRCUIT_GUARD_GRPC__LISTN"):
        assert f"\n  {where}: was " in result.stderr
