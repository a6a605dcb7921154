"""MaintenanceService.Rebaseline: values given, values of a checkpoint, and repaired accounts."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import grpc
import pytest

from circuit_guard.core.types import SECOND_NS
from circuit_guard.v1 import admin_pb2, maintenance_pb2, status_pb2, types_pb2
from tests.driver import BTC, ETH, INDEX, START_NS, Driver, policy_of
from tests.journal.builders import tamper
from tests.recording.recorded_guard import RecordedGuard
from tests.server.commands import baseline, rebaseline
from tests.server.conftest import Start
from tests.server.harness import Harness, account, basis, check, position, refused


async def market_status(guard: Harness, market: str = BTC) -> status_pb2.MarketStatus:
    status: status_pb2.GuardStatus = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest())).status
    return next(found for found in status.markets if found.market == market)


async def checkpoint_of(guard: Harness) -> int:
    checkpoint = await guard.engine.checkpoint()
    assert checkpoint is not None
    return checkpoint.sequence


async def test_rebaseline_when_a_value_is_given_then_it_is_the_truth_from_now_on(guard: Harness) -> None:
    response = await guard.maintenance.Rebaseline(rebaseline(baselines=[baseline(BTC, "700.5")]))

    changed = response.events[0].rebaselined
    assert (changed.market, changed.funding_index_before, changed.funding_index_after) == (BTC, "20511", "700.5")
    assert (changed.actor, changed.reason, changed.HasField("checkpoint_id")) == ("alice", "looking into it", False)
    assert response.events[1].phase_changed.after == types_pb2.PHASE_RECOVERING, "evidence starts afresh"
    assert not response.HasField("proposal")
    trusted = guard.engine.state.markets[BTC].trusted
    assert (trusted.funding_index, trusted.funding_seen_ns) == (Decimal("700.5"), guard.engine.now_ns())


async def test_rebaseline_when_the_value_is_zero_then_it_is_a_value(guard: Harness) -> None:
    response = await guard.maintenance.Rebaseline(rebaseline(baselines=[baseline(BTC, "0")]))

    assert response.events[0].rebaselined.funding_index_after == "0"
    assert (await market_status(guard)).funding_index == "0"


async def test_rebaseline_when_a_factor_is_given_then_everything_moves_and_the_references_start_over(
    guard: Harness,
) -> None:
    response = await guard.maintenance.Rebaseline(rebaseline(factor="1000", scopes=[BTC]))

    changed = response.events[0].rebaselined
    assert (changed.factor, changed.funding_index_before, changed.funding_index_after) == ("1000", "20511", "20511000")
    assert (changed.mark_price_before, changed.mark_price_after) == ("92600", "92600000")
    assert response.events[1].phase_changed.note == "rescaled by 1000 by an operator: evidence starts afresh"
    status = await market_status(guard)
    assert (status.funding_index, status.mark_price, status.references_fresh) == ("20511000", "92600000", 0)


async def test_rebaseline_when_prices_are_given_then_they_are_the_truth_with_the_index(guard: Harness) -> None:
    values = maintenance_pb2.Baseline(
        market=BTC, funding_index="2.05", mark_price="9.26", index_price="9.25", funding_premium="-0.0009"
    )

    response = await guard.maintenance.Rebaseline(rebaseline(baselines=[values]))

    changed = response.events[0].rebaselined
    assert (changed.factor, changed.mark_price_before, changed.mark_price_after) == ("", "92600", "9.26")
    trusted = guard.engine.state.markets[BTC].trusted
    assert (trusted.mark_price, trusted.index_price, trusted.funding_index, trusted.funding_premium) == tuple(
        map(Decimal, ("9.26", "9.25", "2.05", "-0.0009"))
    )


async def test_rebaseline_when_a_price_cannot_be_one_then_it_is_named_and_nothing_changes(guard: Harness) -> None:
    before = guard.state()
    negative = maintenance_pb2.Baseline(market=BTC, funding_index="2.05", mark_price="-9.26")

    code, info, message = await refused(guard.maintenance.Rebaseline(rebaseline(baselines=[negative])))

    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "COMMAND_REFUSED")
    assert message.startswith(f'mark_price was "-9.26 for {BTC}", expected a price')
    assert guard.state() == before


async def test_rebaseline_when_a_checkpoint_is_named_then_its_values_and_their_time_are_taken(
    recorded: Harness,
) -> None:
    number = await checkpoint_of(recorded)
    as_of_ns = recorded.engine.now_ns()
    for seconds in range(1, 60):
        recorded.driver.clock.advance(1)
        for market in (BTC, ETH):
            recorded.driver.refer(market)
            recorded.driver.observe(market, funding_index=INDEX + Decimal(seconds) / 100)

    response = await recorded.maintenance.Rebaseline(rebaseline(checkpoint_id=number, scopes=["GLOBAL"]))

    changes = [event.rebaselined for event in response.events if event.HasField("rebaselined")]
    assert [(change.market, change.funding_index_after) for change in changes] == [(BTC, "20511"), (ETH, "20511")]
    assert {(change.funding_index_before, change.checkpoint_id) for change in changes} == {("20511.59", number)}
    trusted = recorded.engine.state.markets[BTC].trusted
    assert (trusted.funding_index, trusted.funding_seen_ns) == (Decimal(20511), as_of_ns)
    assert (await market_status(recorded)).discarded_intervals == 1
    tainted = await recorded.decide(check(account=account(position(cached_funding_index="20511.3"))))
    assert "account_tainted" in {finding.reason for finding in tainted.findings}


async def test_rebaseline_when_the_accounts_were_repaired_then_none_is_tainted_any_more(recorded: Harness) -> None:
    number = await checkpoint_of(recorded)
    recorded.driver.clock.advance(1)
    recorded.driver.refer()
    recorded.driver.observe(funding_index=INDEX + 1)
    await recorded.maintenance.Rebaseline(rebaseline(checkpoint_id=number, scopes=[BTC]))
    before = (await market_status(recorded)).discarded_intervals

    response = await recorded.maintenance.Rebaseline(rebaseline(repaired=[BTC]))

    changed = response.events[0].rebaselined
    assert (changed.market, changed.funding_index_before, changed.funding_index_after) == (BTC, "", "")
    assert (before, (await market_status(recorded)).discarded_intervals) == (1, 0)


async def test_rebaseline_when_the_market_is_latched_then_it_stays_so(guard: Harness) -> None:
    guard.driver.clock.advance(1)
    await guard.observe(guard.observation(funding_index="0"))

    await guard.maintenance.Rebaseline(rebaseline(baselines=[baseline(BTC, "0")]))

    assert (await market_status(guard)).breaker.latched
    denied = await guard.decide(check(basis=basis(funding_index="0")))
    assert "breaker_open" in {finding.reason for finding in denied.findings}


@pytest.mark.parametrize("offset", [0, 1, 2**40])
async def test_rebaseline_when_there_is_no_such_checkpoint_then_nothing_is_found(
    recorded: Harness, offset: int
) -> None:
    number = 0 if not offset else await checkpoint_of(recorded) + offset
    before = recorded.state()

    code, info, message = await refused(recorded.maintenance.Rebaseline(rebaseline(checkpoint_id=number, scopes=[BTC])))

    assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_CHECKPOINT")
    assert (info.metadata["field"], info.metadata["value"]) == ("checkpoint_id", str(number))
    assert message.startswith(f"checkpoint_id was {number}, expected a checkpoint of the journal")
    assert recorded.state() == before


async def test_rebaseline_when_there_is_no_journal_then_no_checkpoint_can_be_had(guard: Harness) -> None:
    code, info, message = await refused(guard.maintenance.Rebaseline(rebaseline(checkpoint_id=7, scopes=[BTC])))

    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CHECKPOINT_GONE")
    assert "the guard keeps no journal" in message


async def test_rebaseline_when_the_checkpoint_has_no_value_for_a_market_then_that_is_named(
    start: Start, tmp_path: Path
) -> None:
    async with RecordedGuard(tmp_path, policy_of(BTC, ETH)) as driver:
        driver.run(40, BTC)
        guard = await start(driver, directory=tmp_path)
        number = await checkpoint_of(guard)
        driver.run(40, ETH)

        code, info, message = await refused(
            guard.maintenance.Rebaseline(rebaseline(checkpoint_id=number, scopes=["GLOBAL"]))
        )
        one = await guard.maintenance.Rebaseline(rebaseline(checkpoint_id=number, scopes=[BTC]))

    assert (code, info.reason, info.metadata["value"]) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "COMMAND_REFUSED",
        ETH,
    )
    assert message.startswith(
        f'scopes was "{ETH}", expected markets with a trusted funding index in checkpoint {number}'
    )
    assert one.events[0].rebaselined.market == BTC


async def test_rebaseline_when_the_checkpoint_is_of_the_future_then_it_is_refused(start: Start, tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, policy_of(BTC)) as driver:
        driver.run(40, BTC)
        guard = await start(driver, directory=tmp_path)
        number = await checkpoint_of(guard)
        driver.clock.monotonic -= 30 * SECOND_NS

        code, info, message = await refused(
            guard.maintenance.Rebaseline(rebaseline(checkpoint_id=number, scopes=[BTC]))
        )

    assert (code, info.metadata["value"]) == (grpc.StatusCode.FAILED_PRECONDITION, f"checkpoint {number}")
    assert "expected a checkpoint of the past: the clock was set back" in message


async def test_rebaseline_when_the_checkpoint_was_changed_then_it_is_not_used(
    recorded: Harness,
) -> None:
    number = await checkpoint_of(recorded)
    assert recorded.directory is not None
    tamper(recorded.directory, "UPDATE checkpoint SET body = x'00'")
    before = recorded.state()

    code, info, message = await refused(recorded.maintenance.Rebaseline(rebaseline(checkpoint_id=number, scopes=[BTC])))

    assert (code, info.reason) == (grpc.StatusCode.DATA_LOSS, "CHECKPOINT_UNREADABLE")
    assert "its state was changed" in message
    assert recorded.state() == before


async def test_rebaseline_when_a_market_was_never_seen_then_it_is_refused(start: Start) -> None:
    guard = await start(Driver(policy_of(BTC)))

    code, info, message = await refused(guard.maintenance.Rebaseline(rebaseline(baselines=[baseline()])))

    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "COMMAND_REFUSED")
    assert message.startswith(f'markets was "{BTC}", expected markets with a mark price that was trusted once')
    assert guard.engine.now_ns() == START_NS
