"""What a policy means: defaults, classes, overrides, units, and its revision."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass, replace
from decimal import Decimal, getcontext, localcontext
from pathlib import Path
from typing import ClassVar

import pytest

from circuit_guard.config.policy import MarketFacts, load_policy, parse_policy, parse_policy_file, revision_of
from circuit_guard.core.envelope import FundingParameters, GapMode
from circuit_guard.core.parameters import Parameters, share
from circuit_guard.core.policy import FirstSight, GlobalBreakerParameters, MarketPolicy, Policy, TwoActorAct
from circuit_guard.core.reopening import ReopeningParameters
from circuit_guard.core.rulebook import GROUPS, MARKET_RULES
from circuit_guard.core.rules.band import BandParameters
from circuit_guard.core.rules.divergence import DivergenceParameters
from circuit_guard.core.rules.slow_walk import SlowWalkParameters
from circuit_guard.core.rules.staleness import StalenessParameters
from circuit_guard.core.rules.unexplained_loss import ExplainedLossParameters, Halted
from circuit_guard.core.types import SECOND_NS
from circuit_guard.errors import PolicyError

SHIPPED = Path(__file__).parents[2] / "config" / "policy.toml"
BTC, ETH = "BTC-USD-PERP", "ETH-USD-PERP"
ONE_MARKET = "[global_breaker]\nlatched_markets_min = 1\n[classes.default]\n[markets.BTC-USD-PERP]\n"

DEFAULTS = MarketPolicy("default", {group: group() for group in GROUPS})


def with_changes(policy: MarketPolicy, **own: object) -> MarketPolicy:
    """Return a policy with other values: of the market by their name, of a group by the group's own name."""
    groups = dict(policy.groups)
    for group in GROUPS:
        if (given := own.pop(group.__name__, None)) is not None:
            groups[group] = replace(groups[group], **given)  # type: ignore[arg-type]
    return replace(policy, groups=groups, **own)  # type: ignore[arg-type]


def market(text: str, name: str = BTC) -> MarketPolicy:
    return parse_policy(text, "policy.toml").markets[name]


def test_policy_when_nothing_is_given_then_all_defaults_hold() -> None:
    policy = parse_policy(ONE_MARKET, "policy.toml")
    assert policy.markets == {BTC: DEFAULTS}
    assert replace(policy, revision="", markets={}) == Policy(
        revision="",
        shadow=False,
        global_breaker=GlobalBreakerParameters(latched_markets_min=1),
        remembered_requests_max=10_000,
        markets={},
        two_actors=frozenset(),
        two_actors_within_ns=600 * SECOND_NS,
        remembered_allow_max_ns=60 * SECOND_NS,
    )


def test_shipped_policy_when_its_default_class_is_left_out_then_nothing_changes() -> None:
    shipped = SHIPPED.read_text(encoding="utf-8")
    start, end = shipped.index("\n[classes.default]\n"), shipped.index("[classes.major]")
    shortened = shipped[:start] + "\n[classes.default]\n" + shipped[end:]
    assert load_policy(SHIPPED) == parse_policy(shortened, "policy.toml")


def test_shipped_policy_when_loaded_then_each_market_has_its_class() -> None:
    policy = load_policy(SHIPPED)
    assert {name: found.market_class for name, found in policy.markets.items()} == {
        "BTC-USD-PERP": "major",
        "ETH-USD-PERP": "major",
        "SOL-USD-PERP": "major",
        "BERA-USD-PERP": "default",
        "NEAR-USD-PERP": "default",
        "PAXG-USD-PERP": "pegged",
    }
    assert policy.markets["SOL-USD-PERP"].of(FundingParameters).rate_max == Decimal("0.02")
    assert policy.markets["PAXG-USD-PERP"].of(DivergenceParameters).base == Decimal("0.005")
    assert policy.markets["PAXG-USD-PERP"].of(ExplainedLossParameters).mark_share == Decimal("0.001")
    assert policy.markets["BERA-USD-PERP"] == DEFAULTS


def test_market_when_it_overrides_its_class_then_only_those_keys_differ() -> None:
    text = """
        [global_breaker]
        latched_markets_min = 1
        [classes.default]
        divergence.base = "0.02"
        [classes.thin]
        band.width_bps = "7.5"
        reopening = { ramp_start_share = "0.25", deadline_s = 1200 }
        explained_loss = { deny = false, trip_accounts = 5, window_s = 20 }
        burst.accounts = 0
        references.sources = ["a", "b", "c"]
        shadow_rules = ["band", "basis"]
        [markets.X]
        class = "thin"
        required = false
        first_sight = "operator"
        band.agreement_s = 5
        band.post_only_min_s = 0
        reopening.notional_per_s = "250000.5"
        explained_loss = { halted = "allow_explained", hull_widths = "0.5", trusted_age_max_s = 60 }
        burst = { window_s = 5, move_share = "0.004" }
        slow_walk = { lag_s = "12.5", trip_after_s = 0 }
        references.sources = ["d", "e", "f"]
    """
    found = market(text, "X")
    assert found == with_changes(
        DEFAULTS,
        market_class="thin",
        required=False,
        first_sight=FirstSight.OPERATOR,
        BandParameters={"share": Decimal("0.00075")},
        PhaseParameters={"agreement_ns": 5 * SECOND_NS, "post_only_min_ns": 0},
        ReopeningParameters={
            "start_share": Decimal("0.25"),
            "notional_per_s": Decimal("250000.5"),
            "deadline_ns": 1200 * SECOND_NS,
        },
        ExplainedLossParameters={
            "deny": False,
            "trip_accounts": 5,
            "window_ns": 20 * SECOND_NS,
            "halted": Halted.ALLOW_EXPLAINED,
            "hull_widths": Decimal("0.5"),
            "trusted_age_max_ns": 60 * SECOND_NS,
        },
        BurstParameters={"accounts": 0, "window_ns": 5 * SECOND_NS, "move_share": Decimal("0.004")},
        SlowWalkParameters={"lag_ns": 12_500_000_000, "trip_after_ns": 0},
        ReferenceParameters={"sources": frozenset({"d", "e", "f"})},
        shadow_rules=frozenset({"band", "basis"}),
    )


def test_durations_when_written_with_decimals_then_they_are_exact() -> None:
    text = ONE_MARKET + 'divergence.settle_s = "0.000000001"\nstaleness.deny_after_s = "1.5"\n'
    found = market(text)
    assert (found.of(DivergenceParameters).settle_ns, found.of(StalenessParameters).deny_after_ns) == (1, 1_500_000_000)


def test_policy_when_the_process_computes_with_few_digits_then_values_stay_exact() -> None:
    text = (
        ONE_MARKET
        + 'divergence.base = "0.012345678901"\nband.width_bps = "1.23456789"\n'
        + 'staleness.frozen_after_s = 86399\nreopening.notional_per_s = "123456789012345.123456789012"\n'
    )
    exact = parse_policy(text, "policy.toml")
    with localcontext() as context:
        context.prec = 3
        assert parse_policy(text, "policy.toml") == exact
        assert getcontext().prec == 3
    assert exact.markets[BTC].of(BandParameters).share == Decimal("0.000123456789")
    assert exact.markets[BTC].of(ReopeningParameters).notional_per_s == Decimal("123456789012345.123456789012")


def test_guard_when_acts_take_two_actors_then_those_and_the_time_are_in_force() -> None:
    text = '[guard]\ntwo_actors = ["reset", "resume", "rebaseline"]\ntwo_actors_within_s = 90\n'
    policy = parse_policy(text + ONE_MARKET, "policy.toml")
    assert policy.two_actors == {TwoActorAct.RESUME, TwoActorAct.RESET, TwoActorAct.REBASELINE}
    assert policy.two_actors_within_ns == 90 * SECOND_NS


@pytest.mark.parametrize(("written", "in_force_ns"), [("0", 0), ('"0.5"', 500_000_000), ("3600", 3600 * SECOND_NS)])
def test_guard_when_remembered_allows_are_bounded_then_that_age_is_in_force(written: str, in_force_ns: int) -> None:
    policy = parse_policy(f"[guard]\nremembered_allow_max_s = {written}\n{ONE_MARKET}", "policy.toml")
    assert policy.remembered_allow_max_ns == in_force_ns


def test_deadline_when_equal_to_what_it_must_cover_then_it_is_valid() -> None:
    text = "breaker = { cooldown_s = 120, healthy_s = 120 }\nreopening.deadline_s = 120\n"
    assert market(ONE_MARKET + text).of(ReopeningParameters).deadline_ns == 120 * SECOND_NS


def test_slow_walk_when_it_looks_back_just_less_than_marks_are_kept_then_it_is_valid() -> None:
    text = 'basis.window_s = "20.000000001"\ndivergence.window_s = 20\n'
    assert market(ONE_MARKET + text).of(SlowWalkParameters).lag_ns == 20 * SECOND_NS


def test_policy_when_it_lists_no_markets_then_it_is_valid() -> None:
    assert parse_policy("[classes.default]\n", "policy.toml").markets == {}


@pytest.mark.parametrize("rule", MARKET_RULES)
def test_every_rule_can_be_in_shadow(rule: str) -> None:
    assert market(f'{ONE_MARKET}shadow_rules = ["{rule}"]\n').shadow_rules == {rule}


BASE = """
[classes.default]
[classes.major]
funding.rate_max = "0.02"
references.sources = ["a", "b", "c"]
[markets.A]
class = "major"
[markets.B]
[markets.C]
"""


@pytest.mark.parametrize(
    "text",
    [
        BASE + "# a remark\n",
        BASE.replace('"0.02"', '"0.0200"'),
        BASE.replace('["a", "b", "c"]', '["c", "a", "b"]'),
        BASE.replace("[classes.default]", '[classes.default]\ndivergence.base = "0.01"'),
        BASE.replace("[markets.B]\n[markets.C]", "[markets.C]\n[markets.B]"),
        BASE.replace("[markets.B]", '[markets.B]\nclass = "default"'),
        BASE + '[classes.unused]\nfunding.rate_max = "0.01"\n',
        BASE + "[guard]\ntwo_actors = []\n",
        BASE + "[guard]\nremembered_allow_max_s = 60\n",
    ],
    ids=[
        "remark",
        "zeros",
        "order of a list",
        "default written out",
        "order of markets",
        "class written",
        "unused",
        "no acts",
        "age of an allow",
    ],
)
def test_revision_when_only_the_wording_changes_then_it_stays(text: str) -> None:
    assert parse_policy(text, "b").revision == parse_policy(BASE, "a").revision


@pytest.mark.parametrize(
    "text",
    [
        BASE.replace('"0.02"', '"0.021"'),
        BASE.replace('"c"]', '"d"]'),
        BASE.replace("[markets.C]", "[markets.D]"),
        BASE + "[guard]\nshadow = true\n",
        BASE + "required = false\n",
        BASE + "[global_breaker]\nwindow_s = 61\n",
        BASE.replace('class = "major"\n', ""),
        BASE + '[guard]\ntwo_actors = ["reset"]\n',
        BASE + "[guard]\ntwo_actors_within_s = 601\n",
        BASE + "[guard]\nremembered_allow_max_s = 61\n",
        BASE + 'first_sight = "operator"\n',
        BASE + "reopening.closures_per_s = 51\n",
        BASE + 'explained_loss.halted = "allow_explained"\n',
        BASE + "burst.accounts = 101\n",
        BASE + "slow_walk.lag_s = 21\n",
    ],
    ids=[
        "rate",
        "source",
        "market",
        "shadow",
        "required",
        "global breaker",
        "class",
        "two actors",
        "their time",
        "age of an allow",
        "first sight",
        "ramp",
        "explained in a halt",
        "burst",
        "slow walk",
    ],
)
def test_revision_when_the_meaning_changes_then_it_changes(text: str) -> None:
    assert parse_policy(text, "b").revision != parse_policy(BASE, "a").revision


def test_revision_is_short_and_the_same_on_every_machine() -> None:
    assert parse_policy(ONE_MARKET, "policy.toml").revision == "fa1a1c1ca391"


@dataclass(frozen=True, slots=True)
class LaterParameters(Parameters):
    """What a rule of a later version might declare."""

    TABLE: ClassVar[str] = "later"

    tolerance: Decimal = share("0.01", "A tolerance.")


@pytest.mark.parametrize(("tolerance", "same"), [("0.01", True), ("0.02", False)])
def test_revision_when_a_parameter_comes_later_then_only_a_policy_that_changes_it_has_another(
    tolerance: str, same: bool
) -> None:
    policy = parse_policy(ONE_MARKET, "policy.toml")
    one = policy.markets[BTC]
    later = replace(one, groups={**one.groups, LaterParameters: LaterParameters(tolerance=Decimal(tolerance))})
    assert (revision_of(replace(policy, revision="", markets={BTC: later})) == policy.revision) is same


def test_recording_markets_when_unknown_to_the_policy_then_they_get_the_default_class_and_their_facts() -> None:
    policy_file = parse_policy_file("[classes.default]\nwarm_observations = 5\n", "policy.toml")
    policy = policy_file.with_markets({"X": MarketFacts(Decimal("0.02"), 3600, GapMode.FREEZE), "Y": MarketFacts()})
    plain = replace(DEFAULTS, warm_observations=5)
    facts = {"rate_max": Decimal("0.02"), "period_ns": 3600 * SECOND_NS, "gap_mode": GapMode.FREEZE}
    assert policy.markets == {"X": with_changes(plain, FundingParameters=facts), "Y": plain}
    assert policy_file.policy().markets == {}


def test_recording_markets_when_listed_in_the_policy_then_they_keep_their_class_and_overrides() -> None:
    policy_file = parse_policy_file(BASE + "warm_observations = 7\n", "policy.toml")
    policy = policy_file.with_markets({"A": MarketFacts(Decimal("0.03")), "C": MarketFacts(period_s=3600)})
    before = policy_file.policy().markets
    assert policy.markets == {
        "A": with_changes(before["A"], FundingParameters={"rate_max": Decimal("0.03")}),
        "B": before["B"],
        "C": with_changes(before["C"], FundingParameters={"period_ns": 3600 * SECOND_NS}),
    }
    assert policy.markets["A"].market_class == "major"
    assert policy.markets["C"].warm_observations == 7


def test_recording_markets_when_they_say_nothing_new_then_the_revision_stays() -> None:
    policy_file = parse_policy_file(BASE, "policy.toml")
    assert policy_file.with_markets({"A": MarketFacts(Decimal("0.020"))}) == policy_file.policy()


def test_recording_markets_when_facts_are_out_of_bounds_then_all_are_named() -> None:
    policy_file = parse_policy_file("[classes.default]\n", "policy.toml")
    facts = {
        "X": MarketFacts(Decimal("NaN"), 0),
        "GLOBAL": MarketFacts(Decimal("1e99999")),
        "b ": MarketFacts(Decimal("1e-99999")),
    }
    with pytest.raises(PolicyError) as caught:
        policy_file.with_markets(facts)
    bounds = "expected a number more than 0 and at most 1"
    assert str(caught.value).splitlines() == [
        "policy.toml with a recording's markets: the policy has 6 problems",
        "  markets.X.funding.period_s: was 0, expected a number at least 60 and at most 604800",
        f"  markets.X.funding.rate_max: was NaN, {bounds}",
        f"  markets.GLOBAL.funding.rate_max: was 1E+99999, {bounds}",
        '  markets."b ".funding.rate_max: was 1E-99999, expected at most 12 decimals',
        '  markets.GLOBAL: was "GLOBAL", expected another name: that is the scope of the GLOBAL breaker',
        (
            '  markets."b ": was "b ", expected 1 to 128 printable characters without space around them, '
            "in Unicode's form NFC"
        ),
    ]


def test_the_time_zones_come_with_the_guard_where_the_host_has_none() -> None:
    """Small images have no /usr/share/zoneinfo, and an installation of what is needed to run has no other package."""
    load = "import pathlib, sys, circuit_guard.config.policy as at; at.load_policy(pathlib.Path(sys.argv[1]))"
    ran = subprocess.run(
        [sys.executable, "-c", load, SHIPPED], env=os.environ | {"PYTHONTZPATH": "/nonexistent"}, capture_output=True
    )
    assert ran.returncode == 0, ran.stderr
    needed = tomllib.loads((SHIPPED.parents[1] / "pyproject.toml").read_text())["project"]["dependencies"]
    assert any(one.startswith("tzdata") for one in needed)
