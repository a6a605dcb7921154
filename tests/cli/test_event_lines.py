"""Every kind of event has its line."""

from __future__ import annotations

import pytest

from circuit_guard.cli import event_lines
from circuit_guard.v1 import event_pb2, liquidation_pb2, order_pb2, types_pb2

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
        "M breaker HALF_OPEN (in the band only)",
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


def test_line_when_an_event_is_newer_than_this_version_then_it_is_passed_over_in_words() -> None:
    assert event_lines.line(event_pb2.Event()).plain.endswith("an event of a kind that this version does not know")
