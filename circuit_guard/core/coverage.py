"""What the policy of a market cannot see, and how soon it sees the rest, put together from what each rule says.

Limits are fractions of the price, and so of an account's notional. None means of any size, zero that nothing passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.rule import Delay, Rule, Unseen, Where
from circuit_guard.core.rulebook import MARKET_RULES, RULES, runs


@dataclass(frozen=True, slots=True)
class Passing:
    """The largest corruption of one kind that passes, where a check comes without its account and where with it."""

    what: str
    label: str
    without_account: Decimal | None
    with_account: Decimal | None


def enforced(policy: MarketPolicy, rule: str) -> bool:
    """Return whether the rule enforces what it finds: it is not in shadow."""
    return rule not in policy.shadow_rules


def passing(policy: MarketPolicy) -> list[Passing]:
    """Return what passes of each kind while the reference price stands still: the smallest limit of all rules."""
    limits: dict[str, list[Unseen]] = {}
    for rule in _rules(policy):
        for one in rule.unseen(policy):
            limit = one.limit if enforced(policy, rule.name) else None
            limits.setdefault(one.what, []).append(Unseen(one.what, limit, one.where, one.label))
    return [
        Passing(
            what,
            next(one.label for one in given if one.label),
            _smallest(given, Where.WITHOUT_ACCOUNT),
            _smallest(given, Where.WITH_ACCOUNT),
        )
        for what, given in limits.items()
    ]


def delays(policy: MarketPolicy) -> Iterator[tuple[str, Delay]]:
    """Yield every kind of corruption that a rule of the market can see, with the rule's name."""
    for rule in _rules(policy):
        for delay in rule.delays(policy):
            yield rule.name, delay


def notes(policy: MarketPolicy, *only: str) -> Iterator[str]:
    """Yield what the figures leave out, in sentences: of the rules named, or of all."""
    for rule in _rules(policy):
        if not only or rule.name in only:
            yield from rule.notes(policy)


def _rules(policy: MarketPolicy) -> Iterator[Rule]:
    for name in MARKET_RULES:
        if runs(RULES[name], policy):
            yield RULES[name]


def _smallest(given: list[Unseen], where: Where) -> Decimal | None:
    """Return the smallest limit that holds for checks of a kind; None where there is none."""
    limits = (one.limit for one in given if one.where in (Where.EVERYWHERE, where))
    return min((limit for limit in limits if limit is not None), default=None)
