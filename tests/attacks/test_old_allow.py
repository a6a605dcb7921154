"""An ALLOW that was given is no permission: whoever asks again under its id is told what is true now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from circuit_guard.client.middleware import closures_of
from circuit_guard.core.facts import DecisionMade
from circuit_guard.core.inputs import Check, HaltCommand, PhaseCommand
from circuit_guard.core.types import Phase, Verdict
from tests.client.guards import closure
from tests.driver import BTC, ETH, PRICE, Driver, policy_of
from tests.envoy.guards import asked, denied, headers_of
from tests.recording.recorded_guard import RecordedGuard
from tests.server.harness import Harness, check

POLICY = policy_of(BTC, ETH)


def halt(driver: Driver) -> None:
    driver.engine.step(HaltCommand(driver.engine.now_ns(), (BTC,), "alice", "a drill"))


def lose_data(driver: Driver) -> None:
    driver.clock.advance(20)


def reject_data(driver: Driver) -> None:
    driver.clock.advance(1)
    driver.observe(BTC, mark_price=PRICE * 3)


def reach_post_only(driver: Driver) -> None:
    driver.engine.step(PhaseCommand(driver.engine.now_ns(), Phase.POST_ONLY, (BTC,), "deploy", "release"))


def change_policy(driver: Driver) -> None:
    driver.engine.reload(policy_of(BTC, ETH, guard="remembered_allow_max_s = 59"))


def leave_market_out(driver: Driver) -> None:
    driver.engine.reload(policy_of(ETH))


SINCE: dict[str, Callable[[Driver], None]] = {
    "halted": halt,
    "without market data": lose_data,
    "rejected data": reject_data,
    "another phase": reach_post_only,
    "another policy": change_policy,
    "a policy without the market": leave_market_out,
}


@pytest.mark.parametrize("since", SINCE)
async def test_plain_check_when_something_has_happened_since_its_allow_then_it_is_judged_again(since: str) -> None:
    driver = Driver(POLICY)
    driver.run(40, BTC, ETH)
    asked_before = driver.check(BTC, "request-1")
    [first] = made(driver, asked_before)
    SINCE[since](driver)

    [again] = made(driver, replace(asked_before, at_ns=driver.engine.now_ns()))

    assert first.decision.verdict is Verdict.ALLOW
    assert not again.repeated
    expected = Verdict.ALLOW if since in ("another phase", "another policy") else Verdict.DENY
    assert again.decision.verdict is expected


async def test_plain_check_when_the_guard_was_restarted_since_its_allow_then_it_is_denied(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, POLICY) as driver:
        driver.run(40, BTC, ETH)
        asked_before = driver.check(BTC, "request-1")
        [first] = made(driver, asked_before)
    async with RecordedGuard(tmp_path, POLICY, after_s=45) as driver:
        [again] = made(driver, replace(asked_before, at_ns=driver.engine.now_ns()))

    assert first.decision.verdict is Verdict.ALLOW
    assert (again.decision.verdict, again.repeated) == (Verdict.DENY, False)


async def test_check_when_an_unknown_market_is_asked_about_twice_in_shadow_then_the_guard_goes_on() -> None:
    driver = Driver(policy_of(BTC, guard="shadow = true"))
    unknown = Check(driver.engine.now_ns(), "request-1", "account-1", "NOBODY-PERP", Decimal(-1))

    answers = [made(driver, unknown)[0].decision.shadow_verdict for _ in range(3)]

    assert answers == [Verdict.DENY] * 3


async def test_answer_when_it_is_repeated_then_it_says_how_old_it_is() -> None:
    driver = Driver(POLICY)
    driver.run(40, BTC, ETH)
    harness = Harness(driver)
    await harness.server.start()
    try:
        first = await harness.decide(check())
        driver.run(7, BTC, ETH)
        again = await harness.decide(check())
        anew = await harness.decide(check(judge_anew=True))
    finally:
        await harness.channel.close()
        await harness.server.drain(0)

    assert (first.age.seconds, again.age.seconds, anew.age.seconds) == (0, 7, 0)
    assert (again.repeated, anew.repeated) == (True, False)
    assert again.decision_id == first.decision_id != anew.decision_id


ENVOY: dict[str, Callable[[Driver], None]] = {**SINCE, "nothing": lambda _: None}


@pytest.mark.parametrize("since", ENVOY)
async def test_envoy_when_a_request_id_comes_again_then_its_allow_is_never_replayed(since: str) -> None:
    async with asked() as guard:
        first = await guard.check()
        decided = headers_of(first.ok_response.headers)
        ENVOY[since](guard.driver)
        again = await guard.check()

    assert first.HasField("ok_response")
    if since in ("nothing", "another phase", "another policy"):
        assert headers_of(again.ok_response.headers)["x-circuit-guard-decision"] != decided["x-circuit-guard-decision"]
        assert decided["x-circuit-guard-decided-at"].endswith("Z")
    else:
        assert denied(again)[0] == 403


def test_interceptors_when_a_mapping_reuses_an_id_then_the_closure_is_judged_anew() -> None:
    mapped = closure(request_id="request-1")

    assert [one.judge_anew for one in (*closures_of(mapped), *closures_of([mapped, mapped]))] == [True] * 3


def made(driver: Driver, asked_about: Check) -> list[DecisionMade]:
    return [fact for fact in driver.engine.decide(asked_about) if isinstance(fact, DecisionMade)]
