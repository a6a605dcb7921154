"""Every kind of event has its line."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from circuit_guard.cli import event_lines
from circuit_guard.v1 import event_pb2, liquidation_pb2, order_pb2, types_pb2

NOT_CLEAN = types_pb2.MarketOutcome(market="M", outcome=types_pb2.OUTCOME_FUNDING_JUMP, sentence="it was reset")
LAPSES = "1970-01-01 00:10:00Z"
JUMP = types_pb2.Finding(reason="funding_jump", sentence="the funding index moved further than funding can move it")
OPEN, CLOSED, HALF_OPEN = (
    types_pb2.BREAKER_STATE_OPEN,
    types_pb2.BREAKER_STATE_CLOSED,
    types_pb2.BREAKER_STATE_HALF_OPEN,
)

LINES = [
    (
        event_pb2.Event(breaker_changed=event_pb2.BreakerChanged(scope="M", after=OPEN, latched=True, findings=[JUMP])),
        f"M breaker OPEN (denying), latched: {JUMP.sentence}",
    ),
    (
        event_pb2.Event(breaker_changed=event_pb2.BreakerChanged(scope="M", after=HALF_OPEN, findings=[JUMP])),
        "M breaker HALF_OPEN (at a rising rate)",
    ),
    (
        event_pb2.Event(breaker_changed=event_pb2.BreakerChanged(scope="M", after=CLOSED, actor="bob", note="fixed")),
        "M breaker CLOSED: reset by bob: fixed",
    ),
    (
        event_pb2.Event(observation_rejected=event_pb2.ItemRejected(market="M", source="exchange", findings=[JUMP])),
        f"M observation of exchange rejected: {JUMP.sentence}",
    ),
    (
        event_pb2.Event(reference_rejected=event_pb2.ItemRejected(market="M", source="okx", findings=[JUMP, JUMP])),
        f"M reference of okx rejected: {JUMP.sentence}; {JUMP.sentence}",
    ),
    (
        event_pb2.Event(observation_reconsidered=event_pb2.ObservationReconsidered(market="M", source="exchange")),
        "M observation of exchange is trusted after all: the references have followed it",
    ),
    (
        event_pb2.Event(
            phase_changed=event_pb2.PhaseChanged(
                market="M", before=types_pb2.PHASE_OPEN, after=types_pb2.PHASE_RECOVERING, note="a gap of 40 s"
            )
        ),
        "M phase OPEN -> RECOVERING: a gap of 40 s",
    ),
    (
        event_pb2.Event(halt_changed=event_pb2.HaltChanged(scope="GLOBAL", halted=True, actor="bob", reason="odd")),
        "GLOBAL halted by bob: odd",
    ),
    (
        event_pb2.Event(halt_changed=event_pb2.HaltChanged(scope="M", actor="bob", reason="fine")),
        "M resumed by bob: fine",
    ),
    (
        event_pb2.Event(
            halt_changed=event_pb2.HaltChanged(
                scope="M", halted=True, actor="bob", reason="odd", expires_at=Timestamp(seconds=900)
            )
        ),
        "M halted by bob: odd; until 1970-01-01 00:15:00Z",
    ),
    (
        event_pb2.Event(halt_changed=event_pb2.HaltChanged(scope="M", reason="the halt of bob expired: odd")),
        "M resumed: the halt of bob expired: odd",
    ),
    (
        event_pb2.Event(market_reopened=event_pb2.MarketReopened(market="M", held=Duration(seconds=420))),
        "M re-opens after 7 min 0 s: closures go through at a rising rate",
    ),
    (
        event_pb2.Event(
            maintenance_began=event_pb2.MaintenanceBegan(actor="bob", reason="upgrade", checkpoint_name="maintenance-1")
        ),
        "maintenance begun by bob: upgrade; checkpoint maintenance-1",
    ),
    (
        event_pb2.Event(state_validated=event_pb2.StateValidated(actor="deploy", clean_count=3)),
        "the exchange's state validated by deploy: 3 markets clean",
    ),
    (
        event_pb2.Event(
            state_validated=event_pb2.StateValidated(actor="deploy", clean_count=1, not_clean=[NOT_CLEAN] * 7)
        ),
        "the exchange's state validated by deploy: 1 market clean, 7 not: "
        + "M funding_jump: it was reset; " * 5
        + "and 2 more",
    ),
    (
        event_pb2.Event(
            maintenance_ended=event_pb2.MaintenanceEnded(actor="bob", reason="done", clean=["N"], latched=["M", "O"])
        ),
        "maintenance ended by bob: done; 1 market in POST_ONLY, 2 markets latched: M, O",
    ),
    (
        event_pb2.Event(maintenance_ended=event_pb2.MaintenanceEnded(actor="bob", reason="done", clean=["N"])),
        "maintenance ended by bob: done; 1 market in POST_ONLY, 0 markets latched",
    ),
    (
        event_pb2.Event(
            rebaselined=event_pb2.Rebaselined(
                market="M",
                funding_index_before="20511",
                funding_index_after="0",
                actor="bob",
                reason="rolled back",
                checkpoint_id=7,
            )
        ),
        "M funding index is 0, of checkpoint 7, instead of 20511, says bob: rolled back",
    ),
    (
        event_pb2.Event(
            rebaselined=event_pb2.Rebaselined(market="M", funding_index_after="1", actor="bob", reason="new")
        ),
        "M funding index is 1, instead of none, says bob: new",
    ),
    (
        event_pb2.Event(rebaselined=event_pb2.Rebaselined(market="M", actor="bob", reason="refunded")),
        "M accounts are repaired, none is tainted any more, says bob: refunded",
    ),
    (
        event_pb2.Event(
            act_proposed=types_pb2.Proposal(
                act="resume", scopes=["M", "N"], actor="bob", reason="fine", expires_at=Timestamp(seconds=600)
            )
        ),
        f"resume of M, N proposed by bob: fine; not in effect before somebody else asks for the same, until {LAPSES}",
    ),
    (
        event_pb2.Event(market_warm=event_pb2.MarketWarm(market="M")),
        "M is warm: its closures are judged from now on",
    ),
    (
        event_pb2.Event(shadow_would=event_pb2.ShadowWould(scope="M", findings=[JUMP])),
        f"M shadow: enforced, this would act: {JUMP.sentence}",
    ),
    (
        event_pb2.Event(policy_changed=event_pb2.PolicyChanged(revision="abc", added=["M", "N"], removed=["O"])),
        "policy abc in force, added M, N, removed O",
    ),
    (
        event_pb2.Event(
            command_refused=event_pb2.CommandRefused(subject="markets", observed="X", expected="markets of the policy")
        ),
        "command refused: markets was X, expected markets of the policy",
    ),
    (
        event_pb2.Event(
            decision=liquidation_pb2.LiquidationDecision(
                verdict=types_pb2.VERDICT_DENY,
                explanation="DENY M: it jumped.",
                account_id="a-1",
                request_id="r-1",
                kind=liquidation_pb2.CHECK_KIND_LIQUIDATION,
                repeated=True,
            )
        ),
        "DENY M: it jumped. [LIQUIDATION of a-1, r-1] (asked before)",
    ),
    (
        event_pb2.Event(
            decision=liquidation_pb2.LiquidationDecision(
                verdict=types_pb2.VERDICT_ALLOW,
                explanation="ALLOW M",
                account_id="a-1",
                request_id="r-1",
                kind=liquidation_pb2.CHECK_KIND_TRIGGER,
                explained_loss=liquidation_pb2.ExplainedLoss(verdict=liquidation_pb2.EXPLANATION_UNEXPLAINED),
            )
        ),
        "ALLOW M [TRIGGER of a-1, r-1, loss UNEXPLAINED]",
    ),
    (
        event_pb2.Event(check_refused=event_pb2.CheckRefused(request_id="r-1", differing="size")),
        "check r-1 refused: known with another content, in size",
    ),
    (
        event_pb2.Event(order_denied=order_pb2.OrderJudgement(order_id="o-1", explanation="DENY M: outside.")),
        "DENY M: outside. [order o-1]",
    ),
]


@pytest.mark.parametrize(("event", "text"), LINES, ids=[event.WhichOneof("kind") for event, _ in LINES])
def test_line_when_an_event_is_known_then_it_says_what_happened(event: event_pb2.Event, text: str) -> None:
    assert event_lines.line(event).plain == f"00:00:00.000 {text}"


def test_lines_when_the_contract_has_an_event_then_there_is_a_line_for_it() -> None:
    kinds = {field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["kind"].fields}

    assert {event.WhichOneof("kind") for event, _ in LINES} == kinds


@pytest.mark.parametrize(("verdict", "style"), [("UNEXPLAINED", "yellow"), ("EXPLAINED", ""), ("INDETERMINATE", "")])
def test_line_when_an_unexplained_loss_is_allowed_then_it_stands_out(verdict: str, style: str) -> None:
    loss = liquidation_pb2.ExplainedLoss(verdict=f"EXPLANATION_{verdict}")
    allowed = liquidation_pb2.LiquidationDecision(verdict=types_pb2.VERDICT_ALLOW, explained_loss=loss)

    assert event_lines.describe(event_pb2.Event(decision=allowed))[1] == style


def test_line_when_an_event_is_newer_than_this_version_then_it_is_passed_over_in_words() -> None:
    assert event_lines.line(event_pb2.Event()).plain.endswith("an event of a kind that this version does not know")
