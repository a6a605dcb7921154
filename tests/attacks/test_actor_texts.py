"""What an actor calls himself is a text; who he is, is proven. No text can pass for another, or for two."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from circuit_guard.config.security import Role, SecuritySettings
from circuit_guard.core import facts
from circuit_guard.core.inputs import PhaseCommand
from circuit_guard.core.types import BreakerState, Phase
from circuit_guard.journal.codec import decode, encode
from circuit_guard.journal.record import Kind
from circuit_guard.v1 import admin_pb2, maintenance_pb2
from tests.driver import BTC, ETH, policy_of
from tests.recording.recorded_guard import RecordedGuard, read
from tests.security.identities import SECURITY, Start, as_, identity
from tests.server import commands

OPERATOR = as_(Role.OPERATOR)
TEXTS = {
    "alice": "bastion (as alice)",
    "laptop": "bastion (as laptop)",
    "alice via bastion": 'bastion (as "alice via bastion")',
    "alice and bob": 'bastion (as "alice and bob")',
    "alice) and laptop (as bob": 'bastion (as "alice) and laptop (as bob")',
    'alice" and "bob': r'bastion (as "alice\" and \"bob")',
}


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    starting = Start()
    yield starting
    await starting.end()


def security() -> SecuritySettings:
    laptop = identity(Role.OPERATOR, token_sha256=("0" * 64,))
    return SecuritySettings.model_construct(identities={**SECURITY.identities, "laptop": laptop})


@pytest.mark.parametrize("text", TEXTS)
async def test_halt_when_its_actor_is_any_text_then_identity_and_text_are_told_apart_everywhere(
    start: Start, tmp_path: Path, text: str
) -> None:
    async with RecordedGuard(tmp_path, policy_of(BTC, ETH)) as driver:
        guard = await start(driver, directory=tmp_path, security=security())
        halted = await guard.admin.Halt(commands.halt(actor=text, scopes=[BTC]), metadata=OPERATOR)
        await guard.admin.SetPhase(commands.set_phase(actor=text), metadata=OPERATOR)
        status = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest(), metadata=OPERATOR)).status
        await driver.engine.durable()

    event, halt = halted.events[0].halt_changed, status.markets[0].halt
    inputs = [record.payload for record in read(tmp_path) if record.kind is Kind.INPUT]
    [recorded] = [act for act in inputs if "HaltCommand" in act]
    [phase] = [act for act in inputs if "PhaseCommand" in act]
    assert (event.identity, event.actor) == ("bastion", TEXTS[text])
    assert (halt.identity, halt.actor) == ("bastion", TEXTS[text])
    assert '"identity":"bastion"' in recorded
    assert '"identity":"bastion"' in phase


async def test_act_when_the_caller_is_known_then_its_event_says_the_identity_beside_the_actor(
    start: Start, tmp_path: Path
) -> None:
    who: dict[str, Any] = {"actor": "alice and bob", "reason": "a test"}
    async with RecordedGuard(tmp_path, policy_of(BTC, ETH)) as driver:
        guard = await start(driver, directory=tmp_path, security=SECURITY)
        phase = await guard.admin.SetPhase(commands.set_phase(actor=who["actor"]), metadata=OPERATOR)
        begun = await guard.maintenance.BeginMaintenance(
            maintenance_pb2.BeginMaintenanceRequest(**who), metadata=OPERATOR
        )
        status = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest(), metadata=OPERATOR)).status
        ended = await guard.maintenance.EndMaintenance(
            maintenance_pb2.EndMaintenanceRequest(**who, unvalidated=True), metadata=OPERATOR
        )
        reset = await guard.admin.ResetBreaker(admin_pb2.ResetBreakerRequest(scopes=[BTC], **who), metadata=OPERATOR)
        repaired = await guard.maintenance.Rebaseline(
            maintenance_pb2.RebaselineRequest(repaired=[BTC], **who), metadata=OPERATOR
        )
        await driver.engine.durable()

    events = [event for answer in (phase, begun, ended, reset, repaired) for event in answer.events]
    acts = [getattr(event, event.WhichOneof("kind")) for event in events]
    by_kind = {event.WhichOneof("kind"): act for event, act in zip(events, acts, strict=True) if act.actor}
    assert set(by_kind) == {"phase_changed", "maintenance_began", "maintenance_ended", "breaker_changed", "rebaselined"}
    assert {act.identity for act in by_kind.values()} == {"bastion"}
    assert {act.identity for act in acts if not act.actor} <= {""}
    assert status.maintenance.identity == "bastion"
    told = [record.payload for record in read(tmp_path) if record.kind is Kind.FACT]
    by_hand = [payload for payload in told if '"actor":"bastion (as' in payload]
    assert by_hand
    assert all('"identity":"bastion"' in payload for payload in by_hand)


@pytest.mark.parametrize(
    "fact",
    [
        facts.BreakerChanged(1, BTC, BreakerState.OPEN, BreakerState.CLOSED, False, 2, (), "alice", "why"),
        facts.PhaseChanged(1, BTC, Phase.OPEN, Phase.MAINTENANCE, "alice", "why"),
        facts.MaintenanceBegan(1, "alice", "why", "before"),
        facts.StateValidated(1, "alice", ()),
        facts.MaintenanceEnded(1, "alice", "why", (BTC,), ()),
        facts.Rebaselined(1, BTC, None, None, "alice", "why"),
    ],
)
def test_fact_when_it_was_recorded_before_it_had_an_identity_then_it_is_read(fact: facts.Fact) -> None:
    old = encode(fact).replace(',"identity":""', "")
    assert old != encode(fact)
    assert decode(old) == fact


def test_journal_when_it_was_written_before_acts_had_an_identity_then_it_is_read() -> None:
    old = '{"PhaseCommand":{"at_ns":1,"phase":"OPEN","markets":[],"actor":"bastion (as alice)","reason":"back"}}'

    assert decode(old) == PhaseCommand(1, Phase.OPEN, (), "bastion (as alice)", "back", identity="")
