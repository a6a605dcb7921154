"""Sequences somebody might think of who wants a wrongful closure allowed, or a genuine one held for ever.

Each is a scenario in the language of `scenario_language`; only the last answer counts.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from circuit_guard.core import guard
from circuit_guard.core import inputs as i
from circuit_guard.core.types import SECOND_NS
from tests.core import world
from tests.core.scenario_commands import Scenario
from tests.core.scenario_language import answers

WARM = "10:00:00 steady until=10:01:00"


def last_answer(lines: str) -> str:
    """Run the lines and return what the core answered to the last one, on one line."""
    scenario, told = Scenario(), [""]
    for line in lines.strip().splitlines():
        told = list(answers(scenario, line.strip()))
    return " | ".join(told)


# A wrongful closure


@pytest.mark.parametrize(("second", "mark"), [("926000", "926"), ("81500", "60000")], ids=["absurd", "a wick of 12 %"])
def test_divergence_when_one_of_two_references_is_off_then_a_mark_off_the_other_way_is_denied(
    second: str, mark: str
) -> None:
    answer = last_answer(f"""
        {WARM}
        feed references=92600,{second}
        10:01:00 steady until=10:01:12
        10:01:12 observe mark={mark}
        check long
    """)
    assert answer.startswith("DENY")


def test_funding_envelope_when_staleness_is_in_shadow_then_a_future_stamp_does_not_widen_it() -> None:
    answer = last_answer(f"""
        policy shadow_rules=staleness
        {WARM}
        10:01:00 observe event=+31536000s funding=none
        10:01:01 observe event=+31536000s funding=0
        check short
    """)
    assert answer.startswith("DENY")


def test_policy_when_a_latched_market_is_removed_and_added_again_then_it_is_still_latched() -> None:
    answer = last_answer(f"""
        policy markets=BTC-USD-PERP,ETH-USD-PERP
        {WARM}
        observe BTC-USD-PERP funding=0
        policy markets=ETH-USD-PERP
        policy markets=BTC-USD-PERP,ETH-USD-PERP
        10:01:01 feed BTC-USD-PERP funding=0
        10:01:01 steady until=10:02:00
        check short BTC-USD-PERP
    """)
    assert answer.startswith("DENY")


def test_policy_when_a_halted_market_is_removed_and_added_again_then_it_is_still_halted() -> None:
    answer = last_answer(f"""
        policy markets=BTC-USD-PERP,ETH-USD-PERP
        {WARM}
        halt BTC-USD-PERP
        policy markets=ETH-USD-PERP
        policy markets=BTC-USD-PERP,ETH-USD-PERP
        10:01:01 steady until=10:02:00
        check short BTC-USD-PERP
    """)
    assert "operator_halt" in answer


@pytest.mark.parametrize("price", ["NaN", "sNaN", "Infinity", "-Infinity", "1e999999", "1e-31"])
def test_check_when_the_execution_price_cannot_be_read_then_it_is_denied(price: str) -> None:
    assert last_answer(f"{WARM}\ncheck long price={price}").startswith("DENY")


@pytest.mark.parametrize("closing", ["halt ETH-USD-PERP", "phase MAINTENANCE ETH-USD-PERP"])
def test_account_when_another_of_its_markets_is_closed_by_hand_then_it_waits(closing: str) -> None:
    answer = last_answer(f"""
        policy markets=BTC-USD-PERP,ETH-USD-PERP
        {WARM}
        {closing}
        check long BTC-USD-PERP account=BTC-USD-PERP:20511.9,ETH-USD-PERP:702.4 entry=92600 collateral=90000
    """)
    assert answer.startswith("DENY")


def test_account_when_it_has_a_position_in_a_market_nobody_guards_then_it_waits() -> None:
    answer = last_answer(f"{WARM}\ncheck long account=BTC-USD-PERP,DOGE-USD-PERP")
    assert answer.startswith("DENY")


def test_recovering_when_observations_carry_no_mark_price_then_they_are_no_evidence() -> None:
    scenario = Scenario()
    assert list(answers(scenario, WARM))
    list(answers(scenario, "10:02:00 feed epoch=2"))
    for second in range(40):
        list(answers(scenario, f"10:02:{second:02} references"))
        list(answers(scenario, "observe mark=none index=none"))
    list(answers(scenario, "10:02:40 observe"))
    (verdict, *_) = answers(scenario, "check long price=92000")
    assert verdict == "DENY"


def test_recovering_when_one_observation_is_followed_by_silence_then_silence_is_no_evidence() -> None:
    answer = last_answer(f"""
        policy band.agreement=10s
        {WARM}
        10:02:00 steady until=10:02:01
        10:02:01 steady until=10:02:11 without=observations
        check long price=92000
    """)
    assert answer.startswith("DENY")


def test_rejection_when_the_next_observation_lacks_the_rejected_value_then_it_stands() -> None:
    answer = last_answer(f"""
        {WARM}
        10:01:00 observe mark=90000
        10:01:00.5 observe mark=none index=none
        check long mark=92600
    """)
    assert answer.startswith("DENY")


def test_request_when_it_was_allowed_before_a_halt_then_asking_again_is_denied() -> None:
    answer = last_answer(f"""
        {WARM}
        check long id=a1 mark=92600 funding=20511.9489
        halt
        check long id=a1 mark=92600 funding=20511.9489
    """)
    assert answer.startswith("DENY |   operator_halt")


# A genuine closure


def test_basis_when_the_gap_mode_is_freeze_then_a_caller_may_be_some_seconds_behind() -> None:
    answer = last_answer(f"""
        policy funding.gap_mode=freeze
        {WARM}
        10:01:00.1 check long funding=20511.9474
    """)
    assert answer == "ALLOW"


def test_first_sight_when_the_first_observation_has_no_price_then_the_next_one_is_accepted() -> None:
    answer = last_answer("""
        10:00:00 observe mark=none index=none
        10:00:01 steady until=10:01:00
        check long
    """)
    assert answer == "ALLOW"


def test_first_sight_when_the_first_observation_was_corrupt_then_a_reset_ends_it() -> None:
    answer = last_answer("""
        10:00:00 observe funding=0
        10:00:01 steady until=10:01:00
        reset BTC-USD-PERP
        10:01:00 steady until=10:02:00
        check long
    """)
    assert answer == "ALLOW"


@pytest.mark.parametrize("back", ["-1.001s", "-2s", "-2.9s"])
def test_event_time_when_it_goes_back_a_moment_then_nothing_latches(back: str) -> None:
    answer = last_answer(f"""
        {WARM}
        10:01:00 observe event={back}
        10:01:01 observe
        check long
    """)
    assert answer == "ALLOW"


def test_event_time_when_two_observations_share_one_then_an_honest_funding_step_is_no_jump() -> None:
    answer = last_answer(f"""
        {WARM}
        10:01:00.4 observe event=-0.4s
        10:01:00.8 observe event=-0.8s
        check long
    """)
    assert answer == "ALLOW"


def test_basis_when_a_wrong_caller_comes_after_an_hour_of_silence_then_it_is_no_run() -> None:
    answer = last_answer(f"""
        {WARM}
        check short funding=0
        check short funding=0
        10:01:00 steady until=11:00:00 every=5s
        check short funding=0
    """)
    assert "TRIP" not in answer


def test_basis_when_the_breaker_was_reset_then_the_run_of_wrong_callers_starts_afresh() -> None:
    answer = last_answer(f"""
        {WARM}
        check short funding=0
        10:01:00 steady until=10:01:20
        check short funding=0
        10:01:20 steady until=10:01:40
        check short funding=0
        reset BTC-USD-PERP
        10:01:40 steady until=10:01:50
        check short funding=0
    """)
    assert "TRIP" not in answer


def test_references_when_old_sources_have_gone_silent_then_new_ones_take_their_places() -> None:
    old = "\n".join(f"reference pod-{number} 92600" for number in range(16))
    assert last_answer(f"{old}\n10:10:00 steady until=10:11:00\ncheck long") == "ALLOW"


@pytest.mark.parametrize("event", ["+3s", "-1.5s"])
def test_redelivery_when_the_observation_was_denied_for_its_stamp_then_it_gets_the_same_answer(event: str) -> None:
    scenario = Scenario()
    list(answers(scenario, WARM))
    list(answers(scenario, f"10:01:00 observe event={event} funding=none"))
    denied = scenario.last[world.BTC]
    list(answers(scenario, "10:01:01 observe"))
    scenario.last[world.BTC] = denied
    assert "sequence_back" not in " ".join(answers(scenario, "10:01:02 redeliver"))


def test_funding_step_when_it_stays_unpredicted_for_minutes_then_it_trips() -> None:
    scenario = Scenario()
    list(answers(scenario, WARM))
    told: list[str] = []
    for second in range(120):
        funding = Decimal("20511.94897") - Decimal(second) / 200
        list(answers(scenario, f"10:0{1 + second // 60}:{second % 60:02} references"))
        told += answers(scenario, f"observe funding={funding}")
    assert any("breaker OPEN" in line for line in told)


def test_divergence_when_mark_and_funding_are_published_apart_then_it_still_trips() -> None:
    scenario = Scenario()
    list(answers(scenario, WARM))
    told: list[str] = []
    for second in range(50):
        list(answers(scenario, f"10:01:{second:02} references"))
        told += answers(scenario, "observe mark=90000 funding=none rate=none premium=none")
        told += answers(scenario, f"10:01:{second:02}.5 observe mark=none index=none")
    assert any("breaker OPEN" in line for line in told)


@pytest.mark.parametrize("price", ["NaN", "sNaN"])
def test_orders_when_a_price_is_not_a_number_then_the_order_is_denied(price: str) -> None:
    assert last_answer(f"{WARM}\nphase POST_ONLY\norder buy {price} post_only").startswith("DENY")


@pytest.mark.parametrize("order", ["buy -Infinity", "sell Infinity"])
def test_orders_when_a_price_is_infinite_then_the_order_is_denied(order: str) -> None:
    assert last_answer(f"{WARM}\nphase POST_ONLY\norder {order} post_only").startswith("DENY")


def test_remembered_when_the_limit_is_lowered_then_the_memory_shrinks_to_it() -> None:
    scenario = Scenario()
    list(answers(scenario, WARM))
    for _ in range(10):
        list(answers(scenario, "check long"))
    list(answers(scenario, "policy"))
    scenario.rules = world.changed(scenario.rules, {"remembered_requests_max": "3"})
    list(answers(scenario, "check long"))
    assert scenario.state is not None
    assert len(scenario.state.remembered) == 3


ASKED_BEFORE = "check long BTC-USD-PERP id=once mark=92600 funding=20511.95"


def test_remembered_when_global_latches_then_an_allow_in_a_healthy_market_answers_no_more() -> None:
    told = last_answer(f"""
        policy markets=BTC-USD-PERP,ETH-USD-PERP global_breaker.latched_markets_min=1
        {WARM}
        {ASKED_BEFORE}
        observe ETH-USD-PERP funding=0
        {ASKED_BEFORE}
    """)
    assert told.startswith("DENY |   global_breaker_open")


def test_remembered_when_the_age_of_an_allow_is_zero_then_it_answers_only_in_its_own_instant() -> None:
    start = f"policy remembered_allow_max=0s\n{WARM}\n{ASKED_BEFORE}\n"
    assert last_answer(start + ASKED_BEFORE) == "ALLOW again, as asked before"
    assert last_answer(f"{start}10:01:00.001 {ASKED_BEFORE}") == "ALLOW"


def test_remembered_when_the_policy_was_recorded_before_there_was_a_bound_then_it_answers_as_it_did() -> None:
    scenario = Scenario()
    scenario.rules = replace(scenario.rules, remembered_allow_max_ns=None)
    for line in (WARM, ASKED_BEFORE, "10:09:00 halt"):
        list(answers(scenario, line))
    assert list(answers(scenario, ASKED_BEFORE)) == ["ALLOW again, as asked before"]


def test_remembered_when_an_allow_is_judged_again_then_it_is_the_last_to_be_forgotten() -> None:
    scenario = Scenario()
    scenario.rules = replace(scenario.rules, remembered_requests_max=3)
    for line in (WARM, ASKED_BEFORE, "check long id=b", "check long id=c", "halt", ASKED_BEFORE, "check long id=d"):
        list(answers(scenario, line))
    assert scenario.state is not None
    assert list(scenario.state.remembered) == ["c", "once", "d"]


def test_two_writers_when_the_clock_of_the_new_one_is_behind_then_interleaving_latches() -> None:
    scenario = Scenario()
    list(answers(scenario, WARM))
    told: list[str] = []
    for second in range(5):
        told += answers(scenario, f"10:01:0{second} observe epoch=1 seq={100 + second} funding=none")
        told += answers(scenario, f"10:01:0{second}.5 observe epoch=2 seq={second} event=-1s funding=none")
    assert any("latched for epoch_interleaved" in line for line in told)


def test_ticks_when_they_come_or_not_then_decisions_are_the_same() -> None:
    told: dict[bool, str] = {}
    for ticking in (False, True):
        scenario = Scenario()
        list(answers(scenario, WARM))
        list(answers(scenario, "10:01:00 observe mark=60000"))
        for second in range(1, 121):
            clock = f"10:0{1 + second // 60}:{second % 60:02}"
            if ticking:
                list(answers(scenario, f"{clock} tick"))
            if second % 7 == 0:
                list(answers(scenario, f"{clock} references"))
                list(answers(scenario, "observe"))
        told[ticking] = list(answers(scenario, "10:03:01 check long price=92000"))[-1]
    assert told[False] == told[True]


def test_shadow_when_wrong_callers_would_trip_the_market_then_that_is_recorded() -> None:
    answer = last_answer(f"""
        policy shadow_rules=basis basis.trip_after=0s basis.trip_count_min=1
        {WARM}
        check short funding=0
        10:01:01 check short funding=0
    """)
    assert "this would have acted for basis_funding" in answer


def test_feed_position_when_a_sequence_or_epoch_was_absurdly_high_then_a_reset_ends_it() -> None:
    for given in (f"seq={2**63 - 1}", f"epoch={2**63 - 1}"):
        answer = last_answer(f"""
            {WARM}
            10:01:00 observe {given}
            feed epoch=1 sequence=60
            10:01:01 steady until=10:01:05
            reset BTC-USD-PERP
            10:01:05 steady until=10:01:40
            check long
        """)
        assert answer == "ALLOW"


def test_freeze_when_the_exchange_did_move_its_index_over_a_gap_then_a_rebaseline_and_a_reset_end_it() -> None:
    answer = last_answer(f"""
        policy funding.gap_mode=freeze
        {WARM}
        10:11:00 steady until=10:11:30
        rebaseline BTC-USD-PERP=20512.1
        reset BTC-USD-PERP
        10:11:30 steady until=10:13:00
        check long funding=20512.1
    """)
    assert "breaker_open" not in answer


def test_time_when_an_input_is_earlier_than_the_one_before_then_it_is_a_bug_of_the_shell() -> None:
    policy = world.policy()
    state = guard.new_state(policy, world.at("10:00:00"))
    with pytest.raises(guard.InvariantViolated, match="must come in time order"):
        guard.step(state, i.Tick(state.now_ns - SECOND_NS), policy)
