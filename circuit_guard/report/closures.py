"""Every closure asked about: whether it was wrongful as far as trusted values say, and what it takes from its account.

- UNEXPLAINED: the account was healthy at every value that can honestly be: wrongful.
- EXPLAINED: under water at all of them: justified. But where the account was settled with a funding index known to be
  wrong, that verdict rests on the wrong value: it is settled anew with the true one, and judged at true values.
- INDETERMINATE, NOT_EVALUATED, or asked about without its account: undecided, to be reconciled by people.

All amounts are in quote currency. What a position of signed size `s` adds to its account is, by the formula of the
margin surplus (DESIGN 3, the part of one position),

    s*mark - s*(funding index - cached index) - s*entry

so a closure at values that were not true takes from its account, where `s` is what was closed,

    taken = s*(true mark - price used)                                the price difference
          + s*((index used - true index) + (true cached - cached))    the false funding

whatever the entry price. The account cannot lose more than it truly held, its equity at true values; what is charged
beyond that, the exchange is left with:

    loss = min(taken, equity)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from enum import StrEnum
from itertools import chain
from typing import NamedTuple

from circuit_guard.core import margin
from circuit_guard.core.envelope import FundingParameters, Interval
from circuit_guard.core.inputs import Account, Check
from circuit_guard.core.margin import World
from circuit_guard.core.types import ARITHMETIC, CheckKind, Explanation, Severity, Verdict
from circuit_guard.report.evidence import Ask, Evidence, Seen
from circuit_guard.report.funding import FundingHistory

ZERO = Decimal(0)


class PriceSource(StrEnum):
    """Where the trusted price of a market comes from."""

    MARK = "published mark price"
    REFERENCES = "reference price"


class Truth(NamedTuple):
    """What was true of a market when a closure was asked about, as far as the journal tells."""

    mark: Decimal
    source: PriceSource
    funding_index: Decimal


@dataclass(frozen=True, slots=True)
class Amounts:
    """One closure, valued. `used`: what the engine computed with; `true`: what it should have."""

    price_used: Decimal
    true_price: Decimal
    price_source: PriceSource
    index_used: Decimal
    true_index: Decimal
    cached: Decimal | None
    """The funding index that the account says its position was settled at; None without an account."""
    true_cached: Decimal | None
    price_difference: Decimal
    false_funding: Decimal
    equity: Decimal | None
    """What the account truly held; None without an account."""

    @property
    def taken(self) -> Decimal:
        """Return what the closure takes beyond what it should."""
        return self.price_difference + self.false_funding

    @property
    def loss(self) -> Decimal:
        """Return what of that is the account's loss."""
        return self.taken if self.equity is None else min(self.taken, max(self.equity, ZERO))

    @property
    def beyond(self) -> Decimal:
        """Return what of it is more than the account held."""
        return self.taken - self.loss


def truth_of(seen: Seen, history: FundingHistory, funding: FundingParameters) -> Truth | None:
    """Return what was true of a market; None where nothing is known of its price or of its funding index.

    The price: the mark price as published, where no rule doubted it, else the median of the references.
    """
    price, source = (
        (seen.mark, PriceSource.MARK) if seen.mark_trusted else (seen.reference_price, PriceSource.REFERENCES)
    )
    index = seen.funding_index if seen.index_trusted else history.true_index(seen.event_ns, funding)
    return None if price is None or index is None else Truth(price, source, index)


def resettled(
    account: Account,
    histories: Mapping[str, FundingHistory],
    funding: Mapping[str, FundingParameters],
    tainted: set[str],
) -> Account | None:
    """Return the account as it would be, had it been settled at true funding indices; None where they are not known."""
    positions = []
    for position in account.positions:
        if position.market in tainted:
            history = histories[position.market]
            settled_ns = history.settled_at(position.cached_funding_index)
            cached = None if settled_ns is None else history.true_index(settled_ns, funding[position.market])
            if cached is None:
                return None
            position = replace(position, cached_funding_index=cached)
        positions.append(position)
    return replace(account, positions=tuple(positions))


def amounts(check: Check, seen: Seen, truths: Mapping[str, Truth], account: Account | None) -> Amounts | None:
    """Return what the closure takes; None where the engine's values are not known. `account`: as truly settled."""
    truth, closed = truths[check.market], -check.size
    price = next((p for p in (check.execution_price, check.basis.mark_price, seen.mark) if p is not None), None)
    index = check.basis.funding_index if check.basis.funding_index is not None else seen.funding_index
    if price is None or index is None:
        return None
    cached = _cached(check.account, check.market)
    true_cached = _cached(account, check.market)
    settled = ZERO if cached is None or true_cached is None else true_cached - cached
    return Amounts(
        price_used=price,
        true_price=truth.mark,
        price_source=truth.source,
        index_used=index,
        true_index=truth.funding_index,
        cached=cached,
        true_cached=true_cached,
        price_difference=closed * (truth.mark - price),
        false_funding=closed * (index - truth.funding_index + settled),
        equity=None if account is None else _equity(account, truths),
    )


def _cached(account: Account | None, market: str) -> Decimal | None:
    """Return the index that the positions in a market were settled at, weighted by their sizes where there are more."""
    positions = [p for p in (account.positions if account is not None else ()) if p.market == market]
    size = sum((abs(position.size) for position in positions), ZERO)
    if len(positions) == 1:
        return positions[0].cached_funding_index
    return sum((abs(p.size) * p.cached_funding_index for p in positions), ZERO) / size if size else None


def _equity(account: Account, truths: Mapping[str, Truth]) -> Decimal:
    equity = account.collateral
    for position in account.positions:
        truth = truths[position.market]
        funded = truth.funding_index - position.cached_funding_index
        equity += position.size * (truth.mark - position.entry_price) - position.size * funded
    for asset in account.assets:
        equity += asset.quantity * truths[asset.market].mark
    return equity


CENT = Decimal("0.01")
OF_INSOLVENCY = frozenset({CheckKind.LIQUIDATION, CheckKind.INSURANCE_TRANSFER})
"""The kinds of closures that only an account under water gives a reason for."""


class Assessment(StrEnum):
    """What trusted values say of a closure, with what was learned later."""

    WRONGFUL = "wrongful"
    JUSTIFIED = "justified"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Closure:
    """One closure: a question that was allowed, or all the questions about one that never was, valued at the first."""

    ask: Ask
    assessment: Assessment
    why: str
    """What the assessment rests on."""
    amounts: Amounts | None
    """None where nothing is known to value it with."""
    asked: int = 1
    """How often the engine asked, this one included."""
    tainted: tuple[str, ...] = ()
    """The markets in which the account was settled with a wrong funding index."""

    @property
    def allowed(self) -> bool:
        """Whether it was allowed: it is taken to have been carried out."""
        return self.ask.decision.verdict is Verdict.ALLOW

    @property
    def loss(self) -> Decimal:
        """Return the account's estimated loss, or what it was spared; zero where it gains, or where that is unknown."""
        return Decimal(0) if self.amounts is None else max(self.amounts.loss, Decimal(0))

    @property
    def mispriced(self) -> bool:
        """Whether it was justified, and yet takes a cent or more that it should not."""
        return self.assessment is Assessment.JUSTIFIED and self.loss >= CENT

    def reasons(self) -> list[str]:
        """Return why it was denied, or would have been had the guard not been in shadow."""
        findings = self.ask.decision.findings
        return list(dict.fromkeys(str(found.reason) for found in findings if found.severity >= Severity.DENY))


def closures(evidence: Evidence) -> list[Closure]:
    """Return every closure of the window, in the order in which they were first asked about."""
    grouped: dict[tuple[str, str, str], list[Ask]] = {}
    for ask in evidence.asks:
        check = ask.check
        grouped.setdefault((check.account_id, check.market, check.kind), []).append(ask)
    with localcontext(ARITHMETIC):
        found = [closure for asks in grouped.values() for closure in _of_one(asks, evidence)]
    return sorted(found, key=lambda closure: closure.ask.check.at_ns)


def _of_one(asks: list[Ask], evidence: Evidence) -> Iterable[Closure]:
    """Yield the closures of one account in one market: each that was allowed, or one for all that were denied.

    Of those the first that was wrongful stands for all, so that what was denied then is not counted again.
    """
    allowed = [ask for ask in asks if ask.decision.verdict is Verdict.ALLOW]
    if allowed:
        denied = len(asks) - len(allowed)
        for number, ask in enumerate(allowed):
            yield _closure(ask, evidence, 1 if number else denied + 1)
        return
    first = _closure(asks[0], evidence, len(asks))
    later = (_closure(ask, evidence, len(asks)) for ask in asks[1:])
    yield next((closure for closure in chain([first], later) if closure.assessment is Assessment.WRONGFUL), first)


def _closure(ask: Ask, evidence: Evidence, asked: int) -> Closure:
    check, tainted = ask.check, tuple(name for name, seen in ask.seen.items() if seen.tainted)
    truths = {}
    for name, seen in ask.seen.items():
        truth = truth_of(seen, evidence.histories[name], evidence.funding[name])
        if truth is not None:
            truths[name] = truth
    account = check.account
    if account is not None and tainted:
        account = resettled(account, evidence.histories, evidence.funding, set(tainted))
    known = check.market in truths and not (check.account is not None and account is None)
    complete = account is None or all(market in truths for market in account.markets())
    valued = amounts(check, ask.seen[check.market], truths, account) if known and complete else None
    healthy = None
    if account is not None and complete and tainted:
        worlds: dict[str, World | None] = {
            name: World(Interval(truth.mark, truth.mark), Interval(truth.funding_index, truth.funding_index))
            for name, truth in truths.items()
        }
        healthy = margin.explain(account, worlds).verdict is Explanation.UNEXPLAINED
    assessment, why = _assess(ask, tainted, when_resettled=healthy)
    return Closure(ask, assessment, why, valued, asked, tainted)


def _assess(ask: Ask, tainted: tuple[str, ...], *, when_resettled: bool | None) -> tuple[Assessment, str]:
    """Return the assessment and its ground. `when_resettled`: whether it is healthy then; None: not known."""
    explained = ask.decision.explained
    if explained is None:
        return Assessment.UNDECIDED, "asked about without its account"
    if ask.check.kind not in OF_INSOLVENCY:
        return Assessment.UNDECIDED, f"{ask.check.kind} closes healthy accounts as well: compare the prices"
    verdict = explained.verdict
    if verdict is Explanation.NOT_EVALUATED:
        return Assessment.UNDECIDED, "the account has a value that is no finite number"
    if verdict is Explanation.UNEXPLAINED:
        return Assessment.WRONGFUL, "healthy at every value that can honestly be"
    if tainted:
        settled = f"settled with a wrong funding index in {', '.join(tainted)}"
        if when_resettled is None:
            return Assessment.UNDECIDED, f"{settled}, and the true one is not known"
        if when_resettled:
            return Assessment.WRONGFUL, f"{settled}; healthy with the true one"
        return Assessment.JUSTIFIED, f"{settled}; under water with the true one as well"
    if verdict is Explanation.EXPLAINED:
        return Assessment.JUSTIFIED, "under water at every value that can honestly be"
    if explained.unknown:
        return Assessment.UNDECIDED, f"nothing was trusted of {', '.join(explained.unknown)}, which decides"
    return Assessment.UNDECIDED, "healthy at some values that can honestly be, under water at others"
