"""AdminService.WatchEvents: what a watcher sees, and how a watch ends."""

from __future__ import annotations

from typing import Any

import grpc
from grpc import aio

from circuit_guard.v1 import admin_pb2, event_pb2, types_pb2
from tests.driver import BTC, ETH, Driver, policy_of
from tests.server.commands import baseline, begin, end, rebaseline, row, validate
from tests.server.conftest import Start
from tests.server.harness import Harness, basis, check, order, refused


async def watch(guard: Harness, **options: bool) -> Any:
    """Return a watch that has begun."""
    stream = guard.admin.WatchEvents(admin_pb2.WatchEventsRequest(**options))
    await stream.initial_metadata()
    return stream


async def kinds(stream: Any, count: int) -> list[str | None]:
    return [(await next_event(stream)).WhichOneof("kind") for _ in range(count)]


async def next_event(stream: Any) -> event_pb2.Event:
    response: admin_pb2.WatchEventsResponse = await stream.read()
    return response.event


async def test_watch_when_things_happen_then_it_streams_what_is_news_in_order(guard: Harness) -> None:
    stream = await watch(guard)
    guard.driver.clock.advance(1)

    await guard.decide(check(request_id="allowed"))
    await guard.observe(guard.observation())
    await guard.refer(guard.reference(), guard.reference(price="-1"))
    await guard.decide(check(request_id="denied", basis=basis(funding_index="0")))
    await refused(guard.decide(check(request_id="denied")))
    await guard.observe(guard.observation(feed_sequence=42, funding_index="0"))
    await guard.admin.Halt(admin_pb2.HaltRequest(scopes=[BTC], actor="alice", reason="stop"))
    await refused(guard.admin.Resume(admin_pb2.ResumeRequest(scopes=["GLOBAL"], actor="alice", reason="go")))
    await guard.judge(order(market="DOGE-USD-PERP"), order(order_id="allowed"))

    assert await kinds(stream, 8) == [
        "reference_rejected",
        "decision",
        "check_refused",
        "observation_rejected",
        "breaker_changed",
        "halt_changed",
        "command_refused",
        "order_denied",
    ]
    stream.cancel()


async def test_watch_when_an_event_arrives_then_it_carries_all_that_explains_it(guard: Harness) -> None:
    stream = await watch(guard)
    guard.driver.clock.advance(1)
    await guard.observe(guard.observation(funding_index="0"))

    rejected, changed = await next_event(stream), (await next_event(stream)).breaker_changed

    assert rejected.at == guard.time()
    assert (rejected.observation_rejected.market, rejected.observation_rejected.source) == (BTC, "exchange")
    assert (changed.scope, changed.latched, changed.generation) == (BTC, True, 1)
    assert (changed.before, changed.after) == (types_pb2.BREAKER_STATE_CLOSED, types_pb2.BREAKER_STATE_OPEN)
    assert "funding_jump" in {finding.reason for finding in changed.findings}
    assert list(changed.findings) == [
        finding for finding in rejected.observation_rejected.findings if finding.severity >= types_pb2.SEVERITY_TRIP
    ]
    stream.cancel()


async def test_watch_when_a_maintenance_runs_then_each_act_is_streamed(recorded: Harness) -> None:
    stream = await watch(recorded)
    began = await recorded.maintenance.BeginMaintenance(begin())
    await recorded.maintenance.ValidateState(validate(row(recorded, funding_index="0"), row(recorded, market=ETH)))
    ended = await recorded.maintenance.EndMaintenance(end())
    moved = await recorded.maintenance.Rebaseline(rebaseline(baselines=[baseline(ETH, "700")]))

    seen = [await next_event(stream) for _ in range(len(began.events) + 1 + len(ended.events) + len(moved.events))]

    validated = seen[len(began.events)].state_validated
    assert seen == [*began.events, seen[len(began.events)], *ended.events, *moved.events]
    assert (validated.actor, validated.clean_count) == ("deploy", 1)
    assert [(found.market, found.outcome) for found in validated.not_clean] == [(BTC, types_pb2.OUTCOME_FUNDING_JUMP)]
    stream.cancel()


async def test_watch_when_allowed_decisions_are_asked_for_then_they_are_streamed_too(guard: Harness) -> None:
    stream = await watch(guard, include_allowed=True)

    made = await guard.decide(check())

    assert (await next_event(stream)).decision == made
    stream.cancel()


async def test_watch_when_the_watcher_is_too_slow_then_it_is_told_how_much_it_lost(start: Start) -> None:
    driver = Driver(policy_of(BTC), watch_queue_max=5)
    driver.run(40, BTC)
    guard = await start(driver)
    stream = await watch(guard)

    await guard.observe(*[guard.observation(source="mirror")] * 20)
    seen = await kinds(stream, 5)
    code, info, message = await refused(stream.read())

    assert seen == ["observation_rejected"] * 5
    assert (code, info.reason, info.metadata["count"]) == (grpc.StatusCode.ABORTED, "EVENTS_LOST", "15")
    assert "watch again" in message


async def test_watch_when_there_are_enough_watchers_then_another_is_refused_until_one_leaves(start: Start) -> None:
    guard = await start(Driver(policy_of(BTC), watchers_max=1))
    stream = await watch(guard)

    code, info, _ = await refused(guard.admin.WatchEvents(admin_pb2.WatchEventsRequest()).read())
    stream.cancel()
    while guard.engine.watchers > 0:
        await guard.admin.GetStatus(admin_pb2.GetStatusRequest())
    again = await watch(guard)

    assert (code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_WATCHERS")
    assert guard.engine.watchers == 1
    again.cancel()


async def test_watch_when_the_server_drains_then_it_ends_well_after_what_was_queued(guard: Harness) -> None:
    stream = await watch(guard)
    await guard.admin.Halt(admin_pb2.HaltRequest(scopes=[BTC], actor="alice", reason="stop"))

    await guard.server.drain(grace_s=30)

    assert await kinds(stream, 1) == ["halt_changed"]
    assert await stream.read() == aio.EOF
    assert await stream.code() == grpc.StatusCode.OK
