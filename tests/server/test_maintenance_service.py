"""MaintenanceService: begin, validate, end; what is denied meanwhile and what goes on afterwards."""

from __future__ import annotations

import grpc
import pytest

from circuit_guard.core.facts import MaintenanceBegan
from circuit_guard.core.types import BreakerState, Outcome, Phase
from circuit_guard.server.convert import enums
from circuit_guard.server.convert.requests import ROWS_MAX
from circuit_guard.v1 import admin_pb2, maintenance_pb2, status_pb2, types_pb2
from tests.driver import BTC, ETH, Driver, policy_of
from tests.server.commands import baseline, begin, end, rebaseline, row, set_phase, validate
from tests.server.conftest import Start
from tests.server.harness import Harness, check, refused


async def begun(guard: Harness) -> maintenance_pb2.BeginMaintenanceResponse:
    response: maintenance_pb2.BeginMaintenanceResponse = await guard.maintenance.BeginMaintenance(begin())
    return response


async def validated(guard: Harness, *rows: maintenance_pb2.StateRow) -> maintenance_pb2.ValidateStateResponse:
    response: maintenance_pb2.ValidateStateResponse = await guard.maintenance.ValidateState(validate(*rows))
    return response


async def maintenance_status(guard: Harness) -> tuple[bool, status_pb2.MaintenanceStatus]:
    status = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest())).status
    return status.HasField("maintenance"), status.maintenance


async def test_begin_when_there_is_a_journal_then_everything_is_denied_and_a_checkpoint_is_on_the_disk(
    recorded: Harness,
) -> None:
    response = await begun(recorded)
    checkpoint = await recorded.engine.recorded_checkpoint(response.checkpoint_id)
    denied = await recorded.decide(check())

    assert response.checkpoint_name == "maintenance-2026-01-19T00:00:40Z"
    assert checkpoint is not None
    assert (checkpoint.name, checkpoint.digest) == (response.checkpoint_name, response.checkpoint_digest)
    assert checkpoint.content().state.maintenance is not None, "a restart goes on with the maintenance"
    [began, *phases] = response.events
    assert (began.maintenance_began.actor, began.maintenance_began.reason) == ("alice", "looking into it")
    assert began.maintenance_began.checkpoint_name == response.checkpoint_name
    assert {event.phase_changed.market for event in phases} == {BTC, ETH}
    assert (denied.verdict, denied.phase) == (types_pb2.VERDICT_DENY, types_pb2.PHASE_MAINTENANCE)


async def test_begin_when_there_is_no_journal_then_it_is_refused_before_anything_changes(guard: Harness) -> None:
    before = guard.state()

    code, info, message = await refused(guard.maintenance.BeginMaintenance(begin()))

    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_JOURNAL")
    assert info.metadata["field"] == "journal.directory"
    assert message.startswith("journal.directory was not given, expected a state directory in the settings")
    assert guard.state() == before


async def test_begin_when_the_caller_gives_up_then_the_checkpoint_is_made_all_the_same(recorded: Harness) -> None:
    async with recorded.engine.subscribe(lambda fact: isinstance(fact, MaintenanceBegan)) as facts:
        call = recorded.maintenance.BeginMaintenance(begin())
        await anext(aiter(facts))
        call.cancel()
    _, info, _ = await refused(recorded.maintenance.BeginMaintenance(begin(actor="bob")))
    await recorded.engine.checkpoint()
    with recorded.journal_reader() as reader:
        names = [checkpoint.name for checkpoint in reader.checkpoints()]

    assert (info.reason, info.metadata["field"]) == ("COMMAND_REFUSED", "maintenance")
    assert "maintenance-2026-01-19T00:00:40Z" in names


async def test_validate_when_the_state_is_as_it_was_then_it_is_clean(recorded: Harness) -> None:
    await begun(recorded)
    recorded.driver.clock.advance(60)

    response = await validated(recorded, row(recorded), row(recorded, market=ETH))

    assert response.clean
    assert [(found.market, found.outcome) for found in response.outcomes] == [
        (BTC, types_pb2.OUTCOME_OK),
        (ETH, types_pb2.OUTCOME_OK),
    ]
    assert response.outcomes[0].sentence == "the state goes on from what was last trusted"
    assert response.outcomes[0].subject == ""


async def test_validate_when_a_funding_index_was_reset_then_the_market_is_named_and_all_explained(
    recorded: Harness,
) -> None:
    await begun(recorded)

    response = await validated(recorded, row(recorded, funding_index="0"), row(recorded, market=ETH))

    assert not response.clean
    found = response.outcomes[0]
    assert (found.market, found.outcome, found.subject) == (BTC, types_pb2.OUTCOME_FUNDING_JUMP, "funding_index")
    assert found.observed.startswith("0, a step of -20511")
    assert found.sentence == (
        f"funding cannot have moved the funding index there: funding_index was {found.observed}, expected {found.limit}"
    )


@pytest.mark.parametrize(
    ("changes", "outcome", "sentence"),
    [
        ({"mark_price": "9260"}, Outcome.PRICE, "a price is neither near the references nor near"),
        ({"mark_price": "NaN"}, Outcome.INVALID, "a value is impossible: mark_price was NaN"),
        ({"mark_price": ""}, Outcome.MISSING, "something is missing from the dump: mark_price was not given"),
        ({"funding_index": ""}, Outcome.MISSING, "something is missing from the dump: funding_index was not given"),
        ({"market": "DOGE"}, Outcome.MISSING, "something is missing from the dump: market was not in the dump"),
    ],
)
async def test_validate_when_a_row_is_wrong_then_its_outcome_says_how(
    recorded: Harness, changes: dict[str, str], outcome: Outcome, sentence: str
) -> None:
    await begun(recorded)

    response = await validated(recorded, row(recorded, **changes), row(recorded, market=ETH))

    found = response.outcomes[0]
    assert (response.clean, found.market, found.outcome) == (False, BTC, enums.OUTCOMES[outcome])
    assert found.sentence.startswith(sentence)


async def test_validate_when_the_dump_has_a_market_of_nobody_then_it_is_extra(recorded: Harness) -> None:
    await begun(recorded)

    response = await validated(
        recorded, row(recorded), row(recorded, market=ETH), row(recorded, market="DOGE", funding_index="1")
    )

    assert [found.outcome for found in response.outcomes] == [
        types_pb2.OUTCOME_EXTRA,
        types_pb2.OUTCOME_OK,
        types_pb2.OUTCOME_OK,
    ]
    assert response.outcomes[0].sentence.startswith("the policy does not name this market: market was DOGE")


async def test_validate_when_a_row_has_several_faults_then_the_worst_leads_and_each_other_is_named(
    recorded: Harness,
) -> None:
    await begun(recorded)

    faulty = row(recorded, market=ETH, mark_price="NaN", funding_index="0")
    response = await validated(recorded, row(recorded, funding_index=""), faulty)

    worst, other = response.outcomes
    assert (worst.market, worst.outcome) == (ETH, types_pb2.OUTCOME_FUNDING_JUMP)
    assert list(worst.also) == ["invalid: mark_price was NaN, expected a finite number"]
    assert worst.sentence.endswith("(also invalid: mark_price was NaN, expected a finite number)")
    assert (other.market, other.outcome, list(other.also)) == (BTC, types_pb2.OUTCOME_MISSING, [])


async def test_validate_when_two_markets_were_swapped_then_each_names_the_other(recorded: Harness) -> None:
    await recorded.maintenance.Rebaseline(rebaseline(baselines=[baseline(ETH, "700")]))
    await begun(recorded)

    response = await validated(
        recorded, row(recorded, funding_index="700"), row(recorded, market=ETH, funding_index="20511")
    )

    assert [(found.outcome, found.swapped_with) for found in response.outcomes] == [
        (types_pb2.OUTCOME_SWAPPED, ETH),
        (types_pb2.OUTCOME_SWAPPED, BTC),
    ]
    assert response.outcomes[0].sentence.startswith(f"the value of {ETH} stands here: funding_index was 700")


async def test_end_when_one_market_is_not_clean_then_it_is_latched_and_the_others_go_on(recorded: Harness) -> None:
    await begun(recorded)
    await validated(recorded, row(recorded, funding_index="0"), row(recorded, market=ETH))

    response = await recorded.maintenance.EndMaintenance(end(reason="upgrade done"))

    assert (list(response.clean), list(response.latched)) == ([ETH], [BTC])
    ended = response.events[0].maintenance_ended
    assert (ended.actor, ended.reason, list(ended.clean), list(ended.latched)) == (
        "alice",
        "upgrade done",
        [ETH],
        [BTC],
    )
    markets = recorded.engine.state.markets
    assert (markets[BTC].breaker.state, markets[BTC].breaker.latched) == (BreakerState.OPEN, True)
    assert markets[ETH].breaker.state is BreakerState.CLOSED
    assert {market.phase.effective() for market in markets.values()} == {Phase.POST_ONLY}


async def test_end_when_nothing_was_validated_then_it_is_refused_unless_that_is_meant(recorded: Harness) -> None:
    await begun(recorded)

    code, info, message = await refused(recorded.maintenance.EndMaintenance(end()))
    forced = await recorded.maintenance.EndMaintenance(end(unvalidated=True))

    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "COMMAND_REFUSED")
    assert message.startswith('validated was "nothing", expected a validated dump')
    assert (list(forced.clean), list(forced.latched)) == ([], [BTC, ETH])


async def test_status_when_a_maintenance_runs_then_it_says_where_it_stands(recorded: Harness) -> None:
    before = await maintenance_status(recorded)
    since = recorded.time()
    await begun(recorded)
    _, nothing_yet = await maintenance_status(recorded)
    recorded.driver.clock.advance(5)
    await validated(recorded, row(recorded, funding_index="0"), row(recorded, market=ETH))
    there, running = await maintenance_status(recorded)

    assert not before[0]
    assert (nothing_yet.HasField("validated_at"), nothing_yet.clean_count) == (False, 0)
    assert there
    assert (running.actor, running.reason, running.since) == ("alice", "looking into it", since)
    assert running.checkpoint_name == "maintenance-2026-01-19T00:00:40Z"
    assert (running.validated_at, running.clean_count, running.not_clean_count) == (recorded.time(), 1, 1)


async def test_phase_when_a_maintenance_runs_then_only_its_end_lets_closures_through(recorded: Harness) -> None:
    await begun(recorded)

    code, _, message = await refused(recorded.admin.SetPhase(set_phase(phase=types_pb2.PHASE_OPEN)))

    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert message.startswith('phase was "OPEN", expected MAINTENANCE or CANCEL_ONLY until the maintenance is ended')


async def test_validate_when_the_dump_has_as_many_markets_as_it_may_then_the_answer_arrives(
    recorded: Harness,
) -> None:
    await begun(recorded)
    names = (BTC, ETH, *(f"{number:0>100}-USD-PERP" for number in range(ROWS_MAX - 2)))

    response = await validated(recorded, *(row(recorded, market=name) for name in names))

    assert len(response.outcomes) == ROWS_MAX
    assert response.ByteSize() < 4 * 1024 * 1024


async def test_service_when_the_engine_was_never_given_a_journal_then_validation_still_wants_a_maintenance(
    start: Start,
) -> None:
    guard = await start(Driver(policy_of(BTC)))

    for request in (validate(row(guard)), end()):
        code, info, _ = await refused(
            guard.maintenance.ValidateState(request)
            if isinstance(request, maintenance_pb2.ValidateStateRequest)
            else guard.maintenance.EndMaintenance(request)
        )
        assert (code, info.metadata["field"]) == (grpc.StatusCode.FAILED_PRECONDITION, "maintenance")
        assert info.metadata["expected"] == "a maintenance that has begun"
