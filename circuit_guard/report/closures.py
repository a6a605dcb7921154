"""Every closure asked about: whether it was wrongful as far as trusted values say, and what it takes.

- UNEXPLAINED: the account was healthy at every value that can honestly be: wrongful.
- EXPLAINED: under water at all of them: justified. But where the account was settled with a funding index known to be
  wrong, that verdict rests on the wrong value: it is settled anew with the true one, and judged at true values.
- INDETERMINATE, NOT_EVALUATED, or asked about without its account: undecided, to be reconciled by people.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from enum import StrEnum
from itertools import chain

from circuit_guard.core.types import ARITHMETIC, CheckKind, Explanation, Severity, Verdict
from circuit_guard.report.amounts import Amounts, amounts, healthy, resettled, truth_of
from circuit_guard.report.evidence import Ask, Evidence

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
    complete = account is None or all(position.market in truths for position in account.positions)
    valued = amounts(check, ask.seen[check.market], truths, account) if known and complete else None
    told = None if account is None or not complete or not tainted else healthy(account, truths)
    assessment, why = _assess(ask, tainted, when_resettled=told)
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
        return Assessment.UNDECIDED, f"nothing was trusted of {', '.join(explained.unknown)}"
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
    return Assessment.UNDECIDED, "healthy at some values that can honestly be, under water at others"
