"""What is logged of what happens: one canonical line a decision, and no flood from a corrupt feed."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from circuit_guard.core.inputs import (
    Account,
    HaltCommand,
    Order,
    OrderAction,
    OrdersCheck,
    PhaseCommand,
    Position,
    ResetCommand,
    ResumeCommand,
    Side,
)
from circuit_guard.core.types import AllowedCheck, CheckKind, Phase
from circuit_guard.telemetry.fact_log import DECISIONS_PER_S, FactLog
from tests.driver import BTC, ETH, INDEX, PRICE, policy_of
from tests.telemetry.observed import SOL, Logged


@pytest.fixture
def logged() -> Iterator[Logged]:
    result = Logged(policy_of(BTC, ETH, SOL))
    yield result
    result.close()


@pytest.fixture
def warm(logged: Logged) -> Logged:
    logged.driver.run(40, BTC, ETH, SOL)
    logged.lines()
    return logged


def test_decision_when_it_is_allowed_then_one_line_says_everything(warm: Logged) -> None:
    decision = warm.driver.decide(request_id="request-7")

    [line] = warm.lines()
    del line["timestamp"]
    assert line == {
        "event": "decision",
        "level": "info",
        "at": "2026-01-19T00:00:40+00:00",
        "decision_id": decision.decision_id,
        "request_id": "request-7",
        "account_id": "account-1",
        "market": BTC,
        "kind": "LIQUIDATION",
        "verdict": "ALLOW",
        "shadow_verdict": "ALLOW",
        "reasons": [],
        "shadow_reasons": [],
        "phase": "OPEN",
        "breaker": "CLOSED",
        "policy_revision": warm.driver.engine.policy.revision,
        "took_us": 0,
        "repeated": False,
        "suppressed": 0,
        "sentence": f"ALLOW {BTC} [LIQUIDATION of account-1, request-7]",
    }


def test_decisions_when_permits_made_them_then_the_lines_say_so_and_no_more_come_than_of_others(warm: Logged) -> None:
    checks = [
        AllowedCheck(
            warm.driver.clock.wall, n, f"r{n}", f"a{n}", BTC, CheckKind.TRIGGER, "-1", "", "1", "2", Phase.OPEN, "rev"
        )
        for n in range(DECISIONS_PER_S + 20)
    ]

    log = FactLog([BTC])
    log.on_allowed(checks)
    lines = warm.lines()
    warm.driver.clock.advance(1)
    log.on_allowed([checks[0]._replace(at_ns=warm.driver.clock.wall)])

    assert len(lines) == DECISIONS_PER_S
    assert (lines[3]["request_id"], lines[3]["verdict"], lines[3]["by_permit"]) == ("r3", "ALLOW", True)
    assert "took_us" not in lines[3]
    assert warm.lines()[0]["suppressed"] == 20


def test_decision_when_it_is_denied_then_the_line_explains_why(warm: Logged) -> None:
    warm.driver.observe(funding_index=Decimal(0))
    warm.lines()
    warm.driver.decide()

    [line] = warm.lines()
    assert (line["level"], line["verdict"], line["breaker"]) == ("warning", "DENY", "OPEN (denying)")
    assert line["reasons"] == ["breaker_open", "funding_jump"]
    assert line["findings"][1].startswith(
        "the funding index moved further than funding can move it: funding_index was 0"
    )


@pytest.mark.parametrize(
    ("collateral", "verdict"), [("1000", "EXPLAINED"), ("1163", "INDETERMINATE"), ("90000", "UNEXPLAINED")]
)
def test_decision_when_it_came_with_an_account_then_the_line_says_what_trusted_values_say_of_its_loss(
    warm: Logged, collateral: str, verdict: str
) -> None:
    held = Position(BTC, Decimal("0.5"), Decimal(94_000), INDEX, Decimal("0.01"))
    warm.driver.decide(account=Account(Decimal(collateral), (held,)))

    [line] = warm.lines("decision")
    surplus = Decimal(collateral) - 1163
    assert line["explained_loss"] == verdict
    assert surplus - 1 < Decimal(line["surplus_low"]) < surplus < Decimal(line["surplus_high"]) < surplus + 1
    assert "unknown_markets" not in line


def test_decision_when_its_account_has_unknown_markets_then_some_are_named_beside_its_bounds(warm: Logged) -> None:
    held = [Position(f"M-{number}", Decimal(1), Decimal(1), Decimal(0), Decimal(0)) for number in range(100)]
    warm.driver.decide(account=Account(Decimal(0), tuple(held)))

    [line] = warm.lines("decision")
    assert (line["explained_loss"], line["surplus_low"], line["surplus_high"]) == ("INDETERMINATE", "-100", "100")
    assert line["unknown_markets"] == [f"M-{number}" for number in range(3)]


def test_decision_when_it_is_asked_again_then_the_line_says_that_it_is_repeated(warm: Logged) -> None:
    check = warm.driver.check(request_id="request-7")
    warm.driver.engine.decide(check)
    warm.driver.engine.decide(check)

    assert [line["repeated"] for line in warm.lines("decision")] == [False, True]


def test_decisions_when_there_are_more_than_a_hundred_in_a_second_then_the_next_line_says_how_many_have_none(
    warm: Logged,
) -> None:
    for number in range(250):
        warm.driver.decide(request_id=f"first-{number}")
    assert [line["suppressed"] for line in warm.lines("decision")] == [0] * 100

    warm.driver.observe(funding_index=Decimal(0))
    denied = warm.driver.decide(request_id="denied")
    [line] = warm.lines("decision")
    assert (line["decision_id"], line["suppressed"]) == (denied.decision_id, 0)  # allowed ones take no room of denied

    warm.driver.observe(ETH)
    warm.driver.clock.advance(1)
    warm.driver.decide(market=ETH, request_id="next")
    [line] = warm.lines("decision")
    assert (line["verdict"], line["suppressed"]) == ("ALLOW", 150)


def test_decision_when_a_rule_is_in_shadow_then_its_reasons_stand_apart() -> None:
    logged = Logged(policy_of(BTC, ETH, SOL, market_lines='shadow_rules = ["staleness"]'))
    logged.driver.run(40, BTC, ETH, SOL)
    logged.driver.clock.advance(20)
    logged.driver.refer()
    logged.lines()
    logged.driver.decide()

    [line] = logged.lines("decision")
    logged.close()
    assert (line["verdict"], line["shadow_verdict"]) == ("ALLOW", "DENY")
    assert (line["reasons"], line["shadow_reasons"]) == ([], ["data_stale"])


def test_feed_when_it_is_honest_then_no_observation_is_logged(warm: Logged) -> None:
    warm.driver.run(30, BTC, ETH, SOL)

    assert warm.lines() == []


def test_feed_when_it_is_corrupt_for_a_minute_then_there_is_one_line_in_ten_seconds(warm: Logged) -> None:
    for _ in range(60):
        warm.driver.clock.advance(1)
        warm.driver.observe(funding_index=Decimal(0))

    lines = warm.lines("observation_rejected")
    assert [line["suppressed"] for line in lines] == [0, 9, 9, 9, 9, 9]
    assert lines[0]["reasons"] == ["funding_jump"]
    assert (lines[0]["market"], lines[0]["source"]) == (BTC, "exchange")


def test_feed_when_it_is_corrupt_in_another_way_or_market_then_that_is_logged_at_once(warm: Logged) -> None:
    warm.driver.observe(BTC, mark_price=Decimal("NaN"))
    warm.driver.observe(ETH, mark_price=Decimal("NaN"))
    warm.driver.observe(BTC, mark_price=Decimal(-1))

    assert [(line["market"], line["reasons"][0]) for line in warm.lines("observation_rejected")] == [
        (BTC, "not_a_number"),
        (ETH, "not_a_number"),
        (BTC, "price_not_positive"),
    ]


def test_feed_when_ten_thousand_unknown_markets_are_published_then_there_is_one_line(warm: Logged) -> None:
    for number in range(10_000):
        warm.driver.observe(f"M{number}-USD-PERP")

    [line] = warm.lines("observation_rejected")
    assert line["reasons"] == ["unknown_market"]


def test_references_and_orders_when_they_are_refused_then_a_flood_is_one_line_each(warm: Logged) -> None:
    engine = warm.driver.engine
    engine.step(PhaseCommand(engine.now_ns(), Phase.POST_ONLY, (), "ana", "upgrade done"))
    warm.lines()
    orders = tuple(Order(f"order-{n}", BTC, Side.BUY, OrderAction.NEW, PRICE * 2) for n in range(500))
    engine.decide_orders(OrdersCheck(engine.now_ns(), orders))
    for _ in range(5):
        warm.driver.refer(BTC, Decimal(-1))

    order, reference = warm.lines()
    assert (order["event"], order["order_id"], order["market"]) == ("order_denied", "order-0", BTC)
    assert (reference["event"], reference["source"]) == ("reference_rejected", "binance")


def test_breaker_when_it_latches_and_is_reset_then_each_move_is_one_line(warm: Logged) -> None:
    warm.driver.observe(funding_index=Decimal(0))
    warm.driver.engine.step(ResetCommand(warm.driver.engine.now_ns(), (BTC,), "ana", "index restored"))

    opened, reset = warm.lines("breaker")
    assert (opened["scope"], opened["after"], opened["latched"]) == (BTC, "OPEN (denying)", True)
    assert (opened["level"], opened["reasons"]) == ("warning", ["funding_jump"])
    assert (reset["after"], reset["actor"], reset["note"]) == ("CLOSED", "ana", "index restored")


def test_operator_when_they_halt_and_resume_then_the_lines_name_them(warm: Logged) -> None:
    engine = warm.driver.engine
    engine.step(HaltCommand(engine.now_ns(), (), "ana", "upgrade"))
    engine.step(ResumeCommand(engine.now_ns(), (), "ana", "done"))
    engine.step(ResumeCommand(engine.now_ns(), (), "ana", "again"))

    halt, resume, *_, refused = warm.lines()
    assert (halt["event"], halt["scope"], halt["actor"], halt["reason"]) == ("halt", "GLOBAL", "ana", "upgrade")
    assert (resume["event"], resume["reason"]) == ("resume", "done")
    assert (refused["event"], refused["observed"]) == ("command_refused", "GLOBAL")


def test_operator_when_a_halt_adds_nothing_then_the_line_says_that_the_longer_one_stays(warm: Logged) -> None:
    engine = warm.driver.engine
    engine.step(HaltCommand(engine.now_ns(), (), "ana", "upgrade"))
    engine.step(HaltCommand(engine.now_ns(), (), "ana", "short", engine.now_ns() + 1))

    first, second = warm.lines()
    assert "stays" not in first
    assert (second["event"], second["actor"], second["stays"]) == ("halt", "ana", True)


def test_markets_when_they_warm_up_and_recover_then_each_step_is_one_line(logged: Logged) -> None:
    logged.driver.run(40, BTC)

    assert [line["event"] for line in logged.lines()] == ["market_warm", "phase"]


def test_policy_when_it_changes_then_added_markets_are_known_by_name(warm: Logged) -> None:
    policy = policy_of(BTC, ETH, "PAXG-USD-PERP")
    warm.driver.engine.reload(policy)
    warm.driver.observe("PAXG-USD-PERP", mark_price=Decimal("NaN"))
    warm.driver.observe(SOL)

    changed, paxg, _, sol = warm.lines()
    assert (changed["event"], changed["policy_revision"]) == ("policy", policy.revision)
    assert (changed["added"], changed["removed"]) == (["PAXG-USD-PERP"], [SOL])
    assert (paxg["reasons"][0], sol["reasons"][0]) == ("not_a_number", "unknown_market")


def test_check_when_a_request_id_comes_with_another_content_then_the_line_names_the_difference(warm: Logged) -> None:
    warm.driver.decide(request_id="request-7")
    warm.driver.engine.decide(warm.driver.check(request_id="request-7", size=Decimal(-9)))

    [line] = warm.lines("check_refused")
    assert (line["request_id"], line["differing"]) == ("request-7", "size")
