"""The metrics of what operators do: holds and ramps, maintenances, proposals, rebaselines."""

from __future__ import annotations

from decimal import Decimal

import pytest

from circuit_guard.core.breaker import BreakerParameters
from circuit_guard.core.inputs import (
    Baseline,
    BeginMaintenance,
    EndMaintenance,
    HaltCommand,
    RebaselineCommand,
    ResumeCommand,
    StateRow,
    ValidateState,
)
from circuit_guard.core.reopening import ReopeningParameters
from circuit_guard.core.types import SECOND_NS, Outcome
from tests.driver import BTC, ETH, INDEX, PRICE, policy_of
from tests.telemetry.observed import SOL, Measured


@pytest.fixture
def warm() -> Measured:
    measured = Measured(policy_of(BTC, ETH, SOL))
    measured.driver.run(40, BTC, ETH, SOL)
    return measured


def test_hold_when_closures_are_held_then_its_length_and_the_deadline_show(warm: Measured) -> None:
    engine = warm.driver.engine
    deadline_s = engine.policy.markets[BTC].of(ReopeningParameters).deadline_ns // SECOND_NS
    engine.step(HaltCommand(engine.now_ns(), (BTC,), "ana", "test"))
    warm.show()
    at_once = [warm.value(name, market=BTC) for name in ("market_held_seconds", "market_hold_overdue")]
    warm.driver.clock.advance(deadline_s + 1)
    warm.show()

    assert at_once == [0, 0]
    assert warm.value("market_held_seconds", market=BTC) == deadline_s + 1
    assert warm.value("market_hold_overdue", market=BTC) == 1
    assert (warm.value("market_held_seconds", market=ETH), warm.value("market_hold_overdue", market=ETH)) == (0, 0)


def test_ramp_when_a_market_re_opens_then_the_share_rises_from_the_policys_to_one(warm: Measured) -> None:
    engine, policy = warm.driver.engine, warm.driver.engine.policy.markets[BTC]
    length_s = policy.of(BreakerParameters).half_open_ns // SECOND_NS
    engine.step(HaltCommand(engine.now_ns(), (BTC,), "ana", "test"))
    engine.step(ResumeCommand(engine.now_ns(), (BTC,), "ana", "test"))
    shares = []
    for _ in range(3):
        warm.show()
        shares.append(warm.value("market_ramp_ratio", market=BTC))
        warm.driver.run(length_s // 2, BTC)
    warm.show()

    start = float(policy.of(ReopeningParameters).start_share)
    assert shares == pytest.approx([start, (1 + start) / 2, 1])
    assert warm.value("market_ramp_ratio", market=BTC) == 1
    assert warm.value("market_ramp_ratio", market=ETH) == 1


def test_maintenance_when_it_runs_then_its_gauge_and_the_outcomes_show_it(warm: Measured) -> None:
    engine = warm.driver.engine
    warm.show()
    before = warm.value("maintenance")
    engine.step(BeginMaintenance(engine.now_ns(), "ana", "test", "checkpoint"))
    rows = (
        StateRow(BTC, engine.now_ns(), PRICE, PRICE, INDEX),
        StateRow(ETH, engine.now_ns(), PRICE, PRICE, Decimal(0)),
    )
    engine.step(ValidateState(engine.now_ns(), rows, "ana"))
    warm.show()
    during = warm.value("maintenance")
    engine.step(EndMaintenance(engine.now_ns(), "ana", "test"))
    warm.show()

    assert (before, during, warm.value("maintenance")) == (0, 1, 0)
    counted = {outcome: warm.value("states_validated_total", outcome=outcome) for outcome in Outcome}
    assert {outcome for outcome, count in counted.items() if count} == {"ok", "funding_jump", "missing"}


def test_acts_when_one_waits_for_a_second_actor_then_it_counts_until_it_lapses() -> None:
    measured = Measured(policy_of(BTC, ETH, SOL, guard='two_actors = ["resume"]\ntwo_actors_within_s = 60'))
    measured.driver.run(40, BTC)
    engine = measured.driver.engine
    engine.step(HaltCommand(engine.now_ns(), (BTC,), "ana", "test"))
    engine.step(ResumeCommand(engine.now_ns(), (BTC,), "ana", "test"))
    measured.show()
    waiting = measured.value("acts_proposed")
    measured.driver.clock.advance(60)
    measured.show()

    assert (waiting, measured.value("acts_proposed")) == (1, 0)


def test_rebaseline_when_an_operator_sets_a_value_then_it_counts(warm: Measured) -> None:
    engine = warm.driver.engine
    baselines = tuple(Baseline(market, INDEX, engine.now_ns()) for market in (BTC, ETH))
    engine.step(RebaselineCommand(engine.now_ns(), baselines, "ana", "test"))

    assert warm.value("rebaselines_total") == 2
