"""A rule is one file: what each declares of itself is complete, and what is derived from it is right."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from circuit_guard.config.policy import parse_policy
from circuit_guard.core.coverage import delays, notes, passing
from circuit_guard.core.guard import decide, new_state, step
from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.core.market import published
from circuit_guard.core.parameters import Parameter, Parameters, parameters_of
from circuit_guard.core.policy import GlobalBreakerParameters, MarketPolicy
from circuit_guard.core.progress import view_of
from circuit_guard.core.rule import Judges
from circuit_guard.core.rulebook import GROUPS, MARKET_RULES, RULES, still_denied
from circuit_guard.core.rules import slow_walk
from circuit_guard.core.rules.divergence import DivergenceParameters
from circuit_guard.core.view import MarketView
from tests.core import world
from tests.core.world import BTC, MIDNIGHT_NS, market_policy

FILES = {path.stem for path in (Path(slow_walk.__file__).parent).glob("*.py") if path.stem != "__init__"}
TEXT = "[global_breaker]\nlatched_markets_min = 1\n[classes.default]\n[markets.BTC-USD-PERP]\n"
EVERY_GROUP: tuple[type[Parameters], ...] = (*GROUPS, GlobalBreakerParameters)
DECLARED = [(group, one) for group in EVERY_GROUP for one in parameters_of(group)]


def test_rules_when_found_then_each_file_has_one_of_its_name() -> None:
    assert set(RULES) == FILES


def test_rules_when_found_then_no_two_have_the_same_rank() -> None:
    assert len({rule.rank for rule in RULES.values()}) == len(RULES)


@pytest.mark.parametrize("name", RULES)
def test_rule_when_declared_then_it_says_what_it_catches_and_why_it_denies(name: str) -> None:
    rule = RULES[name]
    assert rule.catches.endswith(".")
    assert rule.reasons


def test_reasons_when_declared_then_each_belongs_to_one_rule() -> None:
    codes = [code for rule in RULES.values() for code in rule.reasons]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(("group", "one"), DECLARED, ids=[f"{group.TABLE}.{one.key}" for group, one in DECLARED])
def test_parameter_when_declared_then_it_means_something_and_its_default_is_within_its_bounds(
    group: type[Parameters], one: Parameter
) -> None:
    assert one.declared.meaning.endswith((".", ")", "..."))
    assert one.to_core(one.written_default) == one.default


def test_defaults_when_nothing_is_written_then_the_loader_and_the_core_have_the_same() -> None:
    loaded = parse_policy(TEXT, "policy.toml").markets["BTC-USD-PERP"]
    assert loaded.groups == {group: group() for group in GROUPS}


def test_names_when_a_table_is_shared_then_no_two_groups_declare_the_same_key() -> None:
    keys = [(group.TABLE, one.key) for group in GROUPS for one in parameters_of(group)]
    assert len(keys) == len(set(keys))


def test_coverage_when_a_rule_is_in_shadow_then_it_limits_nothing() -> None:
    policy = market_policy()
    shadowed = replace(policy, shadow_rules=frozenset({"divergence", "unexplained_loss"}))
    limits = {one.what: one for one in passing(policy)}
    assert limits["mark_price"].without_account == RULES["divergence"].parameters().base  # type: ignore[misc, union-attr]
    assert {one.what: one.with_account for one in passing(shadowed)}["mark_price"] is None


def test_coverage_when_asked_then_every_rule_that_can_deny_says_how_soon() -> None:
    named = {rule for rule, _ in delays(market_policy())}
    assert set(MARKET_RULES) - named == {"band", "reference_quorum"}  # a phase and a count, not a corruption
    assert all(note.endswith(".") for note in notes(market_policy()))


def test_rule_when_a_recorded_policy_is_older_than_it_then_it_does_not_run() -> None:
    """A journal from before a rule replays to the same decisions."""
    whole = market_policy()
    older = replace(whole, groups={group: given for group, given in whole.groups.items() if group.TABLE != "slow_walk"})
    assert "slow_walk" in {rule for rule, _ in delays(whole)}
    assert "slow_walk" not in {rule for rule, _ in delays(older)}


def diverging(policy: MarketPolicy) -> MarketView:
    """Return the view of an observation whose mark price is 30 % off three references."""
    guarded = replace(world.policy(), markets={BTC: policy})
    state = new_state(guarded, MIDNIGHT_NS)
    for venue in ("a", "b", "c"):
        step(state, Reference(MIDNIGHT_NS, BTC, venue, MIDNIGHT_NS, Decimal(100)), guarded)
    view = view_of(state.markets[BTC], policy, MIDNIGHT_NS)
    view.observation = Observation(MIDNIGHT_NS, BTC, "exchange", 0, 1, MIDNIGHT_NS, mark_price=Decimal(130))
    view.published = published(view.observation)
    return view


def test_observation_when_judged_again_and_still_diverging_then_it_stays_denied() -> None:
    assert still_denied(diverging(market_policy()), market_policy())


def test_observation_when_judged_again_then_a_rule_in_shadow_denies_nothing() -> None:
    shadowed = replace(market_policy(), shadow_rules=frozenset({"divergence"}))
    assert not still_denied(diverging(shadowed), shadowed)


def test_observation_when_judged_again_under_a_policy_older_than_the_rule_then_that_rule_does_not_run() -> None:
    whole = market_policy()
    older = replace(
        whole, groups={group: one for group, one in whole.groups.items() if group is not DivergenceParameters}
    )
    assert not still_denied(diverging(older), older)


def test_rules_when_they_judge_all_markets_together_then_they_are_not_per_market() -> None:
    assert [rule.name for rule in RULES.values() if rule.judges is Judges.MARKETS] == ["correlated_trips"]
    assert callable(decide)
