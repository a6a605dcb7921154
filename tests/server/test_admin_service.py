"""AdminService: commands and status over gRPC. The stream of events is in test_watch_events."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from circuit_guard.core.breaker import BreakerParameters
from circuit_guard.core.facts import HaltChanged
from circuit_guard.core.halts import HALTS_MAX
from circuit_guard.core.reopening import ReopeningParameters
from circuit_guard.core.types import SECOND_NS, Phase
from circuit_guard.server.convert import events, received
from circuit_guard.v1 import admin_pb2, types_pb2
from tests.driver import BTC, ETH, Driver, policy_of
from tests.server.commands import halt, reset, resume, set_phase
from tests.server.conftest import Start
from tests.server.harness import Harness, check, refused


def deadline_s(guard: Harness) -> float:
    return guard.engine.policy.markets[BTC].of(ReopeningParameters).deadline_ns / SECOND_NS


async def test_halt_when_one_market_is_named_then_it_alone_is_denied_until_resumed(guard: Harness) -> None:
    halted = await guard.admin.Halt(halt())
    denied = await guard.decide(check(request_id="a"))
    other = await guard.decide(check(request_id="b", market=ETH, account=None))
    resumed = await guard.admin.Resume(resume(reason="all good"))
    allowed = await guard.decide(check(request_id="c"))

    [event] = halted.events
    assert event.at == guard.time()
    assert (event.halt_changed.scope, event.halt_changed.halted) == (BTC, True)
    assert (event.halt_changed.actor, event.halt_changed.reason) == ("alice", "looking into it")
    assert (denied.verdict, other.verdict) == (types_pb2.VERDICT_DENY, types_pb2.VERDICT_ALLOW)
    assert (resumed.events[0].halt_changed.halted, resumed.events[0].halt_changed.reason) == (False, "all good")
    assert allowed.verdict == types_pb2.VERDICT_ALLOW


async def test_halt_when_everything_is_named_then_resuming_a_market_does_not_lift_it(guard: Harness) -> None:
    await guard.admin.Halt(halt(scopes=["GLOBAL"]))

    code, info, _ = await refused(guard.admin.Resume(resume()))
    denied = await guard.decide(check())
    await guard.admin.Resume(resume(scopes=["GLOBAL"]))

    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "COMMAND_REFUSED")
    assert info.metadata["value"] == BTC
    assert denied.verdict == types_pb2.VERDICT_DENY
    assert guard.engine.state.global_halt is None


async def test_halt_when_it_is_to_expire_then_it_says_when_and_ends_by_itself(guard: Harness) -> None:
    request = halt(expires_after=Duration(seconds=900, nanos=500))
    expires_at = guard.time(ahead_s=900)
    expires_at.nanos += 500

    halted = await guard.admin.Halt(request)
    status = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest())).status
    async with guard.engine.subscribe(lambda fact: isinstance(fact, HaltChanged)) as facts:
        guard.driver.run(901, BTC)
        expired = events.event(await anext(aiter(facts)))
    allowed = await guard.decide(check())

    assert halted.events[0].halt_changed.expires_at == expires_at
    assert status.markets[0].halt.expires_at == expires_at
    assert (expired.at, expired.halt_changed.halted, expired.halt_changed.actor) == (expires_at, False, "")
    assert expired.halt_changed.reason == "the halt of alice expired: looking into it"
    assert allowed.verdict == types_pb2.VERDICT_ALLOW


async def test_halt_when_another_halts_for_less_then_the_longer_stands_and_both_are_shown(guard: Harness) -> None:
    for scope in (BTC, "GLOBAL"):
        await guard.admin.Halt(halt(scopes=[scope], reason="until I say"))
        await guard.admin.Halt(halt(scopes=[scope], actor="bob", expires_after=Duration(seconds=60)))
    status = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest())).status
    shown = received.guard(status)
    guard.driver.run(61, BTC)
    denied = await guard.decide(check())

    [market] = [market for market in status.markets if market.market == BTC]
    for longest, others in ((market.halt, market.other_halts), (status.global_halt, status.other_global_halts)):
        [other] = others
        assert (longest.actor, longest.reason, longest.HasField("expires_at")) == ("alice", "until I say", False)
        assert (other.actor, other.reason, other.HasField("expires_at")) == ("bob", "looking into it", True)
    assert [halt.actor for halt in shown.global_halts] == ["alice", "bob"]
    assert denied.verdict == types_pb2.VERDICT_DENY
    observed = [found.observed for found in denied.findings if found.reason == "operator_halt"]
    assert observed == ["halted by alice: until I say"] * 2


async def test_halt_when_the_actor_has_a_longer_one_then_the_answer_says_that_it_stays(guard: Harness) -> None:
    await guard.admin.Halt(halt(reason="until I say"))
    again = await guard.admin.Halt(halt(expires_after=Duration(seconds=60)))

    [event] = again.events
    changed = event.halt_changed
    assert (changed.halted, changed.stays, changed.actor) == (True, True, "alice")
    assert not changed.HasField("expires_at")
    assert changed.reason.startswith("the halt that stands lasts longer (until I say), and one until ")
    assert changed.reason.endswith(" changes nothing: looking into it")
    [stands] = guard.engine.state.markets[BTC].halts
    assert (stands.reason, stands.expires_ns) == ("until I say", None)


async def test_halt_when_a_scope_has_as_many_as_it_takes_then_one_more_is_refused(guard: Harness) -> None:
    for number in range(HALTS_MAX):
        await guard.admin.Halt(halt(actor=f"operator {number}"))

    code, info, details = await refused(guard.admin.Halt(halt(actor="one more")))

    assert (code, info.reason, info.metadata["value"]) == (grpc.StatusCode.FAILED_PRECONDITION, "COMMAND_REFUSED", BTC)
    assert "expected scopes with fewer than 100 halts of other actors: resume first; nothing was changed" in details


async def test_halt_when_no_expiry_is_given_then_it_has_none(guard: Harness) -> None:
    halted = await guard.admin.Halt(halt())
    status = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest())).status

    assert not halted.events[0].halt_changed.HasField("expires_at")
    assert not status.markets[0].halt.HasField("expires_at")


async def test_status_when_closures_are_held_then_it_says_since_when_and_whether_too_long(guard: Harness) -> None:
    before = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest())).status.markets[0]
    since = guard.time()
    await guard.admin.Halt(halt())
    held = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest())).status.markets[0]
    guard.driver.clock.advance(deadline_s(guard) + 1)
    late = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest())).status.markets

    assert (before.HasField("held_since"), before.overdue) == (False, False)
    assert (held.held_since, held.overdue) == (since, False)
    assert [market.overdue for market in late] == [True, False]


async def test_status_when_a_market_re_opens_then_the_ramp_is_told_until_it_is_over(guard: Harness) -> None:
    await guard.admin.Halt(halt())
    guard.driver.run(10, BTC)
    resumed = await guard.admin.Resume(resume())
    status = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest())).status.markets
    guard.driver.run(int(guard.engine.policy.markets[BTC].of(BreakerParameters).half_open_ns / SECOND_NS) + 1, BTC)
    over = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest())).status.markets[0]

    reopened = [event.market_reopened for event in resumed.events if event.HasField("market_reopened")]
    assert [(event.market, event.held.seconds) for event in reopened] == [(BTC, 10)]
    start_share = float(guard.engine.policy.markets[BTC].of(ReopeningParameters).start_share)
    assert (status[0].HasField("ramp_share"), status[0].ramp_share) == (True, start_share)
    assert not status[1].HasField("ramp_share")
    assert not over.HasField("ramp_share")


async def test_reset_when_the_breaker_is_latched_then_it_closes_and_the_market_shows_evidence_again(
    guard: Harness,
) -> None:
    guard.driver.clock.advance(1)
    await guard.observe(guard.observation(funding_index="0"))
    latched = await guard.decide(check(request_id="a"))

    response = await guard.admin.ResetBreaker(reset())
    after = await guard.decide(check(request_id="b"))

    assert (latched.breaker, latched.lifted_by) == (types_pb2.BREAKER_STATE_OPEN, types_pb2.LIFTED_BY_OPERATOR)
    changed = response.events[0].breaker_changed
    assert (changed.scope, changed.actor, changed.note) == (BTC, "alice", "looking into it")
    assert (changed.before, changed.after) == (types_pb2.BREAKER_STATE_OPEN, types_pb2.BREAKER_STATE_CLOSED)
    assert after.breaker == types_pb2.BREAKER_STATE_CLOSED
    assert "warming" in {finding.reason for finding in after.findings}


@pytest.mark.parametrize("scope", [BTC, "GLOBAL"])
async def test_reset_when_the_breaker_is_closed_then_it_is_refused(guard: Harness, scope: str) -> None:
    code, info, _ = await refused(guard.admin.ResetBreaker(reset(scopes=[scope])))

    assert (code, info.reason, info.metadata["value"]) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "COMMAND_REFUSED",
        scope,
    )


async def test_phase_when_it_is_set_for_everything_then_every_market_enters_it(guard: Harness) -> None:
    response = await guard.admin.SetPhase(set_phase(phase=types_pb2.PHASE_MAINTENANCE, scopes=["GLOBAL"]))
    again = await guard.admin.SetPhase(set_phase(phase=types_pb2.PHASE_MAINTENANCE, scopes=["GLOBAL"]))
    denied = await guard.decide(check())

    changes = {event.phase_changed.market: event.phase_changed for event in response.events}
    assert changes.keys() == {BTC, ETH}
    assert (changes[BTC].before, changes[BTC].after) == (types_pb2.PHASE_OPEN, types_pb2.PHASE_MAINTENANCE)
    assert (changes[BTC].actor, changes[BTC].note) == ("alice", "looking into it")
    assert not again.events
    assert (denied.phase, denied.lifted_by) == (types_pb2.PHASE_MAINTENANCE, types_pb2.LIFTED_BY_EXCHANGE)
    assert denied.ask_again_after.seconds == 5


async def test_phase_when_a_rollback_is_announced_then_the_market_remembers_it(guard: Harness) -> None:
    await guard.admin.SetPhase(set_phase(phase=types_pb2.PHASE_CANCEL_ONLY, rollback=True))

    market = guard.engine.state.markets[BTC]
    assert (market.phase.commanded, market.rollback_ns) == (Phase.CANCEL_ONLY, guard.engine.now_ns())


async def test_status_when_the_guard_is_healthy_then_every_market_is_described(guard: Harness) -> None:
    status = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest())).status

    assert status.at == guard.time()
    assert status.policy_revision == guard.engine.policy.revision
    assert (status.ready, list(status.not_ready_reasons), status.shadow) == (True, [], False)
    assert status.global_breaker.state == types_pb2.BREAKER_STATE_CLOSED
    assert not status.HasField("global_halt")
    assert [market.market for market in status.markets] == [BTC, ETH]
    market = status.markets[0]
    assert (market.market_class, market.required, market.warm) == ("default", True, True)
    assert (market.phase, market.commanded_phase) == (types_pb2.PHASE_OPEN, types_pb2.PHASE_OPEN)
    assert (market.mark_price, market.index_price, market.funding_index) == ("92600", "92600", "20511")
    assert (market.reference_price, market.references_fresh) == ("92600", 3)
    assert (market.mark_age.seconds, market.HasField("mark_age")) == (0, True)
    assert float(market.funding_envelope.low) < 20_511 < float(market.funding_envelope.high)
    assert float(market.mark_limits.low) < 92_600 < float(market.mark_limits.high)
    assert not market.denying
    assert {headroom.rule for headroom in market.headroom} >= {"staleness", "funding_continuity"}
    assert all(0 <= headroom.left_ratio <= 1 for headroom in market.headroom)


async def test_status_when_a_market_is_latched_and_halted_then_it_says_why_and_since_when(guard: Harness) -> None:
    guard.driver.clock.advance(1)
    latched_at = guard.time()
    await guard.observe(guard.observation(funding_index="0"))
    await guard.admin.Halt(halt(scopes=["GLOBAL"]))

    status = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest())).status
    market = status.markets[0]

    assert (status.global_halt.actor, status.global_halt.reason) == ("alice", "looking into it")
    assert (market.breaker.state, market.breaker.latched) == (types_pb2.BREAKER_STATE_OPEN, True)
    assert (market.breaker.since, market.breaker.generation) == (latched_at, 1)
    assert "funding_jump" in {finding.reason for finding in market.breaker.findings}
    assert {"operator_halt", "breaker_open", "funding_jump"} <= {finding.reason for finding in market.denying}


async def test_status_when_a_market_is_cold_then_what_is_not_known_is_absent(start: Start) -> None:
    guard = await start(Driver(policy_of(BTC)))

    status = (await guard.admin.GetStatus(admin_pb2.GetStatusRequest())).status
    market = status.markets[0]

    assert not status.ready
    assert list(status.not_ready_reasons) == [f"market {BTC} is required and still warming"]
    assert (market.mark_price, market.funding_index, market.reference_price) == ("", "", "")
    assert not any(market.HasField(name) for name in ("mark_age", "funding_age", "funding_envelope", "mark_limits"))
