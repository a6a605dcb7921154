"""One sentence for each fact, whoever shows it: the log, `watch`, the journal, the page, the incident report."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import get_args

import pytest

from circuit_guard.core import facts as f
from circuit_guard.core.sentences import explain_decision, headline, line, outcome_line, sentence
from circuit_guard.core.types import (
    SECOND_NS,
    BreakerState,
    CheckKind,
    Decision,
    ExplainedLoss,
    Explanation,
    Finding,
    MarketOutcome,
    Outcome,
    Phase,
    Severity,
    Verdict,
)

AT = 1_768_797_180 * SECOND_NS
LATCH = Finding("funding_jump", Severity.LATCH, "funding_index", "0", "20511 +/- 1")
STALE = Finding("data_stale", Severity.DENY, "mark_price", "16.0 s old", "at most 15.0 s")
WHY = "the funding index moved further than funding can move it: funding_index was 0, expected 20511 +/- 1"
OPENED = f.BreakerChanged(AT, "BTC", BreakerState.CLOSED, BreakerState.OPEN, True, 1, (LATCH,))
DENIED = Decision(
    "d-1",
    "r-1",
    "acct-1",
    "BTC",
    CheckKind.LIQUIDATION,
    AT,
    Verdict.DENY,
    Verdict.DENY,
    (STALE, LATCH),
    Phase.OPEN,
    BreakerState.OPEN,
    "p-1",
)
FUNDING = MarketOutcome("BTC", Outcome.FUNDING_JUMP, "funding_index", "0", "20511 +/- 1")
CLEAN = MarketOutcome("ETH", Outcome.OK)

LINES: tuple[tuple[f.Fact, str], ...] = (
    (f.ObservationJudged(AT, "BTC", "main", True, True, ()), "BTC: observation of main accepted, delivered again"),
    (f.ObservationJudged(AT, "BTC", "main", False, False, (LATCH,)), f"BTC: observation of main rejected: {WHY}"),
    (
        f.ObservationReconsidered(AT, "BTC", "main"),
        "BTC: observation of main is trusted after all: the references have followed it",
    ),
    (f.ReferenceJudged(AT, "BTC", "kraken", True, ()), "BTC: reference of kraken accepted"),
    (OPENED, f"BTC: breaker OPEN (denying), latched for funding_jump, until an operator resets it: {WHY}"),
    (
        replace(OPENED, latched=False, findings=()),
        "BTC: breaker OPEN (denying), until good data have lasted",
    ),
    (
        replace(OPENED, after=BreakerState.HALF_OPEN, latched=False),
        "BTC: breaker HALF_OPEN: closures go through at a rising rate",
    ),
    (replace(OPENED, after=BreakerState.CLOSED, latched=False), "BTC: breaker CLOSED: it no longer holds closures"),
    (
        replace(OPENED, after=BreakerState.CLOSED, latched=False, actor="alice", note="index restored"),
        "BTC: breaker CLOSED: reset by alice: index restored",
    ),
    (
        f.PhaseChanged(AT, "BTC", Phase.OPEN, Phase.MAINTENANCE, "bob", "upgrade"),
        "BTC: phase OPEN to MAINTENANCE by bob (the exchange is down for maintenance): upgrade",
    ),
    (
        f.HaltChanged(AT, "GLOBAL", True, "alice", "odd", AT + 60 * SECOND_NS),
        "GLOBAL: closures halted by alice until 2026-01-19 04:34:00Z: odd",
    ),
    (f.HaltChanged(AT, "BTC", False, "", "it expired"), "BTC: closures resumed: it expired"),
    (f.HaltChanged(AT, "BTC", True, "", "one expired", stays=True), "BTC: closures stay halted: one expired"),
    (f.MarketWarm(AT, "BTC"), "BTC: market is warm: its closures are judged from now on"),
    (
        f.MarketReopened(AT, "BTC", 420 * SECOND_NS),
        "BTC: held for 7 min 0 s; closures go through again, at a rising rate",
    ),
    (
        f.MaintenanceBegan(AT, "bob", "upgrade", "before"),
        "maintenance begun by bob: upgrade; checkpoint before is kept for it",
    ),
    (
        f.StateValidated(AT, "bob", (CLEAN, FUNDING)),
        (
            "the exchange's state validated by bob: 1 market clean, 1 not clean: BTC funding_jump: funding cannot have "
            "moved the funding index there: funding_index was 0, expected 20511 +/- 1"
        ),
    ),
    (f.StateValidated(AT, "bob", (CLEAN,)), "the exchange's state validated by bob: 1 market clean, 0 not clean"),
    (
        f.MaintenanceEnded(AT, "bob", "done", (), ("BTC",)),
        "maintenance ended by bob: done; in POST_ONLY: none; latched: BTC",
    ),
    (
        f.Rebaselined(AT, "BTC", None, Decimal("20500.5"), "bob", "rollback", 7),
        "BTC: funding index rebaselined from none to 20500.5 (checkpoint 7) by bob: rollback",
    ),
    (
        f.Rebaselined(AT, "BTC", Decimal(2), Decimal(3), "bob", "new", None, None, Decimal(7), Decimal(8)),
        "BTC: funding index rebaselined from 2 to 3, mark price from 7 to 8 by bob: new",
    ),
    (
        f.Rebaselined(
            AT, "BTC", Decimal(2), Decimal(2000), "bob", "new", None, Decimal("1e3"), Decimal(7), Decimal(7000)
        ),
        "BTC: rescaled by 1000, mark price from 7 to 7000, funding index from 2 to 2000 by bob: new",
    ),
    (
        f.Rebaselined(AT, "BTC", None, None, "bob", "rates only", None, Decimal("0.1"), Decimal(7), Decimal("0.7")),
        "BTC: rescaled by 0.1, mark price from 7 to 0.7 by bob: rates only",
    ),
    (
        f.Rebaselined(AT, "BTC", None, None, "bob", "repaired"),
        "BTC: accounts repaired by bob: repaired; no account is tainted here any more",
    ),
    (
        f.ClockChanged(AT, 40 * SECOND_NS),
        (
            "the guard's own clock is 40.0 s behind by the stamps of all publishers: closures are denied until the "
            "clock of the guard's machine is right"
        ),
    ),
    (
        f.ClockChanged(AT, -40 * SECOND_NS, -40 * SECOND_NS),
        "the guard's clock is 40.0 s ahead and stands still until the machine's clock has come to it",
    ),
    (f.ClockChanged(AT, 0, 40 * SECOND_NS), "the guard's clock was corrected by +40.0 s: evidence starts afresh"),
    (f.ClockChanged(AT, 0), "the guard's clock is right again by the stamps of the publishers"),
    (
        f.ActProposed(AT, "reset", ("BTC", "ETH"), "bob", "checked", AT),
        (
            "reset of BTC, ETH proposed by bob: checked; it takes effect if somebody else asks for the same before "
            "2026-01-19 04:33:00Z"
        ),
    ),
    (
        f.ShadowWould(AT, "BTC", (LATCH,)),
        f"BTC: in shadow: enforced, this would have acted for funding_jump: {WHY}",
    ),
    (f.PolicyChanged(AT, "p-2", ("SOL",), ("ETH",)), "policy p-2 in force, added SOL, removed ETH"),
    (
        f.CommandRefused(AT, "markets", "DOGE", "markets that the policy names"),
        "command refused: markets was DOGE, expected markets that the policy names",
    ),
    (
        f.DecisionMade(AT, DENIED),
        (
            f"DENY BTC: {WHY} (also data_stale). An operator must reset the breaker; retrying will not help. "
            "[LIQUIDATION of acct-1, r-1]"
        ),
    ),
    (
        f.DecisionMade(AT, replace(DENIED, verdict=Verdict.ALLOW, findings=()), repeated=True),
        "ALLOW BTC [LIQUIDATION of acct-1, r-1] (asked before)",
    ),
    (f.CheckRefused(AT, "r-1", "size"), "check r-1 refused: it was asked before with another size"),
    (
        f.OrderJudged(AT, "o-1", "BTC", Verdict.DENY, (STALE,)),
        (
            "DENY BTC: the last trusted value is too old: mark_price was 16.0 s old, expected at most 15.0 s. "
            "The next good data will end this; ask again in 1 s. [order o-1]"
        ),
    ),
)


@pytest.mark.parametrize(("fact", "expected"), LINES, ids=[type(fact).__name__ for fact, _ in LINES])
def test_fact_when_it_is_told_then_in_this_sentence(fact: f.Fact, expected: str) -> None:
    assert line(fact) == expected


def test_facts_when_there_are_new_kinds_then_each_has_a_sentence_here() -> None:
    assert {type(fact) for fact, _ in LINES} == set(get_args(f.Fact))


def test_breaker_when_the_guard_is_in_shadow_then_it_denies_nothing() -> None:
    assert headline(OPENED, shadow=True).startswith("breaker OPEN (in shadow: nothing is denied), latched for ")
    reopened = f.MarketReopened(AT, "BTC", SECOND_NS)
    assert sentence(reopened, shadow=True).startswith("would have been held for 1 s;")


def test_decision_when_its_shadow_verdict_differs_then_the_headline_says_so() -> None:
    allowed = replace(DENIED, verdict=Verdict.ALLOW)
    assert headline(f.DecisionMade(AT, allowed)) == "ALLOW, DENY with every rule enforced"


def test_decision_when_trusted_values_explain_the_loss_then_it_says_why_it_went_through() -> None:
    warned = replace(LATCH, severity=Severity.WARN)
    loss = ExplainedLoss(Explanation.EXPLAINED, Decimal(-2), Decimal(-1))
    allowed = replace(DENIED, verdict=Verdict.ALLOW, findings=(warned,), explained=loss)
    assert explain_decision(allowed) == (
        "ALLOW BTC: found but not enforced, because trusted values explain the loss: funding_jump"
    )
    assert explain_decision(replace(allowed, explained=None)) == "ALLOW BTC: found but not enforced: funding_jump"


def test_outcome_when_markets_are_swapped_then_the_other_is_named() -> None:
    swapped = replace(FUNDING, outcome=Outcome.SWAPPED, swapped_with="ETH")
    assert outcome_line(swapped).startswith("BTC swapped: the value of ETH stands here: funding_index was 0")
    assert outcome_line(CLEAN) == "ETH ok: the state goes on from what was last trusted"
