"""LiquidationGuardService: closures asked about over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc
import pytest

from circuit_guard.core.facts import DecisionMade, Fact
from circuit_guard.core.inputs import HaltCommand
from circuit_guard.core.permit import decision_of
from circuit_guard.core.types import AllowedCheck
from circuit_guard.engine.engine import Engine
from circuit_guard.v1 import admin_pb2, liquidation_pb2, types_pb2
from tests.driver import BTC, Driver, policy_of
from tests.server.conftest import Start
from tests.server.harness import BATCH_MAX, Harness, basis, check, refused


async def test_check_when_everything_is_honest_then_it_is_allowed_and_explained(guard: Harness) -> None:
    decision = await guard.decide(check())

    assert (decision.verdict, decision.shadow_verdict) == (types_pb2.VERDICT_ALLOW, types_pb2.VERDICT_ALLOW)
    assert (decision.account_id, decision.market) == ("account-1", BTC)
    assert decision.kind == liquidation_pb2.CHECK_KIND_LIQUIDATION
    assert (decision.phase, decision.breaker) == (types_pb2.PHASE_OPEN, types_pb2.BREAKER_STATE_CLOSED)
    assert decision.explanation == f"ALLOW {BTC}"
    assert decision.policy_revision == guard.engine.policy.revision
    assert decision.decided_at == guard.time()
    assert decision.lifted_by == types_pb2.LIFTED_BY_UNSPECIFIED
    assert decision.decision_id
    assert not decision.HasField("ask_again_after")
    assert not decision.repeated


async def test_check_when_the_basis_is_corrupt_then_the_denial_names_what_was_wrong(guard: Harness) -> None:
    decision = await guard.decide(check(basis=basis(funding_index="0")))

    assert decision.verdict == types_pb2.VERDICT_DENY
    [finding] = [finding for finding in decision.findings if finding.severity >= types_pb2.SEVERITY_DENY]
    assert (finding.reason, finding.rule, finding.subject) == ("basis_funding", "basis", "basis.funding_index")
    assert finding.observed == "0"
    assert finding.sentence in decision.explanation
    assert finding.lifted_by == decision.lifted_by == types_pb2.LIFTED_BY_CALLER
    assert not finding.HasField("ask_again_after")
    assert not decision.HasField("ask_again_after")


async def test_check_when_the_market_is_unknown_then_it_is_denied_and_no_error(guard: Harness) -> None:
    decision = await guard.decide(check(market="DOGE-USD-PERP"))

    assert decision.verdict == types_pb2.VERDICT_DENY
    assert [finding.reason for finding in decision.findings] == ["unknown_market"]


async def test_check_when_several_findings_deny_then_the_hardest_to_lift_and_the_longest_wait_are_on_top(
    guard: Harness,
) -> None:
    guard.driver.clock.advance(20)
    waiting = await guard.decide(check())
    await guard.admin.Halt(admin_pb2.HaltRequest(scopes=[BTC], actor="alice", reason="looking into it"))
    halted = await guard.decide(check(request_id="request-2"))

    assert "data_stale" in {finding.reason for finding in waiting.findings}
    assert waiting.lifted_by == types_pb2.LIFTED_BY_FRESH_DATA
    assert waiting.ask_again_after.seconds == 1
    assert waiting.explanation.endswith("The next good data will end this; ask again in 1 s.")
    assert {"operator_halt", "data_stale"} <= {finding.reason for finding in halted.findings}
    assert halted.lifted_by == types_pb2.LIFTED_BY_OPERATOR
    assert not halted.HasField("ask_again_after")
    assert "halted by alice: looking into it" in halted.explanation


async def test_check_when_a_market_is_latched_then_the_explanation_leads_with_what_latched_it(guard: Harness) -> None:
    guard.driver.clock.advance(1)
    await guard.observe(guard.observation(funding_index="0"))

    decision = await guard.decide(check())

    assert decision.explanation.startswith(f"DENY {BTC}: the funding index moved further than funding can move it: ")
    assert "(also breaker_open)" in decision.explanation
    assert decision.explanation.endswith("An operator must reset the breaker; retrying will not help.")


async def test_check_when_the_guard_is_in_shadow_then_it_is_allowed_and_says_what_it_would_have_been(
    start: Start,
) -> None:
    driver = Driver(policy_of(BTC, guard="shadow = true"))
    driver.run(40, BTC)
    guard = await start(driver)

    decision = await guard.decide(check(basis=basis(funding_index="0")))

    assert (decision.verdict, decision.shadow_verdict) == (types_pb2.VERDICT_ALLOW, types_pb2.VERDICT_DENY)
    assert decision.explanation == f"ALLOW {BTC}: found but not enforced: basis_funding"
    assert decision.lifted_by == types_pb2.LIFTED_BY_UNSPECIFIED
    assert not decision.HasField("ask_again_after")


async def test_check_when_the_request_id_comes_again_then_the_first_decision_comes_again(guard: Harness) -> None:
    first = await guard.decide(check())
    again = await guard.decide(check())

    assert again.repeated
    again.repeated = False
    assert again == first


async def test_check_when_the_request_id_comes_with_another_content_then_it_is_a_conflict(guard: Harness) -> None:
    await guard.decide(check())
    before = guard.state()

    code, info, message = await refused(guard.decide(check(size="-0.6")))

    assert (code, info.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_CONFLICT")
    assert (info.metadata["field"], info.metadata["value"]) == ("check.request_id", "request-1")
    assert "it differs in size" in message
    assert guard.state() == before


async def test_checks_when_one_is_malformed_and_one_conflicts_then_the_others_are_decided_in_order(
    guard: Harness,
) -> None:
    batch = [
        check(request_id="a"),
        check(request_id="b", size="NaN"),
        check(request_id="a", size="-9"),
        check(request_id="a"),
        check(request_id="c", market="DOGE-USD-PERP"),
    ]

    response = await guard.liquidations.CheckLiquidations(liquidation_pb2.CheckLiquidationsRequest(checks=batch))
    allowed, malformed, conflict, repeated, unknown = response.results

    assert allowed.decision.verdict == types_pb2.VERDICT_ALLOW
    assert (malformed.error.reason, malformed.error.field) == ("MALFORMED_REQUEST", "checks[1].size")
    assert (malformed.error.value, malformed.error.message[:19]) == ("NaN", "checks[1].size was ")
    assert (conflict.error.reason, conflict.error.field) == ("REQUEST_ID_CONFLICT", "checks[2].request_id")
    assert repeated.decision.repeated
    assert unknown.decision.verdict == types_pb2.VERDICT_DENY


@pytest.mark.parametrize("count", [0, BATCH_MAX + 1])
async def test_checks_when_there_are_none_or_too_many_then_the_batch_is_refused_whole(
    guard: Harness, count: int
) -> None:
    before = guard.state()
    batch = [check(request_id=f"request-{number}") for number in range(count)]

    code, info, _ = await refused(
        guard.liquidations.CheckLiquidations(liquidation_pb2.CheckLiquidationsRequest(checks=batch))
    )

    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")
    assert dict(info.metadata) == {"field": "checks", "value": f"{count} items", "expected": f"1 to {BATCH_MAX} items"}
    assert guard.state() == before


class HaltAtFirstDecision:
    """An observer that has an operator's halt waiting for its turn as soon as something was decided."""

    def __init__(self) -> None:
        self.engine: Engine | None = None

    def on_facts(self, facts: Sequence[Fact], took_ns: int) -> None:
        engine = self.engine
        if engine is not None and any(isinstance(fact, DecisionMade) for fact in facts):
            self.engine = None
            halt = HaltCommand(engine.now_ns(), (), "alice", "stop")
            asyncio.get_running_loop().call_soon(engine.step, halt)

    def on_allowed(self, checks: Sequence[AllowedCheck]) -> None:
        self.on_facts([DecisionMade(one.at_ns, decision_of(one)) for one in checks], 0)


async def test_checks_when_a_halt_arrives_during_a_large_batch_then_it_does_not_wait_for_all_of_it(
    start: Start,
) -> None:
    observer = HaltAtFirstDecision()
    driver = Driver(policy_of(BTC), [observer])
    driver.run(40, BTC)
    observer.engine = driver.engine
    guard = await start(driver)
    batch = [check(request_id=f"request-{number}") for number in range(BATCH_MAX)]

    answer = await guard.liquidations.CheckLiquidations(liquidation_pb2.CheckLiquidationsRequest(checks=batch))

    allowed = [result.decision.verdict == types_pb2.VERDICT_ALLOW for result in answer.results]
    before = sum(allowed)
    assert 0 < before < BATCH_MAX
    assert allowed == [True] * before + [False] * (BATCH_MAX - before)
