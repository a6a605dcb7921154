"""What a policy means: defaults, classes, overrides, units, and its revision."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, getcontext, localcontext
from pathlib import Path

import pytest

from circuit_guard.config.policy import MarketFacts, load_policy, parse_policy, parse_policy_file
from circuit_guard.config.policy_document import MARKET_RULES
from circuit_guard.core.policy import (
    BandPolicy,
    BasisPolicy,
    BreakerPolicy,
    BurstPolicy,
    DivergencePolicy,
    ExplainedLossPolicy,
    FirstSight,
    FundingPolicy,
    GapMode,
    GlobalPolicy,
    Halted,
    MarketPolicy,
    Policy,
    ReferencePolicy,
    ReopeningPolicy,
    RestrictedClosures,
    SlowWalkPolicy,
    StalenessPolicy,
    TwoActorAct,
)
from circuit_guard.core.types import SECOND_NS
from circuit_guard.errors import PolicyError

SHIPPED = Path(__file__).parents[2] / "config" / "policy.toml"
BTC, ETH = "BTC-USD-PERP", "ETH-USD-PERP"
ONE_MARKET = "[global_breaker]\nlatched_markets_min = 1\n[classes.default]\n[markets.BTC-USD-PERP]\n"

DEFAULTS = MarketPolicy(
    market_class="default",
    required=True,
    observation_source="exchange",
    allow_negative_price=False,
    warm_observations=3,
    funding=FundingPolicy(
        period_ns=28_800 * SECOND_NS,
        rate_max=Decimal("0.05"),
        gap_mode=GapMode.ACCRUE,
        gap_ns=30 * SECOND_NS,
        slack=Decimal("1.5"),
        predicted_step_share=Decimal("0.5"),
        bound_share=Decimal("0.02"),
        premium_share=Decimal("0.05"),
        trip_after_ns=30 * SECOND_NS,
    ),
    divergence=DivergencePolicy(
        base=Decimal("0.01"),
        hull_widths=Decimal(2),
        window_ns=30 * SECOND_NS,
        trip_after_ns=30 * SECOND_NS,
        trip_at_once_base=Decimal("0.20"),
        trip_at_once_hull_widths=Decimal(3),
        index_base=Decimal("0.25"),
        execution_base=Decimal("0.10"),
        settle_ns=15 * SECOND_NS,
    ),
    references=ReferencePolicy(frozenset(), 16, 10 * SECOND_NS, 3, Decimal("0.20")),
    staleness=StalenessPolicy(
        15 * SECOND_NS, 30 * SECOND_NS, 2 * SECOND_NS, 15 * SECOND_NS, Decimal("0.0025"), 30 * SECOND_NS
    ),
    band=BandPolicy(
        share=Decimal("0.0005"),
        center_age_max_ns=60 * SECOND_NS,
        post_only_closures=RestrictedClosures.BANDED,
        recovering_closures=RestrictedClosures.BANDED,
        agreement_share=Decimal("0.005"),
        agreement_ns=30 * SECOND_NS,
        post_only_min_ns=120 * SECOND_NS,
    ),
    basis=BasisPolicy(True, Decimal("0.01"), 30 * SECOND_NS, 30 * SECOND_NS, 3),
    breaker=BreakerPolicy(60 * SECOND_NS, 30 * SECOND_NS, 300 * SECOND_NS),
    shadow_rules=frozenset(),
    reopening=ReopeningPolicy(Decimal("0.10"), Decimal(50), Decimal(5_000_000), 1800 * SECOND_NS),
    first_sight=FirstSight.CONFIRM,
    explained_loss=ExplainedLossPolicy(
        deny=True,
        mark_share=Decimal("0.002"),
        hull_widths=Decimal(2),
        trip_accounts=3,
        window_ns=10 * SECOND_NS,
        trusted_age_max_ns=3600 * SECOND_NS,
        halted=Halted.DENY_ALL,
    ),
    burst=BurstPolicy(accounts=100, window_ns=10 * SECOND_NS, move_share=Decimal("0.003")),
    slow_walk=SlowWalkPolicy(lag_ns=20 * SECOND_NS, trip_after_ns=90 * SECOND_NS),
)


def market(text: str, name: str = BTC) -> MarketPolicy:
    return parse_policy(text, "policy.toml").markets[name]


def test_policy_when_nothing_is_given_then_all_defaults_hold() -> None:
    policy = parse_policy(ONE_MARKET, "policy.toml")
    assert policy.markets == {BTC: DEFAULTS}
    assert replace(policy, revision="", markets={}) == Policy(
        revision="",
        shadow=False,
        global_breaker=GlobalPolicy(1, Decimal("0.2"), 60 * SECOND_NS, shadow=False),
        remembered_requests_max=10_000,
        markets={},
        two_actors=frozenset(),
        two_actors_within_ns=600 * SECOND_NS,
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
    assert policy.markets["SOL-USD-PERP"].funding.rate_max == Decimal("0.02")
    assert policy.markets["PAXG-USD-PERP"].divergence.base == Decimal("0.005")
    assert policy.markets["PAXG-USD-PERP"].explained_loss.mark_share == Decimal("0.001")
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
    assert found == replace(
        DEFAULTS,
        market_class="thin",
        required=False,
        first_sight=FirstSight.OPERATOR,
        band=replace(DEFAULTS.band, share=Decimal("0.00075"), agreement_ns=5 * SECOND_NS, post_only_min_ns=0),
        reopening=replace(
            DEFAULTS.reopening,
            start_share=Decimal("0.25"),
            notional_per_s=Decimal("250000.5"),
            deadline_ns=1200 * SECOND_NS,
        ),
        explained_loss=replace(
            DEFAULTS.explained_loss,
            deny=False,
            trip_accounts=5,
            window_ns=20 * SECOND_NS,
            halted=Halted.ALLOW_EXPLAINED,
            hull_widths=Decimal("0.5"),
            trusted_age_max_ns=60 * SECOND_NS,
        ),
        burst=BurstPolicy(accounts=0, window_ns=5 * SECOND_NS, move_share=Decimal("0.004")),
        slow_walk=SlowWalkPolicy(lag_ns=12_500_000_000, trip_after_ns=0),
        references=replace(DEFAULTS.references, sources=frozenset({"d", "e", "f"})),
        shadow_rules=frozenset({"band", "basis"}),
    )


def test_durations_when_written_with_decimals_then_they_are_exact() -> None:
    text = ONE_MARKET + 'divergence.settle_s = "0.000000001"\nstaleness.deny_after_s = "1.5"\n'
    found = market(text)
    assert (found.divergence.settle_ns, found.staleness.deny_after_ns) == (1, 1_500_000_000)


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
    assert exact.markets[BTC].band.share == Decimal("0.000123456789")
    assert exact.markets[BTC].reopening.notional_per_s == Decimal("123456789012345.123456789012")


def test_guard_when_acts_take_two_actors_then_those_and_the_time_are_in_force() -> None:
    text = '[guard]\ntwo_actors = ["reset", "resume", "rebaseline"]\ntwo_actors_within_s = 90\n'
    policy = parse_policy(text + ONE_MARKET, "policy.toml")
    assert policy.two_actors == {TwoActorAct.RESUME, TwoActorAct.RESET, TwoActorAct.REBASELINE}
    assert policy.two_actors_within_ns == 90 * SECOND_NS


def test_deadline_when_equal_to_what_it_must_cover_then_it_is_valid() -> None:
    text = "breaker = { cooldown_s = 120, healthy_s = 120 }\nreopening.deadline_s = 120\n"
    assert market(ONE_MARKET + text).reopening.deadline_ns == 120 * SECOND_NS


def test_slow_walk_when_it_looks_back_just_less_than_marks_are_kept_then_it_is_valid() -> None:
    text = 'basis.window_s = "20.000000001"\ndivergence.window_s = 20\n'
    assert market(ONE_MARKET + text).slow_walk.lag_ns == 20 * SECOND_NS


def test_policy_when_it_lists_no_markets_then_it_is_valid() -> None:
    assert parse_policy("[classes.default]\n", "policy.toml").markets == {}


def test_market_rules_are_the_rules_of_a_market() -> None:
    assert set(MARKET_RULES) == {
        "validity",
        "ordering",
        "staleness",
        "funding_continuity",
        "funding_rate",
        "divergence",
        "reference_quorum",
        "band",
        "basis",
        "unexplained_loss",
        "unexplained_burst",
        "slow_walk",
    }


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


def test_recording_markets_when_unknown_to_the_policy_then_they_get_the_default_class_and_their_facts() -> None:
    policy_file = parse_policy_file("[classes.default]\nwarm_observations = 5\n", "policy.toml")
    policy = policy_file.with_markets({"X": MarketFacts(Decimal("0.02"), 3600, GapMode.FREEZE), "Y": MarketFacts()})
    plain = replace(DEFAULTS, warm_observations=5)
    funding = replace(DEFAULTS.funding, rate_max=Decimal("0.02"), period_ns=3600 * SECOND_NS, gap_mode=GapMode.FREEZE)
    assert policy.markets == {"X": replace(plain, funding=funding), "Y": plain}
    assert policy_file.policy().markets == {}


def test_recording_markets_when_listed_in_the_policy_then_they_keep_their_class_and_overrides() -> None:
    policy_file = parse_policy_file(BASE + "warm_observations = 7\n", "policy.toml")
    policy = policy_file.with_markets({"A": MarketFacts(Decimal("0.03")), "C": MarketFacts(period_s=3600)})
    before = policy_file.policy().markets
    assert policy.markets == {
        "A": replace(before["A"], funding=replace(before["A"].funding, rate_max=Decimal("0.03"))),
        "B": before["B"],
        "C": replace(before["C"], funding=replace(before["C"].funding, period_ns=3600 * SECOND_NS)),
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
        "b c": MarketFacts(Decimal("1e-99999")),
    }
    with pytest.raises(PolicyError) as caught:
        policy_file.with_markets(facts)
    bounds = "expected a number more than 0 and at most 1"
    assert str(caught.value).splitlines() == [
        "policy.toml with a recording's markets: the policy has 6 violations",
        "  markets.X.funding.period_s: was 0, expected a number at least 60 and at most 604800",
        f"  markets.X.funding.rate_max: was NaN, {bounds}",
        f"  markets.GLOBAL.funding.rate_max: was 1E+99999, {bounds}",
        '  markets."b c".funding.rate_max: was 1E-99999, expected at most 12 decimals',
        '  markets.GLOBAL: was "GLOBAL", expected another name: that is the scope of the GLOBAL breaker',
        (
            '  markets."b c": was "b c", expected a name of 1 to 64 letters, digits and . _ : / - '
            "that starts with a letter or digit"
        ),
    ]
