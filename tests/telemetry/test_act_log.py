"""What is logged of what operators do: halts that expire, maintenances, proposals, rebaselines."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

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
from circuit_guard.core.types import SECOND_NS
from tests.driver import BTC, ETH, INDEX, PRICE, policy_of
from tests.telemetry.observed import SOL, Logged


@pytest.fixture
def warm() -> Iterator[Logged]:
    logged = Logged(policy_of(BTC, ETH, SOL))
    logged.driver.run(40, BTC, ETH, SOL)
    logged.lines()
    yield logged
    logged.close()


def test_halt_when_it_expires_then_both_lines_say_so(warm: Logged) -> None:
    engine = warm.driver.engine
    engine.step(HaltCommand(engine.now_ns(), (BTC,), "ana", "odd", engine.now_ns() + 60 * SECOND_NS))
    warm.driver.clock.advance(61)
    engine.tick()

    halt, resume = (line for line in warm.lines() if line["event"] in ("halt", "resume"))
    assert halt["expires_at"] == "2026-01-19T00:01:40+00:00"
    assert (resume["at"], resume["actor"]) == ("2026-01-19T00:01:40+00:00", "")
    assert resume["reason"] == "the halt of ana expired: odd"


def test_hold_when_it_ends_then_the_line_says_how_long_it_was(warm: Logged) -> None:
    engine = warm.driver.engine
    engine.step(HaltCommand(engine.now_ns(), (BTC,), "ana", "odd"))
    warm.driver.run(10, BTC)
    engine.step(ResumeCommand(engine.now_ns(), (BTC,), "ana", "fine"))

    [line] = warm.lines("market_reopened")
    assert (line["level"], line["market"], line["held_s"]) == ("info", BTC, 10)


def test_maintenance_when_it_runs_then_each_act_is_one_line(warm: Logged) -> None:
    engine = warm.driver.engine
    engine.step(BeginMaintenance(engine.now_ns(), "ana", "upgrade", "maintenance-1"))
    rows = (
        StateRow(BTC, engine.now_ns(), PRICE, PRICE, Decimal(0)),
        StateRow(ETH, engine.now_ns(), PRICE, PRICE, INDEX),
    )
    engine.step(ValidateState(engine.now_ns(), rows, "deploy"))
    engine.step(EndMaintenance(engine.now_ns(), "ana", "upgraded"))

    acts = {"maintenance_began", "state_validated", "maintenance_ended"}
    began, validated, ended = (line for line in warm.lines() if line["event"] in acts)
    assert (began["actor"], began["reason"], began["checkpoint"]) == ("ana", "upgrade", "maintenance-1")
    assert (validated["level"], validated["actor"]) == ("warning", "deploy")
    assert validated["outcomes"] == {"funding_jump": 1, "ok": 1, "missing": 1}
    assert validated["not_clean"][0].startswith(
        f"{BTC} funding_jump: funding cannot have moved the funding index there: funding_index was 0, a step of -20511"
    )
    assert validated["not_clean"][1].startswith(f"{SOL} missing: something is missing from the dump: market was")
    assert (ended["actor"], ended["reason"], ended["clean"], ended["latched"]) == ("ana", "upgraded", 1, [BTC, SOL])


def test_validation_when_very_many_markets_are_not_clean_then_the_line_stays_readable(warm: Logged) -> None:
    engine = warm.driver.engine
    engine.step(BeginMaintenance(engine.now_ns(), "ana", "upgrade", "maintenance-1"))
    rows = tuple(StateRow(f"M{number}-USD-PERP", engine.now_ns()) for number in range(500))
    engine.step(ValidateState(engine.now_ns(), rows, "deploy"))

    [line] = warm.lines("state_validated")
    assert (line["outcomes"], len(line["not_clean"])) == ({"missing": 3, "extra": 500}, 20)


def test_validation_when_two_markets_are_swapped_then_the_line_names_both(warm: Logged) -> None:
    engine = warm.driver.engine
    engine.step(RebaselineCommand(engine.now_ns(), (Baseline(ETH, Decimal(700), engine.now_ns()),), "ana", "other"))
    engine.step(BeginMaintenance(engine.now_ns(), "ana", "upgrade", "maintenance-1"))
    rows = (
        StateRow(BTC, engine.now_ns(), PRICE, PRICE, Decimal(700)),
        StateRow(ETH, engine.now_ns(), PRICE, PRICE, INDEX),
    )
    engine.step(ValidateState(engine.now_ns(), rows, "deploy"))

    [line] = warm.lines("state_validated")
    assert line["not_clean"][0].startswith(f"{BTC} swapped: the value of {ETH} stands here: funding_index was 700")


def test_rebaseline_when_an_operator_sets_a_value_then_the_line_has_both(warm: Logged) -> None:
    engine = warm.driver.engine
    baselines = (Baseline(BTC, Decimal("700.50"), engine.now_ns()),)
    engine.step(RebaselineCommand(engine.now_ns(), baselines, "ana", "rolled back", checkpoint=7, repaired=(ETH,)))

    repaired, changed = warm.lines("rebaselined")
    assert (repaired["market"], repaired["before"], repaired["after"]) == (ETH, None, None)
    assert (changed["before"], changed["after"], changed["checkpoint"]) == ("20511", "700.50", 7)
    assert (changed["level"], changed["actor"], changed["reason"]) == ("warning", "ana", "rolled back")


def test_rebaseline_when_everything_is_multiplied_then_the_line_has_the_factor_and_the_prices(warm: Logged) -> None:
    engine = warm.driver.engine
    engine.step(RebaselineCommand(engine.now_ns(), (), "ana", "split", factor=Decimal("0.1"), rescaled=(BTC,)))

    [line] = warm.lines("rebaselined")
    assert (line["factor"], line["before"], line["after"]) == ("0.1", "20511", "2051.1")
    assert (line["mark_price_before"], line["mark_price_after"]) == ("92600", "9260.0")


def test_act_when_it_takes_two_actors_then_the_proposal_is_one_line() -> None:
    logged = Logged(policy_of(BTC, ETH, SOL, guard='two_actors = ["resume"]'))
    engine = logged.driver.engine
    engine.step(HaltCommand(engine.now_ns(), (), "ana", "odd"))
    engine.step(ResumeCommand(engine.now_ns(), (), "ana", "fine"))

    [line] = logged.lines("act_proposed")
    logged.close()
    assert (line["act"], line["scopes"], line["actor"], line["reason"]) == ("resume", ["GLOBAL"], "ana", "fine")
    assert line["expires_at"] == "2026-01-19T00:10:00+00:00"
