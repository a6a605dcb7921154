"""The metrics: complete from the first scrape, bounded whatever clients send, right for what really happened."""

from __future__ import annotations

import os
import shutil
import subprocess
from decimal import Decimal
from math import inf, isnan

import pytest
from prometheus_client import generate_latest

from circuit_guard.core.facts import DecisionMade
from circuit_guard.core.inputs import (
    Account,
    Baseline,
    BeginMaintenance,
    EndMaintenance,
    HaltCommand,
    Order,
    OrderAction,
    OrdersCheck,
    Position,
    RebaselineCommand,
    Reference,
    ResumeCommand,
    Side,
    ValidateState,
)
from circuit_guard.core.permit import Asked
from circuit_guard.core.reasons import REASONS
from circuit_guard.core.types import CheckKind, Explanation
from circuit_guard.telemetry.metrics import Vitals
from tests.driver import BTC, ETH, INDEX, PRICE, START_NS, policy_of
from tests.telemetry.observed import SOL, Measured


@pytest.fixture
def cold() -> Measured:
    return Measured(policy_of(BTC, ETH, SOL))


@pytest.fixture
def warm(cold: Measured) -> Measured:
    cold.driver.run(40, BTC, ETH, SOL)
    return cold


# Which series there are


def test_series_when_everything_has_happened_then_there_are_no_others_than_at_the_start(cold: Measured) -> None:
    at_start = cold.series()
    cold.show()
    driver, engine = cold.driver, cold.driver.engine
    driver.run(40, BTC, ETH, SOL)
    for kind in CheckKind:
        driver.decide(request_id=kind, kind=kind)
    check = driver.check(request_id="again")
    engine.decide(check)
    engine.decide(check)
    driver.observe(funding_index=Decimal(0))
    driver.observe(ETH, mark_price=Decimal("NaN"))
    driver.observe(SOL, mark_price=None)
    driver.decide(SOL, request_id="denied")
    engine.step(HaltCommand(engine.now_ns(), (), "ana", "test"))
    engine.step(ResumeCommand(engine.now_ns(), (SOL,), "ana", "test"))
    engine.decide_orders(OrdersCheck(engine.now_ns(), (Order("o", BTC, Side.BUY, OrderAction.NEW, PRICE * 2),)))
    engine.step(BeginMaintenance(engine.now_ns(), "ana", "test", "checkpoint"))
    engine.step(ValidateState(engine.now_ns(), (), "ana"))
    engine.step(EndMaintenance(engine.now_ns(), "ana", "test"))
    engine.step(RebaselineCommand(engine.now_ns(), (Baseline(BTC, PRICE, engine.now_ns()),), "ana", "test"))
    driver.clock.advance(100)
    engine.tick()
    cold.show()

    assert {series for series in cold.series() if "hold_since" not in series} == at_start


def test_series_when_ten_thousand_unknown_markets_are_named_then_their_number_does_not_grow(warm: Measured) -> None:
    before = warm.series()
    driver, engine = warm.driver, warm.driver.engine
    for number in range(10_000):
        market = f"M{number}-USD-PERP"
        driver.observe(market)
        engine.step(Reference(engine.now_ns(), market, f"venue-{number}", engine.now_ns(), PRICE))
        engine.decide(driver.check(market, f"request-{number}"))
        engine.decide_orders(OrdersCheck(engine.now_ns(), (Order("o", market, Side.BUY, OrderAction.NEW, PRICE),)))

    assert warm.series() == before
    assert warm.value("decisions_total", market="other", kind="LIQUIDATION", verdict="DENY") == 10_000
    assert warm.value("observations_total", market="other", result="rejected") == 10_000
    assert warm.value("references_total", market="other", result="rejected") == 10_000
    assert warm.value("orders_judged_total", market="other", verdict="DENY") == 10_000


def test_series_when_there_are_many_markets_then_each_has_a_few_tens(cold: Measured) -> None:
    few = len(cold.series())
    many = len(Measured(policy_of(BTC, ETH, SOL, *(f"M{n}-USD-PERP" for n in range(100)))).series())

    assert (many - few) / 100 < 55


def test_series_when_the_policy_is_reloaded_then_removed_markets_go_and_added_ones_come(warm: Measured) -> None:
    warm.show()
    warm.driver.engine.reload(policy_of(BTC, ETH, "PAXG-USD-PERP"))
    warm.show()

    of_sol = {series for series in warm.series() if SOL in series}
    of_paxg = {series.replace("PAXG-USD-PERP", BTC) for series in warm.series() if "PAXG" in series}
    assert of_sol == set()
    assert of_paxg == {series for series in warm.series() if BTC in series}


def test_metrics_when_promtool_checks_them_then_it_has_nothing_to_say(warm: Measured) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is not installed, and CI must have it")
        pytest.skip("promtool is not installed")
    warm.driver.decide()
    warm.show()

    text = generate_latest(warm.metrics.registry)
    result = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)

    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


# What they say


def test_decisions_when_checks_are_answered_then_they_count_once_each(warm: Measured) -> None:
    warm.driver.decide(request_id="first")
    warm.driver.decide(request_id="second", kind=CheckKind.TRIGGER)
    [repeated] = warm.driver.engine.decide(warm.driver.check(request_id="first"))
    warm.driver.engine.decide(warm.driver.check(request_id="first", size=Decimal(-9)))

    assert isinstance(repeated, DecisionMade)
    assert warm.value("decisions_total", market=BTC, kind="LIQUIDATION", verdict="ALLOW") == 1
    assert warm.value("decisions_total", market=BTC, kind="TRIGGER", verdict="ALLOW") == 1
    assert warm.value("decisions_repeated_total") == 1
    assert warm.value("checks_refused_total") == 1
    assert warm.value("decision_duration_seconds_count") == 2


def test_explained_losses_when_checks_come_with_accounts_then_each_verdict_counts_once(warm: Measured) -> None:
    held = Position(BTC, Decimal("0.5"), Decimal(94_000), INDEX, Decimal("0.01"))
    for collateral in ("1000", "1163", "90000"):
        warm.driver.decide(request_id=collateral, account=Account(Decimal(collateral), (held,)))
    warm.driver.decide(request_id="1000", account=Account(Decimal(1000), (held,)))
    warm.driver.decide(request_id="unreadable", account=Account(Decimal("NaN"), (held,)))
    warm.driver.decide(request_id="without")

    counted = {verdict: warm.value("explained_losses_total", market=BTC, verdict=verdict) for verdict in Explanation}
    assert counted == dict.fromkeys(Explanation, 1)


@pytest.mark.parametrize("verdict", Explanation)
def test_explained_losses_when_there_was_none_then_each_verdict_has_its_series(
    cold: Measured, verdict: Explanation
) -> None:
    assert cold.value("explained_losses_total", market=BTC, verdict=verdict) == 0


def test_denials_when_a_market_is_latched_then_each_reason_counts(warm: Measured) -> None:
    warm.driver.observe(funding_index=Decimal(0))
    warm.driver.decide()
    warm.show()

    assert warm.value("decisions_total", market=BTC, kind="LIQUIDATION", verdict="DENY") == 1
    assert warm.value("denials_by_reason_total", reason="breaker_open") == 1
    assert warm.value("denials_by_reason_total", reason="funding_jump") == 1
    assert warm.value("decision_findings_total", reason="funding_jump", shadow="false") == 1
    assert warm.value("rejections_by_reason_total", input="observation", reason="funding_jump") == 1
    assert warm.value("observations_total", market=BTC, result="rejected") == 1
    assert warm.value("observations_total", market=BTC, result="accepted") == 40
    assert warm.value("breaker_transitions_total", scope=BTC, to="OPEN") == 1
    assert warm.value("breaker_state", scope=BTC, state="OPEN") == 1
    assert warm.value("breaker_state", scope=BTC, state="CLOSED") == 0
    assert warm.value("breaker_latched", scope=BTC) == 1
    assert warm.value("breaker_state", scope="GLOBAL", state="CLOSED") == 1


@pytest.mark.parametrize(
    ("guard", "market_lines", "marked"),
    [("shadow = true", "", "false"), ("", 'shadow_rules = ["staleness"]', "true")],
    ids=["all in shadow", "one rule in shadow"],
)
def test_shadow_when_a_rule_would_deny_then_it_is_counted_apart(guard: str, market_lines: str, marked: str) -> None:
    measured = Measured(policy_of(BTC, ETH, SOL, guard=guard, market_lines=market_lines))
    measured.driver.run(40, BTC, ETH, SOL)
    measured.driver.clock.advance(20)
    measured.driver.refer()
    measured.driver.decide()

    assert measured.value("decisions_total", market=BTC, kind="LIQUIDATION", verdict="ALLOW") == 1
    assert measured.value("shadow_denials_total", market=BTC) == 1
    assert measured.value("denials_by_reason_total", reason="data_stale") == 0
    assert measured.value("decision_findings_total", reason="data_stale", shadow=marked) > 0


def test_shadow_when_a_shadow_rule_would_reject_an_observation_then_that_is_counted() -> None:
    measured = Measured(policy_of(BTC, ETH, SOL, market_lines='shadow_rules = ["funding_continuity"]'))
    measured.driver.run(40, BTC, ETH, SOL)
    measured.driver.observe(funding_index=Decimal(0))

    assert measured.value("shadow_actions_by_reason_total", reason="funding_jump") == 1
    assert measured.value("observations_total", market=BTC, result="accepted") == 41


def test_orders_when_they_are_judged_then_verdicts_and_reasons_count(warm: Measured) -> None:
    orders = (
        Order("good", BTC, Side.BUY, OrderAction.NEW, PRICE),
        Order("unknown", "NO-USD-PERP", Side.BUY, OrderAction.NEW, PRICE),
    )
    warm.driver.engine.decide_orders(OrdersCheck(warm.driver.engine.now_ns(), orders))

    assert warm.value("orders_judged_total", market=BTC, verdict="ALLOW") == 1
    assert warm.value("orders_judged_total", market="other", verdict="DENY") == 1
    assert warm.value("order_denials_by_reason_total", reason="unknown_market") == 1


def test_references_when_one_is_wrong_then_it_counts_as_rejected(warm: Measured) -> None:
    warm.driver.refer(BTC, Decimal(-1))

    assert warm.value("references_total", market=BTC, result="accepted") == 120
    assert warm.value("references_total", market=BTC, result="rejected") == 3
    assert warm.value("rejections_by_reason_total", input="reference", reason="price_not_positive") == 3


def test_observations_when_one_is_delivered_again_then_it_counts_as_redelivered(warm: Measured) -> None:
    warm.driver.observe(feed_sequence=40)

    assert warm.value("observations_total", market=BTC, result="redelivered") == 1


def test_state_when_nothing_is_known_yet_then_ages_are_infinite_and_headroom_unknown(cold: Measured) -> None:
    cold.show()

    assert cold.value("data_age_seconds", market=BTC, kind="mark") == inf
    assert cold.value("data_age_seconds", market=BTC, kind="funding") == inf
    assert isnan(cold.value("headroom_ratio", market=BTC, rule="divergence"))
    assert cold.value("market_warm", market=BTC) == 0
    assert cold.value("phase", market=BTC, phase="RECOVERING") == 1
    assert cold.value("fresh_references", market=BTC) == 0


def test_state_when_data_has_arrived_then_ages_headroom_and_phase_show_it(warm: Measured) -> None:
    warm.driver.clock.advance(3)
    warm.show()

    assert warm.value("data_age_seconds", market=BTC, kind="mark") == 3
    assert warm.value("data_age_seconds", market=BTC, kind="funding") == 3
    assert warm.value("headroom_ratio", market=BTC, rule="staleness") == pytest.approx(0.8)
    assert warm.value("headroom_ratio", market=BTC, rule="divergence") == 1
    assert warm.value("market_warm", market=BTC) == 1
    assert warm.value("phase", market=BTC, phase="OPEN") == 1
    assert warm.value("phase", market=BTC, phase="RECOVERING") == 0
    assert warm.value("fresh_references", market=BTC) == 3


def test_headroom_when_a_market_is_described_then_no_rule_is_missing_from_the_metrics(warm: Measured) -> None:
    warm.driver.run(5, BTC)
    warm.driver.observe(funding_rate=Decimal("0.0001"), funding_premium=PRICE * Decimal("0.0001"))
    described = warm.driver.engine.market_status(BTC).headroom
    warm.show()

    assert described
    assert all(warm.value("headroom_ratio", market=BTC, rule=rule) == float(left) for rule, left in described.items())


def test_halt_when_an_operator_halts_then_the_scope_shows_it(warm: Measured) -> None:
    engine = warm.driver.engine
    engine.step(HaltCommand(engine.now_ns(), (), "ana", "test"))
    engine.step(HaltCommand(engine.now_ns(), (BTC,), "ana", "test"))
    engine.step(ResumeCommand(engine.now_ns(), (ETH,), "ana", "it was not halted"))
    warm.show()

    assert [warm.value("halted", scope=scope) for scope in ("GLOBAL", BTC, ETH)] == [1, 1, 0]
    assert warm.value("commands_refused_total") == 1


def test_policy_when_it_is_reloaded_then_revision_time_and_result_show_it(warm: Measured) -> None:
    first = warm.driver.engine.policy.revision
    assert warm.value("policy_info", revision=first) == 1
    assert warm.value("policy_last_reload_success_timestamp_seconds") == START_NS / 1e9
    assert warm.value("policy_last_reload_successful") == 1

    warm.metrics.reload_failed()
    assert warm.value("policy_last_reload_successful") == 0
    assert warm.value("policy_reloads_total", result="failure") == 1

    second = policy_of(BTC, ETH, SOL, guard="shadow = true")
    warm.driver.engine.reload(second)
    assert warm.value("policy_info", revision=second.revision) == 1
    assert not any(first in series for series in warm.series())
    assert warm.value("policy_last_reload_successful") == 1
    assert warm.value("policy_last_reload_success_timestamp_seconds") == START_NS / 1e9 + 40
    assert warm.value("policy_reloads_total", result="success") == 1


def test_process_when_vitals_are_shown_then_totals_count_on(cold: Measured) -> None:
    for lost, dropped in ((2, 5), (3, 5)):
        cold.show(
            Vitals(
                ready=True,
                shadow=True,
                watchers=4,
                events_lost=lost,
                log_lines_dropped=dropped,
                clock_offset_s=-1.5,
                clock_error_s=-40.0,
            )
        )

    assert (cold.value("events_lost_total"), cold.value("log_lines_dropped_total")) == (3, 5)
    assert (cold.value("ready"), cold.value("shadow_mode"), cold.value("watchers")) == (1, 1, 4)
    assert cold.value("clock_offset_seconds") == -1.5
    assert cold.value("clock_error_seconds") == -40.0
    assert cold.value("build_info", version="1.2.3") == 1


def test_loop_when_a_tick_comes_late_then_that_is_observed(cold: Measured) -> None:
    cold.metrics.loop_late(0.02)
    cold.metrics.loop_late(0.0)

    assert cold.value("event_loop_lag_seconds_count") == 2
    assert cold.value("event_loop_lag_seconds_bucket", le="0.01") == 1


@pytest.mark.parametrize("reason", REASONS)
def test_reasons_when_none_was_seen_then_each_has_its_series(cold: Measured, reason: str) -> None:
    assert cold.value("denials_by_reason_total", reason=reason) == 0
    assert cold.value("order_denials_by_reason_total", reason=reason) == 0
    assert cold.value("rejections_by_reason_total", input="observation", reason=reason) == 0
    assert cold.value("decision_findings_total", reason=reason, shadow="true") == 0


async def test_decisions_when_permits_make_them_then_they_are_counted_as_others_are_and_as_theirs(
    warm: Measured,
) -> None:
    engine = warm.driver.engine
    for number, market in enumerate((BTC, BTC, ETH)):
        price, index = str(PRICE), str(INDEX)
        values = "-1", price, price, index, PRICE, PRICE, INDEX
        assert engine.admit(Asked(f"r{number}", f"a{number}", market, CheckKind.TRIGGER, *values)) is not None
    await engine.durable()

    assert warm.value("decisions_total", market=BTC, kind="TRIGGER", verdict="ALLOW") == 2
    assert warm.value("decisions_total", market=ETH, kind="TRIGGER", verdict="ALLOW") == 1
    assert warm.value("decisions_by_permit_total") == 3
