"""unexplained_loss: the account is healthy at every value that can honestly be, so somebody computed with another.

It sees an engine that adds up other values than it shows: a margin table, a position or a balance from elsewhere. What
is wrong in the check itself (its collateral, entry price or cached index) it takes for the truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from circuit_guard.core.envelope import FundingParameters, accrued_max, fastest, funding_bound
from circuit_guard.core.parameters import Parameters, Relation, choice, count, flag, seconds, share, widths
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.rule import CALLER, Delay, Judges, Reason, Rule, Unseen, Where, any_closure
from circuit_guard.core.rules.divergence import DivergenceParameters
from circuit_guard.core.rules.staleness import StalenessParameters
from circuit_guard.core.types import (
    CheckKind,
    Explanation,
    Finding,
    Severity,
    short_seconds,
    show,
    show_percent,
    show_seconds,
)
from circuit_guard.core.view import MarketView

UNEXPLAINED_LOSS = "unexplained_loss"

_BELIEVED = "what counts as diverging must not be believed"


class Halted(StrEnum):
    """What an OPEN breaker lets through: nothing, or closures that trusted values justify."""

    DENY_ALL = "deny_all"
    ALLOW_EXPLAINED = "allow_explained"


@dataclass(frozen=True, slots=True)
class ExplainedLossParameters(Parameters):
    """If a check carries its account, is that account under water at trusted values too (docs/design.md, section 3)?

    Nothing in this table applies to a check without an account.
    """

    TABLE: ClassVar[str] = "explained_loss"
    RELATIONS: ClassVar[tuple[Relation, ...]] = (
        Relation("explained_loss.mark_share", "at most", "divergence.base", _BELIEVED),
        Relation("explained_loss.hull_widths", "at most", "divergence.hull_widths", _BELIEVED),
        Relation(
            "explained_loss.trusted_age_max_s", "at least", "staleness.deny_after_s", "values that are not stale count"
        ),
    )

    deny: bool = flag(
        True,
        "Deny the closure of an account that is healthy at every admissible value. Set it to false if your "
        "margin formula is not that of docs/design.md, section 3: genuine closures would be denied. A wrong sum "
        "of the engine then passes.",
    )
    mark_share: Decimal = share(
        "0.002",
        "A mark price this near the hull of the reference price is believed (DESIGN 4). Wider: a larger wrong "
        "mark passes. Narrower: a mark price that honestly leads the references is not believed, and a genuine "
        "closure may wait.",
    )
    hull_widths: Decimal = widths(
        2,
        "In a crash the range grows by this many widths of the hull (DESIGN 4). With 1, one honest closure in "
        "200 waits in a crash.",
    )
    trip_accounts: int = count(
        3,
        "The market trips once the closure of this many healthy accounts was asked for, each counted once: "
        "something computes with other values (DESIGN 4). Fewer: one odd account holds everybody. More: wrong "
        "closures that carry no account pass for longer.",
        most=10_000,
    )
    window_ns: int = seconds(
        10, "Such accounts are counted within this time (DESIGN 4). Shorter: a slow run of them never trips."
    )
    confirm_after_ns: int = seconds(
        5,
        "An account counts only if it is still healthy this much later, when references that lag in a crash have "
        "caught up. Longer: wrong closures that carry no account pass for longer.",
        least=0,
    )
    trusted_age_max_ns: int = seconds(
        3600,
        "A funding index that was last trusted longer ago than this explains no loss. Longer: explained closures "
        "pass for longer in a halt, on an interval that grows with time. Shorter: they are held, and make bad "
        "debt.",
        most=86_400,
    )
    halted: Halted = choice(
        Halted.DENY_ALL,
        "deny_all: while the breaker is OPEN (denying) nothing passes, and accounts under water make bad debt. "
        "allow_explained: closures that trusted values justify pass at the ramp's rate. They also pass if only "
        "stale or wrong data or the band of RECOVERING deny them. This relies on your margin formula being that "
        "of docs/design.md and on correct accounts.",
    )


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Deny the closure of a healthy account; trip when so many different ones were asked about in a short time.

    An account that rests on a market which is not to be trusted now says nothing against this one; nor does one while
    this market's own mark price is in doubt: when references lag in a crash, all of them look healthy, and whether that
    price is wrong is for divergence to find out.
    """
    explained, rule, closure = view.explained, policy.of(ExplainedLossParameters), view.closure
    if not rule.deny or closure is None or explained is None or explained.verdict is not Explanation.UNEXPLAINED:
        return
    if closure.kind is not CheckKind.LIQUIDATION:
        return  # it closes healthy accounts by design: what matters is the price, which others judge
    accounts = view.state.unexplained.count(view.now_ns, rule.window_ns)
    trips = accounts >= rule.trip_accounts and not view.contaminated
    severity = Severity.TRIP if trips else Severity.DENY
    among = f", one of {accounts} within {show_seconds(rule.window_ns)}" if accounts > 1 else ""
    observed = f"a surplus of at least {show(explained.low)}{among}"
    yield Finding(UNEXPLAINED_LOSS, severity, "account", observed, "a loss at some admissible value")


def account_limit(policy: MarketPolicy, *, supported: bool = False) -> Decimal | None:
    """Return the surplus that an account needs at true values for its closure to be denied whatever else is wrong.

    A fraction of its notional, while the reference price stands still; None where no closure is denied for it. For a
    short the mark's part grows by its maintenance margin fraction, which grows with the mark. `supported`: while one of
    the references is wrong alike, so that the wrong mark price lies between them.
    """
    rule, funding = policy.of(ExplainedLossParameters), fastest(policy.of(FundingParameters))
    if not rule.deny or RULE.name in policy.shadow_rules:
        return None
    oldest_ns = policy.of(StalenessParameters).deny_after_ns
    mark_share = policy.of(DivergenceParameters).base if supported else rule.mark_share
    return mark_share + funding_bound(funding, Decimal(1), oldest_ns) + accrued_max(funding, oldest_ns)


def believed_within(policy: MarketPolicy, moved: Decimal) -> Decimal:
    """Return how near the references a mark price is believed, as a fraction, when they have moved by a fraction."""
    rule = policy.of(ExplainedLossParameters)
    return rule.mark_share + rule.hull_widths * moved


def _unseen(policy: MarketPolicy) -> Iterator[Unseen]:
    limit = account_limit(policy)
    yield Unseen("mark_price", limit, Where.WITH_ACCOUNT)
    if not policy.of(FundingParameters).rates_only:
        yield Unseen("callers_funding_index", limit, Where.WITH_ACCOUNT)
    yield Unseen("engine_sums", limit, Where.WITH_ACCOUNT, label="the engine's own sums: its formula and its additions")
    yield Unseen("account_as_given", None, label="the account, as the check gives it")


def _delays(policy: MarketPolicy) -> Iterator[Delay]:
    rule = policy.of(ExplainedLossParameters)
    what = f"the closure of a healthy account, given with the check (counted for {short_seconds(rule.window_ns)})"
    yield Delay(what, 0, 0, rule.trip_accounts) if rule.deny else Delay(what, None)


def _notes(policy: MarketPolicy) -> Iterator[str]:
    needed, widths_moved = account_limit(policy), policy.of(ExplainedLossParameters).hull_widths + 1
    supported = account_limit(policy, supported=True)
    if needed is None or supported is None:
        yield "No closure is denied because its account is healthy: the policy turns that off, or has it in shadow."
        return
    yield (
        f"If the check carries its account, an account whose true surplus is more than {show_percent(needed)} of "
        "its notional is not closed, whatever values its engine computed with. For a short, multiply that by 1 "
        f"plus its margin fraction. A move of the reference price adds {widths_moved:f} times the move. If one "
        "reference is wrong in the same way, so that the mark price lies between the references, the figure is "
        f"{show_percent(supported)}. The account itself is believed as the check gives it, except for a funding "
        "index that was discarded as wrong."
    )
    yield (
        "Only a check of kind LIQUIDATION is held against its account: the other kinds close healthy accounts by "
        "design. An engine that gives a liquidation another kind avoids this test. The metric decisions_total counts "
        "by kind."
    )


RULE = Rule(
    name="unexplained_loss",
    rank=100,
    catches="The closure of an account that is healthy at every admissible value (section 3). Denies. Several "
    "such accounts trip.",
    judges=Judges.CLOSURES,
    parameters=ExplainedLossParameters,
    reasons={UNEXPLAINED_LOSS: Reason("the account is healthy at every admissible value", CALLER)},
    evaluate=evaluate,
    judges_accounts=True,
    permits=any_closure,
    unseen=_unseen,
    delays=_delays,
    notes=_notes,
)
