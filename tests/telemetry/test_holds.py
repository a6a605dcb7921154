"""Why a scope is held, and what that costs, as metrics."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from circuit_guard.core.inputs import Account, HaltCommand, PhaseCommand, Position, ResetCommand, ResumeCommand, Tick
from circuit_guard.core.types import SECOND_NS, Explanation, Phase
from circuit_guard.telemetry import series
from tests.driver import BTC, ETH, INDEX, START_NS, policy_of
from tests.telemetry.observed import SOL, Measured

WARM_S = 40
HELD = Position(BTC, Decimal("0.5"), Decimal(94_000), INDEX, Decimal("0.01"))
UNDER_WATER = Account(Decimal(1000), (HELD,))
"""Long 0.5 from 94,000 at 92,600: 700 lost of 1,000, and 463 are the margin: 163 are missing, 71 at the least."""
HEALTHY = Account(Decimal(90_000), (HELD,))


@pytest.fixture
def warm() -> Measured:
    measured = Measured(policy_of(BTC, ETH, SOL))
    measured.driver.run(WARM_S, BTC, ETH, SOL)
    return measured


def holds(measured: Measured) -> dict[tuple[str, str, str], float]:
    """Return since when, in seconds after the start, by scope, reason and who lifts it."""
    measured.show()
    [family] = [it for it in measured.metrics.registry.collect() if it.name.startswith("circuit_guard_hold_since")]
    return {
        (sample.labels["scope"], sample.labels["reason"], sample.labels["lifted_by"]): sample.value
        - START_NS / SECOND_NS
        for sample in family.samples
    }


# Why a scope is held


def test_holds_when_nothing_holds_then_there_is_no_series(warm: Measured) -> None:
    assert holds(warm) == {}


def test_holds_when_a_market_is_latched_then_the_reason_is_named_until_the_reset(warm: Measured) -> None:
    warm.driver.observe(funding_index=Decimal(0))
    warm.driver.clock.advance(5)
    assert holds(warm) == {(BTC, "funding_jump", "OPERATOR"): WARM_S}

    engine = warm.driver.engine
    engine.step(ResetCommand(engine.now_ns(), (BTC,), "ana", "restored"))
    assert holds(warm) == {}


def test_holds_when_three_markets_latch_then_global_says_why_as_well(warm: Measured) -> None:
    for market in (BTC, ETH, SOL):
        warm.driver.observe(market, funding_index=Decimal(0))

    assert set(holds(warm)) == {
        *((market, "funding_jump", "OPERATOR") for market in (BTC, ETH, SOL)),
        ("GLOBAL", "correlated_latches", "OPERATOR"),
    }


def test_holds_when_a_market_tripped_then_evidence_lifts_it(warm: Measured) -> None:
    for _ in range(35):
        warm.driver.clock.advance(1)
        warm.driver.refer()
        warm.driver.observe(mark_price=Decimal(90_000))

    [(scope, reason, lifted_by)] = holds(warm)
    assert (scope, reason, lifted_by) == (BTC, "mark_divergence", "EVIDENCE")


def test_holds_when_operators_and_phases_hold_then_each_stands_beside_the_other(warm: Measured) -> None:
    engine = warm.driver.engine
    engine.step(HaltCommand(engine.now_ns(), (), "ana", "test"))
    engine.step(PhaseCommand(engine.now_ns(), Phase.MAINTENANCE, (ETH,), "ana", "test"))
    warm.driver.clock.advance(7)
    engine.step(HaltCommand(engine.now_ns(), (ETH,), "ana", "test"))

    assert holds(warm) == {
        ("GLOBAL", "operator_halt", "OPERATOR"): WARM_S,
        (ETH, "phase_denies", "EXCHANGE"): WARM_S,
        (ETH, "operator_halt", "OPERATOR"): WARM_S + 7,
    }
    engine.step(ResumeCommand(engine.now_ns(), (), "ana", "test"))
    engine.step(ResumeCommand(engine.now_ns(), (ETH,), "ana", "test"))
    assert set(holds(warm)) == {(ETH, "phase_denies", "EXCHANGE")}


def test_holds_when_two_operators_halt_then_it_is_since_the_first_that_still_does(warm: Measured) -> None:
    engine = warm.driver.engine
    engine.step(HaltCommand(engine.now_ns(), (ETH,), "ana", "test", engine.now_ns() + 10 * SECOND_NS))
    warm.driver.clock.advance(7)
    engine.step(HaltCommand(engine.now_ns(), (ETH,), "bob", "test"))
    both = holds(warm)
    warm.driver.clock.advance(7)
    engine.step(Tick(engine.now_ns()))

    assert both == {(ETH, "operator_halt", "OPERATOR"): WARM_S}
    assert holds(warm) == {(ETH, "operator_halt", "OPERATOR"): WARM_S + 7}
    assert warm.value("halted", scope=ETH) == 1


def test_holds_when_a_held_market_leaves_the_policy_then_its_series_goes(warm: Measured) -> None:
    warm.driver.observe(funding_index=Decimal(0))
    assert holds(warm)
    warm.driver.engine.reload(policy_of(ETH, SOL))

    assert holds(warm) == {}


# What it costs


def waiting(measured: Measured, market: str = BTC) -> tuple[float, float]:
    """Return how many accounts wait in a market, and how much margin they miss at least."""
    measured.show()
    return measured.value("held_closures", market=market), measured.value("held_shortfall", market=market)


def halt(measured: Measured) -> None:
    engine = measured.driver.engine
    engine.step(HaltCommand(engine.now_ns(), (BTC,), "ana", "test"))


def test_cost_when_a_justified_closure_is_denied_then_its_account_waits_once(warm: Measured) -> None:
    halt(warm)
    for request in ("first", "again", "and again"):
        warm.driver.decide(request_id=request, account=UNDER_WATER)

    count, shortfall = waiting(warm)
    assert count == 1
    assert 0 < shortfall <= 163
    assert warm.value("explained_denials_total", market=BTC) == 3
    assert waiting(warm, ETH) == (0, 0)


def test_cost_when_the_closure_is_allowed_at_last_then_nothing_waits(warm: Measured) -> None:
    halt(warm)
    warm.driver.decide(request_id="held", account=UNDER_WATER)
    engine = warm.driver.engine
    engine.step(ResumeCommand(engine.now_ns(), (BTC,), "ana", "test"))
    warm.driver.clock.advance(1)
    warm.driver.decide(request_id="allowed", account=UNDER_WATER)

    assert waiting(warm) == (0, 0)


def test_cost_when_the_account_is_healthy_or_unknown_then_nothing_waits(warm: Measured) -> None:
    halt(warm)
    warm.driver.decide(request_id="healthy", account=HEALTHY)
    warm.driver.decide(request_id="without")

    assert waiting(warm) == (0, 0)
    assert warm.value("explained_denials_total", market=BTC) == 0


def test_cost_when_the_account_was_settled_with_a_wrong_index_then_its_closure_is_not_due(warm: Measured) -> None:
    warm.driver.observe(funding_index=Decimal(0))
    warm.driver.observe()
    tainted = replace(HELD, cached_funding_index=Decimal(0), size=Decimal("0.5"))
    decision = warm.driver.decide(request_id="tainted", account=Account(Decimal(1000), (tainted,)))

    assert decision.explained is not None
    assert decision.explained.verdict is Explanation.EXPLAINED
    assert waiting(warm) == (0, 0)


def test_cost_when_nobody_asks_any_more_then_the_account_waits_for_a_minute(warm: Measured) -> None:
    halt(warm)
    warm.driver.decide(request_id="held", account=UNDER_WATER)
    warm.driver.clock.advance(60)
    assert waiting(warm)[0] == 1

    warm.driver.clock.advance(1)
    assert waiting(warm) == (0, 0)


def test_cost_when_more_accounts_wait_than_are_remembered_then_the_first_are_forgotten(
    warm: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "ACCOUNTS_MAX", 3)
    halt(warm)
    for number in range(5):
        check = warm.driver.check(request_id=str(number), account=UNDER_WATER)
        warm.driver.engine.decide(replace(check, account_id=f"account-{number}"))

    assert waiting(warm)[0] == 3
