"""Who is recorded for an act, who counts as a second actor, and who may publish for a source."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import grpc
import pytest
import structlog

from circuit_guard.config.security import Role, SecuritySettings
from circuit_guard.server.security.tokens import token_sha256
from circuit_guard.v1 import admin_pb2, market_data_pb2
from tests.driver import BTC, ETH, Driver, policy_of
from tests.recording.recorded_guard import RecordedGuard
from tests.security.identities import SECURITY, Start, as_, bearer, identity, refusals
from tests.server import commands
from tests.server.harness import Harness, refused

OPERATOR = as_(Role.OPERATOR)
PUBLISHER = as_(Role.PUBLISHER)
TWO_ACTORS = 'two_actors = ["resume", "reset", "rebaseline"]\ntwo_actors_within_s = 60'
SECOND = "cg_the-second-operator"


def two_operators() -> SecuritySettings:
    second = identity(Role.OPERATOR, token_sha256=(token_sha256(SECOND),))
    return SecuritySettings.model_construct(identities={**SECURITY.identities, "laptop": second})


@pytest.mark.parametrize(("named", "recorded"), [("alice", "bastion (as alice)"), ("bastion", "bastion")])
async def test_act_when_the_caller_is_known_then_the_identity_is_recorded_before_the_name_given(
    guard: Harness, named: str, recorded: str
) -> None:
    halted = await guard.admin.Halt(commands.halt(actor=named), metadata=OPERATOR)
    resumed = await guard.admin.Resume(commands.resume(actor=named), metadata=OPERATOR)
    await guard.admin.SetPhase(commands.set_phase(actor=named), metadata=OPERATOR)
    guard.driver.clock.advance(1)
    guard.driver.observe(BTC, funding_index=Decimal(0))
    reset = await guard.admin.ResetBreaker(commands.reset(actor=named), metadata=OPERATOR)
    moved = await guard.maintenance.Rebaseline(
        commands.rebaseline(actor=named, baselines=[commands.baseline()]), metadata=OPERATOR
    )

    events = [*halted.events, *resumed.events, *reset.events, *moved.events]
    actors = {
        actor
        for event in events
        for actor in (event.halt_changed.actor, event.breaker_changed.actor, event.rebaselined.actor)
        if actor
    }
    assert actors == {recorded}


async def test_maintenance_when_the_caller_is_known_then_each_of_its_acts_names_the_identity(
    start: Start, tmp_path: Any
) -> None:
    async with RecordedGuard(tmp_path, policy_of(BTC)) as driver:
        driver.run(40, BTC)
        guard = await start(driver, directory=tmp_path, security=SECURITY)

        began = await guard.maintenance.BeginMaintenance(commands.begin(), metadata=OPERATOR)
        validated = await guard.maintenance.ValidateState(commands.validate(commands.row(guard)), metadata=OPERATOR)
        ended = await guard.maintenance.EndMaintenance(commands.end(), metadata=OPERATOR)

    assert {event.maintenance_began.actor for event in began.events} - {""} == {"bastion (as alice)"}
    assert {event.maintenance_ended.actor for event in ended.events} - {""} == {"bastion (as alice)"}
    assert [outcome.market for outcome in validated.outcomes] == [BTC]


async def test_halt_when_two_identities_halt_then_each_has_one_whatever_names_it_gives(start: Start) -> None:
    driver = Driver(policy_of(BTC))
    driver.run(40, BTC)
    guard = await start(driver, security=two_operators())

    await guard.admin.Halt(commands.halt(actor="alice"), metadata=OPERATOR)
    await guard.admin.Halt(commands.halt(actor="bob"), metadata=OPERATOR)
    await guard.admin.Halt(commands.halt(actor="bob"), metadata=bearer(SECOND))

    standing = [halt.actor for halt in driver.engine.state.markets[BTC].halts]
    assert standing == ["bastion (as bob)", "laptop (as bob)"]


async def test_reload_when_the_caller_is_known_then_its_log_line_names_the_identity(guard: Harness) -> None:
    with structlog.testing.capture_logs() as lines:
        await guard.admin.ReloadPolicy(commands.reload_policy(), metadata=OPERATOR)

    [line] = [line for line in lines if line["event"] == "policy_reload_requested"]
    assert line["actor"] == "bastion (as alice)"


async def test_act_when_its_actor_is_empty_then_it_is_refused_though_the_identity_is_known(guard: Harness) -> None:
    code, info, _ = await refused(guard.admin.Halt(commands.halt(actor=""), metadata=OPERATOR))

    assert (code, info.metadata["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, "actor")


@pytest.mark.parametrize("act", ["resume", "rebaseline"])
async def test_two_actors_when_one_identity_gives_two_names_then_it_is_still_one_actor(start: Start, act: str) -> None:
    driver = Driver(policy_of(BTC, ETH, guard=TWO_ACTORS))
    driver.run(40, BTC, ETH)
    guard = await start(driver, security=two_operators())
    await guard.admin.Halt(commands.halt(), metadata=OPERATOR)

    def ask(actor: str, metadata: Any) -> Any:
        if act == "resume":
            return guard.admin.Resume(commands.resume(actor=actor), metadata=metadata)
        request = commands.rebaseline(actor=actor, baselines=[commands.baseline()])
        return guard.maintenance.Rebaseline(request, metadata=metadata)

    first = await ask("alice", OPERATOR)
    same = await ask("bob", OPERATOR)
    other = await ask("alice", bearer(SECOND))

    assert (first.proposal.actor, same.proposal.actor) == ("bastion (as alice)", "bastion (as bob)")
    assert not other.HasField("proposal")
    events = [event.halt_changed.actor or event.rebaselined.actor for event in other.events]
    assert "bastion (as bob) and laptop (as alice)" in events


async def test_publisher_when_it_publishes_for_its_own_sources_then_they_are_taken(guard: Harness) -> None:
    observations = market_data_pb2.PublishObservationsRequest(observations=[guard.observation()])
    references = market_data_pb2.PublishReferencesRequest(references=[guard.reference()])

    judged = [
        *(await guard.market_data.PublishObservations(observations, metadata=PUBLISHER)).results,
        *(await guard.market_data.PublishReferences(references, metadata=PUBLISHER)).results,
    ]

    assert [result.status for result in judged] == [market_data_pb2.PUBLISH_STATUS_ACCEPTED] * 2


@pytest.mark.parametrize("source", ["kraken", "Exchange", ""])
async def test_publisher_when_one_item_is_of_another_source_then_nothing_of_the_batch_takes_effect(
    guard: Harness, source: str
) -> None:
    before = guard.state()
    request = market_data_pb2.PublishReferencesRequest(references=[guard.reference(), guard.reference(source=source)])

    code, info, message = await refused(guard.market_data.PublishReferences(request, metadata=PUBLISHER))

    assert (code, info.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SOURCE_NOT_PERMITTED")
    shown = f'"{source}"' if source else "empty"
    assert message == (
        f"source was {shown}, expected one that feed may publish for: binance, exchange; "
        "nothing of the request took effect"
    )
    assert dict(info.metadata) == {"identity": "feed", "source": source, "expected": "binance, exchange"}
    assert guard.state() == before
    assert refusals(guard, "source_not_permitted") == 1


async def test_publisher_when_it_is_not_the_exchange_then_it_cannot_publish_as_it(start: Start) -> None:
    venue = identity(Role.PUBLISHER, sources=("binance",))
    driver = Driver(policy_of(BTC))
    driver.run(40, BTC)
    guard = await start(driver, security=SecuritySettings.model_construct(identities={"venue": venue}))
    before = guard.state()
    request = market_data_pb2.PublishObservationsRequest(observations=[guard.observation(funding_index="0")])

    code, info, _ = await refused(guard.market_data.PublishObservations(request, metadata=PUBLISHER))

    assert (code, info.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SOURCE_NOT_PERMITTED")
    assert guard.state() == before


async def test_status_when_an_operator_halts_then_it_may_see_what_it_did(guard: Harness) -> None:
    await guard.admin.Halt(commands.halt(), metadata=OPERATOR)

    status = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest(), metadata=OPERATOR)).status

    assert [market.halt.actor for market in status.markets if market.HasField("halt")] == ["bastion (as alice)"]
