"""All rules, found in `core/rules`, and what is derived from them: which run, the reasons, the groups of parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

from circuit_guard.core import rules
from circuit_guard.core.breaker import BreakerParameters
from circuit_guard.core.envelope import FundingParameters
from circuit_guard.core.hours import HoursParameters
from circuit_guard.core.market import FeedParameters
from circuit_guard.core.parameters import Parameters
from circuit_guard.core.phase import PhaseParameters
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.price import PriceParameters
from circuit_guard.core.references import HullParameters, ReferenceParameters
from circuit_guard.core.reopening import ReopeningParameters
from circuit_guard.core.rule import Judges, Rule
from circuit_guard.core.types import Finding, Severity
from circuit_guard.core.view import MarketView

Planned = tuple[tuple[Callable[[MarketView, MarketPolicy], Iterable[Finding]], bool], ...]
"""What is evaluated, in order, and whether in shadow."""


class Plan(NamedTuple):
    """Which rules run under a market's policy: on data, on closures, and those of them that look at accounts."""

    data: Planned
    closures: Planned
    accounts: Planned


def _found() -> Iterator[Rule]:
    for module in iter_modules(rules.__path__):
        yield import_module(f"{rules.__name__}.{module.name}").RULE


RULES: dict[str, Rule] = {rule.name: rule for rule in sorted(_found(), key=lambda rule: rule.rank)}
"""Every rule by name, in the order in which their findings stand in an answer."""
MARKET_RULES = tuple(name for name, rule in RULES.items() if rule.judges is not Judges.MARKETS)
"""Those that judge a market by itself: they can be in shadow, per market."""
JUDGED_AGAIN = tuple(rule for rule in RULES.values() if rule.judged_again)

_MACHINERY: tuple[type[Parameters], ...] = (
    PriceParameters,
    FundingParameters,
    HullParameters,
    ReferenceParameters,
    FeedParameters,
    PhaseParameters,
    BreakerParameters,
    ReopeningParameters,
    HoursParameters,
)
GROUPS: tuple[type[Parameters], ...] = (
    *_MACHINERY,
    *(group for name in MARKET_RULES if (group := RULES[name].parameters) is not None),
)
"""Every group of parameters that a market's policy has."""

_ASKED = {
    False: frozenset({Judges.DATA, Judges.BOTH}),
    True: frozenset({Judges.CLOSURES, Judges.BOTH}),
}


def evaluate_all(view: MarketView, policy: MarketPolicy) -> list[Finding]:
    """Run every rule and return every finding. A shadow rule's findings are marked; it never hides another's."""
    plan = _plan(policy)
    return _evaluated(plan.data if view.closure is None else plan.closures, view, policy)


def evaluate_accounts(view: MarketView, policy: MarketPolicy) -> list[Finding]:
    """Run the rules that look at the account of a check, and no other."""
    return _evaluated(_plan(policy).accounts, view, policy)


def _evaluated(planned: Planned, view: MarketView, policy: MarketPolicy) -> list[Finding]:
    findings: list[Finding] = []
    for evaluate, shadow in planned:
        if shadow:
            findings.extend(replace(finding, shadow=True) for finding in evaluate(view, policy))
        else:
            findings.extend(evaluate(view, policy))
    return findings


def closure_rules(policy: MarketPolicy) -> list[Rule]:
    """Return the rules that judge closures under a policy, those in shadow among them."""
    return [rule for rule in map(RULES.__getitem__, MARKET_RULES) if rule.judges in _ASKED[True] and runs(rule, policy)]


def still_denied(view: MarketView, policy: MarketPolicy) -> bool:
    """Return whether an enforced rule whose denial references can lift still denies the observation of the view."""
    return any(
        finding.severity >= Severity.DENY
        for rule in JUDGED_AGAIN
        if runs(rule, policy) and rule.name not in policy.shadow_rules
        for finding in rule.evaluate(view, policy)
    )


def runs(rule: Rule, policy: MarketPolicy) -> bool:
    """Return whether a rule runs under a policy. One recorded before the rule has no parameters for it."""
    return rule.parameters is None or rule.parameters in policy.groups


def _plan(policy: MarketPolicy) -> Plan:
    plan: Plan | None = policy.plan
    if plan is None:
        running = [rule for rule in map(RULES.__getitem__, MARKET_RULES) if runs(rule, policy)]
        asked = [rule for rule in running if rule.judges in _ASKED[True]]
        data = [rule for rule in running if rule.judges in _ASKED[False]]
        accounts = [rule for rule in asked if rule.judges_accounts]
        plan = Plan(*(_planned(rules, policy) for rules in (data, asked, accounts)))
        object.__setattr__(policy, "plan", plan)  # it follows from the policy alone, so the policy stays what it is
    return plan


def _planned(rules: Iterable[Rule], policy: MarketPolicy) -> Planned:
    return tuple((rule.evaluate, rule.name in policy.shadow_rules) for rule in rules)
