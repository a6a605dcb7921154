"""What the policy of a market cannot see, and how soon it sees the rest, put together from what each rule says.

Limits are fractions of the price, and so of an account's notional. None means of any size, zero that nothing passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from circuit_guard.core.envelope import FundingParameters
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.rule import Delay, Rule, Unseen, Where
from circuit_guard.core.rulebook import MARKET_RULES, RULES, runs
from circuit_guard.core.rules.funding_continuity import funding_drift
from circuit_guard.core.rules.unexplained_loss import account_limit


@dataclass(frozen=True, slots=True)
class Passing:
    """The largest corruption of one kind that passes, where a check comes without its account and where with it."""

    what: str
    label: str
    without_account: Decimal | None
    with_account: Decimal | None


@dataclass(frozen=True, slots=True)
class Taken:
    """What one unseen error can take within an hour from an account that holds a position all the time."""

    what: str
    label: str
    share: Decimal | None
    """A fraction of the account's notional; None: any part of it."""


def taken_in_an_hour(policy: MarketPolicy) -> list[Taken]:
    """Return the largest loss of each kind, while the reference price stands still, and that of all kinds together.

    Funding takes what the position pays too much. A wrongful closure takes the account's surplus, and by how much its
    price is wrong. `tests/adversary` searches for more.
    """
    drift, passes = funding_drift(policy), {one.what: one for one in passing(policy)}
    mark, execution = passes["mark_price"], passes["execution_price"].with_account
    judged = enforced(policy, "funding_continuity") and not policy.of(FundingParameters).rates_only
    lying = account_limit(policy, supported=True) if enforced(policy, "divergence") else None
    honest, funding, alone = (
        (drift.premium_at_cap, drift.premium_wrong_too, drift.unpublished) if judged else (None, None, None)
    )
    parts = (alone, mark.with_account, execution)
    whole = None if None in parts else sum((part for part in parts if part is not None), Decimal(0))
    return [
        Taken("funding_premium_true", "funding: the premium is published and true", honest),
        Taken("funding_premium_wrong", "funding: the premium is wrong as well, beyond what prices say", funding),
        Taken("funding_unpublished", "funding: no premium is published, or the index price is wrong too", alone),
        Taken("closure_without_account", "its surplus: closed by a check without its account", mark.without_account),
        Taken("closure_with_account", "its surplus: closed by a check with its account", mark.with_account),
        Taken("closure_source_lies", "the same, while one reference of three has lied for 5 min", lying),
        Taken("execution_price", "the price of that closure", execution),
        Taken("together", "all of it: wrong funding, and a closure by a check with its account", whole),
    ]


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
